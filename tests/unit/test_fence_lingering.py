"""What lingers of a lease that is over is not taken for the memory of the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.brokering.record import Grant, Record
from actors.fencing.fence import Fence
from actors.fencing.memory import Share, Sight, unexplained
from chimera.devices.processes import Process
from chimera.devices.reading import Reading
from chimera.errors import UnavailableError
from chimera.testing import ManualClock

pytestmark = pytest.mark.anyio


def gpu(used: int, processes: dict[int, int | None] | None) -> Reading:
    """A GPU of 16 GB."""
    return Reading(uuid="g", kind="gpu", model="m", memory_mib=16_000, memory_used_mib=used, processes=processes)


def grant(lease: str, token: int, *, over: bool = False) -> Grant:
    """Half of the GPU."""
    ended = "released" if over else ""
    return Grant(lease, ("n.g",), 500, 8_000, token, 0.0, 60.0, 60.0, "x", "t", "", 50, ended=ended)


def record(version: int, *grants: Grant) -> Record:
    """The GPU's record."""
    token = max(one.token for one in grants)
    return Record("n", "g", memory_mib=16_000, version=version, token=token, grants=grants, fenced=True)


async def lingering(folder: Path, processes: dict[int, int | None] | None) -> Fence:
    """A lease was let in, is over, its processes are gone, and 5,000 MiB are still in use; another was granted."""
    clock = ManualClock()
    fence = Fence("n", folder / "tokens.json", clock, clock.monotonic, 1.0)
    fence.readings = {"g": gpu(0, processes)}
    fence.see(record(1, grant("old", 1)))
    holder = await fence.admit("old", 1, 0)
    fence.see(record(2, grant("old", 1, over=True), grant("new", 2)))
    assert fence.begin_ends() == [holder]
    holder.processes_gone, holder.gone_at = True, fence.boot()
    fence.readings, fence.read_at = {"g": gpu(5_000, processes)}, fence.boot()
    return fence


async def test_a_grant_that_nobody_uses_yet_explains_nothing(tmp_path: Path):
    """Without a list of processes, memory is not said to be that of a lease that was never let in."""
    fence = await lingering(tmp_path, None)
    assert fence.settle() == []
    assert "5000 MiB of g did not come back" in fence.holders["old"].reason
    fence.readings = {"g": gpu(0, None)}
    assert [one.lease for one in fence.settle()] == ["old"]


async def test_nobody_is_let_in_while_memory_can_not_be_told_apart(tmp_path: Path):
    """Where no list says whose memory is whose, the next one waits for the last one's to come back."""
    fence = await lingering(tmp_path, None)
    with pytest.raises(UnavailableError, match="lease old is over and not gone from g yet"):
        await fence.admit("new", 2, 0)
    fence.readings = {"g": gpu(0, None)}
    fence.settle()
    assert (await fence.admit("new", 2, 0)).lease == "new"


async def test_an_empty_list_is_believed_where_lists_were_right(tmp_path: Path):
    """Once the driver named a process as we number it, no process in its list means that no lease uses memory."""
    shares, process = {"l": Share(8_000, {7})}, Process(7, 1, 7, 0, 0)
    assert unexplained(gpu(5_000, {}), shares, Sight({7})) == 0
    sight = Sight().after({7}, 1, [gpu(5_000, {7: 5_000})])
    assert unexplained(gpu(5_000, {}), shares, sight) == 5_000
    assert unexplained(gpu(5_000, None), shares, sight) == 0
    fence = await lingering(tmp_path, {})
    fence.readings = {"g": gpu(5_000, {7: 5_000})}
    fence.adopt([process])
    fence.readings = {"g": gpu(5_000, {})}
    with pytest.raises(UnavailableError, match="5000 MiB of g are in use without a lease"):
        await fence.admit("new", 2, 0)
    assert fence.settle() == []
