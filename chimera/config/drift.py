"""Settings that are not what the shipped profile says, and who says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from subjects.report import Drifted

from .load import load
from .secret import redact_text
from .settings import Settings, declared

_OWN = frozenset({"node.name", "node.data_dir", "node.profile"})
"""Every node has its own, or they say which profile it is."""


def drift(settings: Settings, sources: Mapping[str, str]) -> list[Drifted]:
    """What differs from the profile that these settings started from; passwords in URLs are hidden.

    Args:
        settings: Those in force.
        sources: Where each came from, by its dotted name; one that is missing there is called ``unknown``.

    Raises:
        BadSettingError: If the shipped profile can't be read.
    """
    shipped = load(settings.node.profile, env={"HOME": settings.node.data_dir}).settings
    found: list[Drifted] = []
    for one in declared():
        was, now = _value(shipped, one.key), _value(settings, one.key)
        if was != now and one.key not in _OWN:
            source = sources.get(one.key, "unknown")
            found.append(Drifted(setting=one.key, shipped=_shown(was), now=_shown(now), source=source))
    was, now = shipped.supervision, settings.supervision
    if was != now:
        source = sources.get("supervision.children", "unknown")
        found.append(
            Drifted(setting="supervision", shipped=[child.id for child in was.children],
                    now=[child.id for child in now.children], source=source)
        )  # fmt: skip
    return found


def _value(settings: Settings, key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    return [*cast("tuple[Any, ...]", value)] if isinstance(value, tuple) else value
