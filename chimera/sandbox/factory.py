"""Makes a sandbox; its machinery loads only then."""

from __future__ import annotations

from chimera.clock import Clock
from chimera.events import EventSink, ignore_events

from .contract import Sandbox
from .settings import SandboxSettings


def create_sandbox(settings: SandboxSettings, clock: Clock, events: EventSink = ignore_events) -> Sandbox:
    """A sandbox with worker processes of its own. Enter it as an async context manager to start them.

    ``events`` is told of workers that started (``worker-started``) and died (``worker-died``).
    """
    from .local import LocalSandbox  # noqa: PLC0415 - anyio's process support is needed only from here on

    return LocalSandbox(settings, clock, events)
