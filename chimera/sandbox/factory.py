"""Makes a sandbox; its machinery loads only then."""

from __future__ import annotations

from chimera.clock import Clock

from .contract import Sandbox
from .settings import SandboxSettings


def create_sandbox(settings: SandboxSettings, clock: Clock) -> Sandbox:
    """A sandbox with worker processes of its own. Enter it as an async context manager to start them."""
    from .local import LocalSandbox  # noqa: PLC0415 - anyio's process support is needed only from here on

    return LocalSandbox(settings, clock)
