"""Where the runtime reports what happens: a plain function, so that tests and simulations can listen."""

from __future__ import annotations

from typing import Any, Protocol


class EventSink(Protocol):
    """Takes one event: name, layer, message, level and fields. Must not raise."""

    def __call__(self, name: str, layer: str, message: str, level: str, fields: dict[str, Any], /) -> None:
        """Take it."""
        ...


def ignore_events(name: str, layer: str, message: str, level: str, fields: dict[str, Any], /) -> None:
    """The sink of a system that nobody listens to."""
