"""What an actor of the shipped tree is given: the node's parts, by name."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chimera.errors import StartError

if TYPE_CHECKING:
    from chimera.audit import AuditLog
    from chimera.bus.contract import Bus
    from chimera.clock import Clock
    from chimera.config import Settings
    from chimera.metrics import Metrics
    from chimera.sandbox.contract import Sandbox
    from chimera.store.contract import Store

    from .guard import Guard

Assemble = Callable[["Parts"], dict[str, Any]]
"""``Actor.assemble``: the constructor's arguments, made from the parts when the actor is started."""


@dataclass(slots=True)
class Parts:
    """The parts of a node. Those that a service opens are there once it has started.

    ``sources`` says of each setting by its dotted name where its value came from, as far as that is known.
    """

    settings: Settings
    clock: Clock
    rng: random.Random
    metrics: Metrics
    bus: Bus | None = None
    store: Store | None = None
    sandbox: Sandbox | None = None
    audit: AuditLog | None = None
    sources: Mapping[str, str] = field(default_factory=dict[str, str])
    guard: Guard | None = None

    def need(self, name: str) -> Any:
        """A part that must have been opened before.

        Raises:
            StartError: If it was not: the tree starts it too late or not at all.
        """
        part: Any = getattr(self, name)
        if part is None:
            raise StartError(f"the {name} is needed here but was not started", hint=f"put {name} higher in the tree")
        return part
