"""From the supervision tree in the settings to one that a supervisor can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from chimera.actor import Actor
from chimera.config import ChildSettings, SupervisorSettings
from chimera.errors import BadSettingError
from chimera.supervision import ChildSpec, Restart, Strategy, SupervisorSpec

from .parts import Parts

_EXTRA = "install chimera-nats[brain], or leave the role out of node.roles"
Services = Mapping[str, Callable[[], Any]]


def build_tree(tree: SupervisorSettings, roles: tuple[str, ...], services: Services, parts: Parts) -> SupervisorSpec:
    """The part of the tree that a node with these roles runs.

    Raises:
        BadSettingError: If a child names no service and no actor class.
    """
    children = [
        build_tree(child, roles, services, parts)
        if isinstance(child, SupervisorSettings)
        else _child(child, services, parts)
        for child in tree.children
        if not child.roles or set(child.roles) & set(roles)
    ]
    return SupervisorSpec(
        id=tree.id,
        children=tuple(children),
        strategy=Strategy(tree.strategy),
        intensity=tree.intensity,
        period_s=tree.period_s,
        restart=Restart(tree.restart),
        shutdown_s=tree.shutdown_s,
    )


def load_object(path: str, setting: str) -> Any:
    """What ``module:name`` names.

    Raises:
        BadSettingError: If there is no such thing; ``setting`` is named.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise BadSettingError(f"{setting}: {path!r} can't be loaded: {error}", hint=_EXTRA) from error
    except (ImportError, AttributeError) as error:
        raise BadSettingError(f"{setting}: {path!r} can't be loaded: {error}") from error


def _child(child: ChildSettings, services: Services, parts: Parts) -> ChildSpec:
    restart = Restart(child.restart)
    factory = services.get(child.actor)
    if factory is not None:
        return ChildSpec(child.id, factory, {}, restart=restart, shutdown_s=child.shutdown_s)
    setting = f"supervision child {child.id}"
    if ":" not in child.actor:
        known = ", ".join(sorted(services))
        raise BadSettingError(f"{setting}: there is no service {child.actor!r}", hint=f"there are: {known}")
    kind = load_object(child.actor, setting)
    if not (isinstance(kind, type) and issubclass(kind, Actor)):
        raise BadSettingError(f"{setting}: {child.actor} is no Actor class")
    assemble = getattr(kind, "assemble", None)
    if assemble is None:
        return ChildSpec(child.id, kind, {}, restart=restart, shutdown_s=child.shutdown_s)
    return ChildSpec(child.id, kind, lambda: assemble(parts), restart=restart, shutdown_s=child.shutdown_s)
