"""The power is cut under submits, five times: what was acknowledged under ``power`` is there when it comes back."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from chimera.bus.nats import NatsBus
from chimera.cli.client import raise_problem
from chimera.errors import ChimeraError
from chimera.wire import decode, encode
from subjects.scheduler import Submit, Submitted
from subjects.task import NewTask
from tests.chaos.load import ask_patiently
from tests.support.power import Disk, NoPowerSwitch, disk
from tests.support.processes import children, is_alive
from tests.support.running import RunningSystem
from tests.support.traffic import connect

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CUTS = 5
CALLERS = 32
BULK = 1000


@pytest.fixture
def power(tmp_path: Path) -> Iterator[Disk]:
    """A disk whose power can be cut, where there is root and a loop device."""
    try:
        with disk(tmp_path) as made:
            yield made
    except NoPowerSwitch as reason:
        pytest.skip(str(reason))


@pytest.mark.timeout(240)
async def test_no_acknowledged_task_is_lost_when_the_power_is_cut(
    power: Disk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Five cuts at random moments of a full load: every task acknowledged before a cut is known after it, and ends."""
    system = RunningSystem(tmp_path / "node", ["--set", "scheduler.keep_max=1000000", "--set", "sandbox.workers=1"])
    system.data = power.mount_point / "data"
    rng = random.Random(5)  # noqa: S311 - moments, no secret
    acknowledged: set[str] = set()
    lost: set[str] = set()
    counts: list[int] = []
    try:
        for cut in range(CUTS):
            await anyio.to_thread.run_sync(system.start)
            before = await _submit_until_cut(system, power, cut, rng.uniform(1.0, 2.0))
            counts.append(len(before))
            acknowledged |= before
            await anyio.to_thread.run_sync(_end, system)
            power.unmount()
            power.mount()
        await anyio.to_thread.run_sync(system.start)
        async with connect(system, "operator") as bus:
            lost = await _unknown(bus, acknowledged)
            for task in rng.sample(sorted(acknowledged), 50):
                view = await ask_patiently(bus, "task", {"id": task, "wait_ms": 2000})
                assert view["state"] in {"succeeded", "queued", "running", "scheduled"}, view
    finally:
        _end(system)
        system.close()
    with capsys.disabled():
        print(f"\n  {CUTS} power cuts: {counts} tasks acknowledged before each, {len(lost)} lost")
    assert lost == set()
    assert min(counts) > 50


async def test_what_was_not_synced_is_gone(power: Disk):
    """The switch works: a file that was only written is lost by a cut, one that was synced is not."""
    for name, sync in (("synced", True), ("written", False)):
        with (power.mount_point / name).open("w") as file:
            file.write("x" * 100_000)
            file.flush()
            if sync:
                os.fsync(file.fileno())
                folder = os.open(power.mount_point, os.O_RDONLY)
                os.fsync(folder)
                os.close(folder)
    power.cut()
    power.unmount()
    power.mount()
    written = power.mount_point / "written"
    assert (power.mount_point / "synced").stat().st_size == 100_000
    assert not written.exists() or written.stat().st_size == 0


async def _submit_until_cut(system: RunningSystem, power: Disk, cut: int, after_s: float) -> set[str]:
    """Submit from many callers, cut the power; the tasks that had been acknowledged by then."""
    acknowledged: set[str] = set()
    before: set[str] = set()
    async with connect(system, "operator") as bus, anyio.create_task_group() as group:

        async def caller(number: int) -> None:
            count = 0
            while True:
                count += 1
                task = f"cut{cut}-{number}-{count}"
                body = encode(Submit(id=task, input={"text": f"I love this, {task}"}), "json")
                with suppress(ChimeraError):
                    raise_problem(await bus.request("chimera.scheduler.submit", body, timeout_s=5.0))
                    acknowledged.add(task)

        for number in range(CALLERS):
            group.start_soon(caller, number)
        await anyio.sleep(after_s)
        before |= acknowledged
        power.cut()
        group.cancel_scope.cancel()
    return before


def _end(system: RunningSystem) -> None:
    """The machine is off: every process of it."""
    if system.process is None:
        return
    pids = list(children(system.pid)) if system.process.poll() is None else []
    system.kill()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        while is_alive(pid):
            os.sched_yield()


async def _unknown(bus: NatsBus, acknowledged: set[str]) -> set[str]:
    """Tasks that a repeated submit takes for new ones."""
    names, unknown = sorted(acknowledged), set[str]()
    for start in range(0, len(names), BULK):
        tasks = [NewTask(id=name, input={"text": f"I love this, {name}"}) for name in names[start : start + BULK]]
        answer = await bus.request("chimera.scheduler.submit", encode(Submit(tasks=tasks), "json"), timeout_s=20.0)
        raise_problem(answer)
        receipts = decode(answer.data, Submitted).receipts
        unknown |= {receipt.id for receipt in receipts if not receipt.duplicate}
    return unknown
