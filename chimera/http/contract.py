"""What the bridge needs of the rest: somebody who asks actors, and somebody who knows how the node does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

from subjects import Request

R = TypeVar("R")


class Caller(Protocol):
    """Asks the actor that answers a request."""

    async def ask(self, message: Request[R], *, timeout_s: float | None = None, trace: str = "") -> R:
        """The typed answer.

        Args:
            message: The request; its type says which operation it is.
            timeout_s: How long to wait; ``None`` = the operation's own.
            trace: A W3C traceparent to pass on, or empty.

        Raises:
            ChimeraError: Any error of the closed list, ``LayerNotRunningError`` if nobody answers there.
        """
        ...

    def stream(self, message: Request[R], *, timeout_s: float | None = None) -> AsyncIterator[R]:
        """The typed elements of a streamed answer; closing the iterator ends it.

        Raises (while it is read):
            ChimeraError: As ``ask``.
        """
        ...


class Probe(Protocol):
    """Knows how this node does."""

    async def readiness(self) -> dict[str, str]:
        """Name of a check (``bus``, ``store``, ``tree``) to ``ok`` or what is wrong."""
        ...

    def node(self) -> str:
        """The node's name."""
        ...

    def alarms(self) -> dict[str, str]:
        """What is wrong though requests can be served, by what it is about."""
        ...

    def is_ready(self) -> bool:
        """True once the node has started and until it drains."""
        ...
