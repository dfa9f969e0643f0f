"""One message on its way through a mailbox: who waits for the answer, until when, and who waits for whom."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from subjects import Message

from .actor import HandlerSpec
from .errors import CancelledByCallerError, ChimeraError, DeadlineError

if TYPE_CHECKING:
    from .cell import Cell


class Sink(Protocol):
    """Where the answer of a turn goes when the asker is not a future in this process."""

    async def value(self, value: Any) -> None:
        """The answer."""
        ...

    async def chunk(self, value: Any) -> None:
        """One element of a streamed answer; waits while the reader is behind."""
        ...

    async def end(self) -> None:
        """The end of a streamed answer."""
        ...

    async def error(self, error: ChimeraError) -> None:
        """The failure."""
        ...


class Turn:
    """A message and everything that travels with it.

    ``stage`` is where it is: ``queued``, ``taken`` out of the mailbox, ``running`` or ``done``. Whoever ends it first
    wins: answer, deadline or cancellation.
    """

    __slots__ = ("cell", "chain", "deadline", "future", "message", "scope", "sink", "spec", "stage", "trace")

    def __init__(
        self,
        message: Message,
        spec: HandlerSpec,
        *,
        future: asyncio.Future[Any] | None = None,
        sink: Sink | None = None,
        deadline: float | None = None,
        chain: tuple[str, ...] = (),
        trace: str = "",
    ) -> None:
        self.message = message
        self.spec = spec
        self.future = future
        self.sink = sink
        self.deadline = deadline
        self.chain = chain
        self.trace = trace
        self.stage = "queued"
        self.scope: anyio.CancelScope | None = None
        self.cell: Cell | None = None

    def expire(self) -> None:
        """The deadline passed: answer with the stage, stop the handler if it runs."""
        self.abort(DeadlineError(stage="running" if self.stage == "running" else "queued"))

    def cancel(self) -> None:
        """The asker went away: stop the handler if it runs, shed the message if it waits."""
        self.abort(CancelledByCallerError())

    def abort(self, error: ChimeraError) -> None:
        """End the turn from outside with ``error``; no effect if it ended already."""
        if self.stage == "done":
            return
        stage, self.stage = self.stage, "done"
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)
            self.future.exception()
        if self.cell is not None:  # None: no mailbox took it
            self.cell.aborted(self, error, stage=stage)
        if self.scope is not None:
            self.scope.cancel()


current_turn: ContextVar[Turn | None] = ContextVar("chimera_turn", default=None)
"""The turn that the running handler serves; nested asks take deadline, chain and trace from it."""
