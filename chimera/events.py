"""Where the runtime reports what happens: a plain function, so that tests and simulations can listen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .turn import Turn


class EventSink(Protocol):
    """Takes one event: name, layer, message, level and fields. Must not raise."""

    def __call__(self, name: str, layer: str, message: str, level: str, fields: dict[str, Any], /) -> None:
        """Take it."""
        ...


class Auditor(Protocol):
    """Records privileged acts: before they are done, and how they ended."""

    async def asked(self, turn: Turn, /) -> Any:
        """Record that it was asked for.

        Raises:
            ChimeraError: If it can't be recorded: then it is not done.
        """
        ...

    def ended(self, record: Any, outcome: str, /) -> None:
        """Record how it ended."""
        ...


def ignore_events(name: str, layer: str, message: str, level: str, fields: dict[str, Any], /) -> None:
    """The sink of a system that nobody listens to."""
