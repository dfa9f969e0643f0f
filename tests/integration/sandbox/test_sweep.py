"""Sweeps on real workers: the same answers as one task at a time, through deaths, and out of the way of others."""
# pyright: reportPrivateUsage=false
# The tests look at the pool's own processes in order to kill them.

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import msgspec
import pytest

from chimera.clock import SystemClock
from chimera.errors import BadGenomeError, BadMessageError, BadModuleError, DeadlineError
from chimera.sandbox import GuestResult, GuestSpec, SandboxSettings
from chimera.sandbox.contract import Swept
from chimera.sandbox.local import LocalSandbox
from chimera.sandbox.records import BadRecordError, pack, unpack_swept

pytestmark = pytest.mark.anyio
Binary = Callable[[str], bytes]
Spec = Callable[..., GuestSpec]
FIELDS = ("number", "text", "deep", "none")


@pytest.fixture(scope="module")
async def box(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalSandbox]:
    """A single worker: whatever a sweep holds, others must get it from the sweep."""
    folder: Path = tmp_path_factory.mktemp("modules")
    async with LocalSandbox(SandboxSettings(folder, workers=1, allow_inline=True), SystemClock()) as made:
        yield made


def payload(number: int) -> bytes:
    """What the echo guest is given, and gives back."""
    return msgspec.json.encode({"number": number, "text": f"t{number}", "deep": [number], "flag": True})


@pytest.mark.parametrize("placement", ["worker", "inline"])
async def test_columns_are_the_fields_of_the_answers(
    box: LocalSandbox, guest_binary: Binary, make_spec: Spec, placement: str
):
    """Whatever the pieces, each answer's fields are in their place, and what is no object is a failure in its place."""
    digest = (await box.check(guest_binary("echo"))).digest
    payloads = [b"[1]" if n in {0, 700, 1399} else payload(n) for n in range(1400)]
    spec = make_spec("echo", digest, placement=placement)
    swept = await box.sweep(spec, "predict", payloads, FIELDS, timeout_s=30.0)
    good = [n not in {0, 700, 1399} for n in range(1400)]
    assert swept.outputs[0] == [n if good[n] else None for n in range(1400)]
    assert swept.outputs[1] == [f"t{n}" if good[n] else None for n in range(1400)]
    assert swept.outputs[2] == swept.outputs[3] == [None] * 1400
    assert {place: failure.kind for place, failure in swept.failures.items()} == dict.fromkeys(
        (0, 700, 1399), "agent-contract"
    )
    assert len(swept.run_s) == len(swept.cpu_s) == 1400
    assert box.statistics().loaded == 0, "nothing of it stays"


async def test_every_payload_meets_a_fresh_instance(box: LocalSandbox, guest_binary: Binary, make_spec: Spec):
    """As many instances as payloads, and one to see that it starts; only a guest that may be reused has less."""
    digest = (await box.check(guest_binary("echo"))).digest
    for reuse, fewest, most in ((1, 101, 110), (1000, 1, 10)):
        before = box.statistics().instances
        await box.sweep(make_spec("echo", digest, reuse=reuse), "predict", [payload(1)] * 100, FIELDS)
        assert fewest <= box.statistics().instances - before <= most


async def test_a_guest_that_meets_its_limit_is_given_up(box: LocalSandbox, guest_binary: Binary, make_spec: Spec):
    """After three tasks that took all of their time the rest is not run; traps cost little and are all run."""
    loop = (await box.check(guest_binary("loop"))).digest
    swept = await box.sweep(make_spec("loop", loop, cpu_ms=5.0), "predict", [b"{}"] * 50, (), give_up=3)
    assert [(failure.kind, failure.limit) for failure in swept.failures.values()] == [("agent-limit", "cpu")] * 3
    assert len(swept.run_s) == 3
    trap = (await box.check(guest_binary("trap"))).digest
    swept = await box.sweep(make_spec("trap", trap), "predict", [b"{}"] * 50, ("x",), give_up=3)
    assert len(swept.run_s) == len(swept.failures) == 50
    assert swept.outputs == [[None] * 50]


async def test_what_can_not_start_says_so(box: LocalSandbox, guest_binary: Binary, make_spec: Spec):
    """A refused genome, a start that hangs and a task that is not there each have the error that loading has."""
    picky = (await box.check(guest_binary("picky"))).digest
    with pytest.raises(BadGenomeError, match="gene 0 is wrong"):
        await box.sweep(make_spec("picky", picky, genome=(1.0,)), "predict", [b"{}"], ())
    slow = (await box.check(guest_binary("slow_init"))).digest
    with pytest.raises(BadModuleError, match="it cannot be started"):
        await box.sweep(make_spec("slow", slow, cpu_ms=5.0), "predict", [b"{}"], ())
    with pytest.raises(BadMessageError, match="no task 'dance'"):
        await box.sweep(make_spec("picky", picky), "dance", [b"{}"], ())


async def test_the_death_of_a_worker_loses_nothing(box: LocalSandbox, guest_binary: Binary, make_spec: Spec):
    """A worker that is killed under a sweep is replaced, and its piece is run again."""
    digest = (await box.check(guest_binary("echo"))).digest
    deaths = box.statistics().worker_deaths
    found: list[Swept] = []

    async def work() -> None:
        found.append(await box.sweep(make_spec("echo", digest), "predict", [payload(n) for n in range(6000)], FIELDS))

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        with anyio.fail_after(20):
            while not any(link._batch for link in box._pool.links):  # noqa: ASYNC110 - the worker tells nobody
                await anyio.sleep(0.001)
        for link in list(box._pool.links):
            os.kill(link.process.pid, signal.SIGKILL)
    assert found[0].outputs[0] == list(range(6000))
    assert not found[0].failures
    assert box.statistics().worker_deaths == deaths + 1


async def test_others_are_served_between_two_pieces(box: LocalSandbox, guest_binary: Binary, make_spec: Spec):
    """On the only worker a live task is answered while a long sweep goes on."""
    digest = (await box.check(guest_binary("echo"))).digest
    guest = await box.load(make_spec("live", digest))
    order: list[str] = []

    async def sweep() -> None:
        await box.sweep(make_spec("echo", digest), "predict", [payload(n) for n in range(20_000)], FIELDS)
        order.append("sweep")

    async with anyio.create_task_group() as group:
        group.start_soon(sweep)
        with anyio.fail_after(20):
            while not any(link._batch for link in box._pool.links):  # noqa: ASYNC110 - the worker tells nobody
                await anyio.sleep(0.001)
        [answer] = await guest.run("predict", [b"{}"])
        assert isinstance(answer, GuestResult)
        order.append("live")
    assert order == ["live", "sweep"]
    await guest.close()


async def test_time_is_up_in_the_middle(box: LocalSandbox, guest_binary: Binary, make_spec: Spec):
    """The deadline ends a sweep, and the worker serves the next one."""
    digest = (await box.check(guest_binary("echo"))).digest
    with pytest.raises(DeadlineError):
        await box.sweep(
            make_spec("echo", digest), "predict", [payload(n) for n in range(50_000)], FIELDS, timeout_s=0.05
        )
    assert (await box.sweep(make_spec("echo", digest), "predict", [payload(7)], FIELDS)).outputs[0] == [7]


def test_columns_that_do_not_fit_are_refused():
    """A worker is not trusted: lengths must agree, and failures have a place."""
    good = Swept([[1, 2]], [0.1, 0.1], [0.1, 0.1], {})
    assert unpack_swept((8, 0, 1, "", "", pack(good)), payloads=2, fields=1) == good
    bad = [
        Swept([[1]], [0.1, 0.1], [0.1, 0.1], {}), Swept([[1, 2]], [0.1], [0.1, 0.1], {}), Swept([[]], [], [], {}),
        Swept([], [0.1], [0.1], {}), Swept([[1] * 3], [0.1] * 3, [0.1] * 3, {}),
    ]  # fmt: skip
    for one in bad:
        with pytest.raises(BadRecordError):
            unpack_swept((8, 0, 1, "", "", pack(one)), payloads=2, fields=1)
    with pytest.raises(BadRecordError):
        unpack_swept((8, 0, 1, "", "", b"\xc1"), payloads=2, fields=1)
