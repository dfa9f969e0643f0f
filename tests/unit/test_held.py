"""A command that waits until it may begin."""

from __future__ import annotations

import os

import pytest

from chimera.cli import held
from chimera.devices.processes import LEASE_VARIABLE, Group, identify
from chimera.errors import DeniedError

pytestmark = pytest.mark.anyio


async def test_it_is_known_though_its_environment_comes_late(monkeypatch: pytest.MonkeyPatch):
    """Until execve(2) is done nothing of a process tells its lease: it is looked at again."""
    early = [DeniedError("no environment yet"), DeniedError("no environment yet")]

    def late(pid: int, lease: str) -> Group:
        if early:
            raise early.pop()
        return identify(pid, lease)

    monkeypatch.setattr(held, "identify", late)
    command = held.HeldCommand(["sleep", "60"], {**os.environ, LEASE_VARIABLE: "L1"}, "L1")
    try:
        assert not early
        assert command.is_alive()
    finally:
        await command.end(0.1)
    assert not command.is_alive()
