"""A guest behind several handles: whoever unloads it waits until nothing runs."""

from typing import Any, cast

import anyio
import pytest

from chimera.sandbox.guest import SharedGuest
from chimera.testing import settle

pytestmark = pytest.mark.anyio


class Gated:
    """A place whose runs end when they are let go."""

    def __init__(self) -> None:
        self.gate = anyio.Event()

    async def run(self, *_: Any) -> list[Any]:
        """Wait for the gate."""
        await self.gate.wait()
        return []


async def test_quiet_is_when_the_last_of_all_runs_has_ended() -> None:
    """``wait_quiet`` returns at once for an idle guest, and else after the last run, also one begun meanwhile."""
    place, quiet = Gated(), anyio.Event()
    guest = SharedGuest(cast("Any", place), cast("Any", None), cast("Any", None))
    await guest.wait_quiet()

    async def unload() -> None:
        await guest.wait_quiet()
        quiet.set()

    async def run() -> None:
        await guest.run("predict", [], None)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await settle()
        group.start_soon(unload)
        await settle()
        first, place.gate = place.gate, anyio.Event()
        group.start_soon(run)
        await settle()
        first.set()
        await settle()
        assert not quiet.is_set()
        place.gate.set()
        await settle()
        assert quiet.is_set()
