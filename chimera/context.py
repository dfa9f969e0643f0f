"""What an actor sees of the runtime: itself, others, time, and background work."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from subjects import Message, Request

from .clock import Clock
from .turn import current_turn

if TYPE_CHECKING:
    from .instance import Instance
    from .ref import Ref

R = TypeVar("R")
Level = Literal["debug", "info", "warning", "error"]


class Context:
    """``self.ctx`` of an actor. Asks made through it inherit the deadline, the chain and the trace of the turn."""

    __slots__ = ("_cell", "_instance")

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._cell = instance.cell

    @property
    def node(self) -> str:
        """Name of the node the actor runs on."""
        return self._cell.system.node

    @property
    def clock(self) -> Clock:
        """The node's clock."""
        return self._cell.system.clock

    @property
    def rng(self) -> random.Random:
        """The node's randomness."""
        return self._cell.system.rng

    @property
    def self_ref(self) -> Ref:
        """The actor's own address."""
        return self._cell.system.ref(self._cell.kind.actor_name, key=self._cell.key, node=self.node)

    @property
    def deadline(self) -> float | None:
        """When the asker of the present turn gives up, in monotonic seconds; ``None`` for a tell without one."""
        turn = current_turn.get()
        return turn.deadline if turn else None

    @property
    def trace(self) -> str:
        """The present turn's W3C traceparent, or an empty string."""
        turn = current_turn.get()
        return turn.trace if turn else ""

    def remaining(self) -> float | None:
        """Seconds left of the present turn; never below zero."""
        deadline = self.deadline
        return None if deadline is None else max(0.0, deadline - self.clock.monotonic())

    def ref(self, actor: str, *, key: str = "", node: str = "") -> Ref:
        """The address of an actor."""
        return self._cell.system.ref(actor, key=key, node=node)

    async def ask(
        self, message: Request[R], *, timeout_s: float | None = None, leave: Callable[[], bool] | None = None
    ) -> R:
        """Ask the actor that declared this operation; see ``Ref.ask``."""
        return await self._cell.system.ask(message, timeout_s=timeout_s, leave=leave)

    async def tell(self, message: Message) -> None:
        """Tell the actor that declared this operation; see ``Ref.tell``."""
        await self._cell.system.tell(message)

    def stream(self, message: Request[R], *, timeout_s: float | None = None) -> AsyncIterator[R]:
        """Stream from the actor that declared this operation; see ``Ref.stream``."""
        return self._cell.system.stream(message, timeout_s=timeout_s)

    async def watch(self, ref: Ref) -> None:
        """Have ``on_down`` called when ``ref`` or its node goes away; at once if it is not there."""
        await self._cell.system.liveness.watch(self._cell, ref)

    def spawn(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run ``function(*args)`` beside the turns until this instance ends; its failure crashes the actor."""
        self._instance.spawn(function, *args)

    def event(self, name: str, message: str = "", *, level: Level = "info", **fields: Any) -> None:
        """Write a line to the event log."""
        self._cell.system.emit(name, self._cell.kind, message, level=level, actor=self._cell.address, **fields)
