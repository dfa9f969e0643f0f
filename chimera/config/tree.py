"""The supervision tree as data: who is started, in which order, and what happens when one fails."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

from subjects import is_token

_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")
_SERVICE = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
_STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
_RESTARTS = ("permanent", "transient", "temporary")
_MAX_DEPTH = 8
_MAX_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """One child: ``actor`` is ``module:Class``, or the name of a service of the runtime.

    ``roles`` says on which nodes it is started: those that host one of them; empty = on every node.
    """

    id: str
    actor: str
    restart: str = "permanent"
    shutdown_s: float = 5.0
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """A supervisor: more than ``intensity`` restarts within ``period_s`` and it gives up and tells its own."""

    id: str = "root"
    strategy: str = "one_for_one"
    intensity: int = 3
    period_s: float = 5.0
    restart: str = "permanent"
    shutdown_s: float = 30.0
    roles: tuple[str, ...] = ()
    children: tuple[ChildSettings | SupervisorSettings, ...] = ()


NO_TREE = SupervisorSettings()
"""A root without children: the shipped tree stands in ``configs/default.toml``."""


def parse_tree(raw: object, roles: tuple[str, ...]) -> SupervisorSettings:
    """The tree from what TOML gave.

    Args:
        raw: The table ``supervision``.
        roles: The roles that exist.

    Raises:
        ValueError: With one sentence that names the place and what is allowed there.
    """
    return _supervisor(_table(raw, "supervision"), "supervision", roles, 1)


def _supervisor(raw: dict[str, Any], place: str, roles: tuple[str, ...], depth: int) -> SupervisorSettings:
    _known(raw, place, {"id", "strategy", "intensity", "period_s", "restart", "shutdown_s", "roles", "children"})
    if depth > _MAX_DEPTH:
        raise ValueError(f"{place}: supervisors nest at most {_MAX_DEPTH} deep")
    listed = raw.get("children", [])
    if not isinstance(listed, list):
        raise ValueError(f"{place}.children must be a list of tables")  # noqa: TRY004 - every fault of a setting is a ValueError
    children: list[ChildSettings | SupervisorSettings] = []
    for index, item in enumerate(cast("list[object]", listed)):
        where = f"{place}.children[{index}]"
        child = _table(item, where)
        nested = "children" in child or "strategy" in child
        children.append(_supervisor(child, where, roles, depth + 1) if nested else _child(child, where, roles))
    _unique([child.id for child in children], place)
    return SupervisorSettings(
        id=_id(raw.get("id", "root") if depth == 1 else raw.get("id"), place),
        strategy=_choice(raw.get("strategy", "one_for_one"), f"{place}.strategy", _STRATEGIES),
        intensity=int(_number(raw.get("intensity", 3), f"{place}.intensity", 0, 1000, whole=True)),
        period_s=_number(raw.get("period_s", 5.0), f"{place}.period_s", 0.1, _MAX_SECONDS),
        restart=_choice(raw.get("restart", "permanent"), f"{place}.restart", _RESTARTS),
        shutdown_s=_number(raw.get("shutdown_s", 30.0), f"{place}.shutdown_s", 0, _MAX_SECONDS),
        roles=_roles(raw.get("roles", []), place, roles),
        children=tuple(children),
    )


def _child(raw: dict[str, Any], place: str, roles: tuple[str, ...]) -> ChildSettings:
    _known(raw, place, {"id", "actor", "restart", "shutdown_s", "roles"})
    actor = raw.get("actor")
    if not isinstance(actor, str) or not (_CLASS.match(actor) or _SERVICE.match(actor)):
        raise ValueError(f"{place}.actor must be 'module:Class' or the name of a service, not {actor!r}")
    return ChildSettings(
        id=_id(raw.get("id"), place),
        actor=actor,
        restart=_choice(raw.get("restart", "permanent"), f"{place}.restart", _RESTARTS),
        shutdown_s=_number(raw.get("shutdown_s", 5.0), f"{place}.shutdown_s", 0, _MAX_SECONDS),
        roles=_roles(raw.get("roles", []), place, roles),
    )


def _table(raw: object, place: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ValueError(f"{place} must be a table")  # noqa: TRY004 - every fault of a setting is a ValueError
    return cast("dict[str, Any]", raw)


def _known(raw: dict[str, Any], place: str, allowed: set[str]) -> None:
    for key in raw:
        if key not in allowed:
            near = get_close_matches(key, sorted(allowed), n=1)
            raise ValueError(f"{place}.{key} is not known" + (f"; did you mean {near[0]}?" if near else ""))


def _id(raw: object, place: str) -> str:
    if not isinstance(raw, str) or not is_token(raw):
        raise ValueError(f"{place}.id must be 1 to 64 of A-Z a-z 0-9 _ -, not {raw!r}")
    return raw


def _unique(ids: list[str], place: str) -> None:
    for one in ids:
        if ids.count(one) > 1:
            raise ValueError(f"{place}: the id {one} is used by two children")


def _choice(raw: object, place: str, choices: tuple[str, ...]) -> str:
    if raw not in choices:
        raise ValueError(f"{place} must be one of {', '.join(choices)}, not {raw!r}")
    return cast("str", raw)


def _number(raw: object, place: str, low: float, high: float, *, whole: bool = False) -> float:
    kinds = (int,) if whole else (int, float)
    if not isinstance(raw, kinds) or isinstance(raw, bool) or not low <= raw <= high:
        raise ValueError(f"{place} must be a {'whole ' if whole else ''}number from {low:g} to {high:g}, not {raw!r}")
    return float(raw)


def _roles(raw: object, place: str, roles: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(raw, list) or any(role not in roles for role in cast("list[object]", raw)):
        raise ValueError(f"{place}.roles must be a list of some of {', '.join(roles)}, not {raw!r}")
    return tuple(cast("list[str]", raw))
