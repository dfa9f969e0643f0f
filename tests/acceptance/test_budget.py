"""What a node costs and keeps: memory, time to be ready, and nothing left over after thousands of tasks."""

from __future__ import annotations

import time
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest

from tests.support.processes import children, open_files, resident_bytes
from tests.support.running import RunningSystem
from tests.support.traffic import Traffic
from tests.support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MIB = 1 << 20
MOST_MIB = 110
"""A gross bound: the exact figure is the bench's."""
TASKS, CLIENTS = 3000, 32


def snapshot(system: RunningSystem) -> dict[str, Any]:
    """What the node says about itself."""
    return msgspec.json.decode(system.command("status", "--json").stdout)["snapshot"]


async def test_memory_and_second_start(own_system: RunningSystem, capsys: pytest.CaptureFixture[str]):
    """After a start and 500 tasks the process is small, and a second start in the same folder is ready soon."""
    system = own_system
    fresh = resident_bytes(system.pid) / MIB
    async with Traffic(system, timeout_s=20) as traffic:
        await traffic.flow(500, timeout_s=40)
    used = resident_bytes(system.pid) / MIB
    helpers = [f"{command.split()[0].rpartition('/')[2]} {resident_bytes(pid) / MIB:.0f}"
               for pid, command in children(system.pid).items()]  # fmt: skip
    assert traffic.bad() == []
    system.stop()
    begun = time.monotonic()
    await anyio.to_thread.run_sync(system.start)
    ready = time.monotonic() - begun
    with capsys.disabled():
        print(
            f"\n  {fresh:.0f} MiB after the start, {used:.0f} MiB after 500 tasks, helpers {helpers}; "
            f"ready {ready:.2f} s after a warm start"
        )
    assert used < MOST_MIB


async def test_thousands_of_tasks_leave_nothing_behind(own_system: RunningSystem, capsys: pytest.CaptureFixture[str]):
    """3,000 tasks from 32 clients over NATS: all answered, no turn, ask, descriptor or megabytes left over."""
    system = own_system
    async with Traffic(system, http=0, nats=CLIENTS, timeout_s=20) as traffic:
        await traffic.flow(CLIENTS * 4)
    files, memory = open_files(system.pid), resident_bytes(system.pid)
    begun = time.monotonic()
    async with Traffic(system, http=0, nats=CLIENTS, first=10_000, timeout_s=20) as traffic:
        await traffic.flow(TASKS, timeout_s=50)
    rate = len(traffic.calls) / (time.monotonic() - begun)
    assert traffic.bad() == []
    await until(lambda: open_files(system.pid) <= files, 5)
    now = await anyio.to_thread.run_sync(snapshot, system)
    with capsys.disabled():
        grown = (resident_bytes(system.pid) - memory) / MIB
        print(
            f"\n  {len(traffic.calls)} tasks at {rate:.0f}/s with {CLIENTS} clients; "
            f"{grown:+.1f} MiB, {files} descriptors"
        )
    actor = next(row for row in now["actors"] if row["address"].startswith("agent@"))
    assert (actor["waiting"], actor["running"]) == (0, 0)
    assert actor["verbs"]["predict"]["errors"] == 0
    assert (now["open_asks"], now["bus"]["pending"], now["bus"]["dropped"]) == (0, 0, 0)
    assert now["bus"]["rtt_s"] > 0
