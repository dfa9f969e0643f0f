"""Opportunistic batching."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from actors.execution.batching import Batcher, BatchPolicy
from chimera.errors import DeadlineError, OverloadedError, RestartingError
from chimera.sandbox.contract import GuestResult, GuestSpec
from chimera.testing import ManualClock, settle
from tests.support.guests import FakeGuest, FakeSandbox
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class Rig:
    """A batcher whose pump runs, over a fake guest."""

    def __init__(self, workers: int, **policy: float) -> None:
        self.box = FakeSandbox(workers=workers)
        self.clock = ManualClock()
        self.guest: FakeGuest | None = None
        self.policy = BatchPolicy(**policy)  # pyright: ignore[reportArgumentType] - numbers
        self.answers: list[Any] = []

    async def open(self) -> Batcher:
        """Load the guest."""
        info = await self.box.check(b"\0asm")
        self.guest = await self.box.load(GuestSpec("a", info.digest))
        return Batcher(self.guest, self.policy, self.clock.monotonic)

    def sizes(self) -> list[tuple[str, int]]:
        """Task and size of each batch, in order."""
        return [(task, size) for _, task, size, _ in self.box.batches]

    def free(self, workers: int) -> None:
        """So many workers are there from now on."""
        self.box.workers = workers
        self.box.busy += 1
        self.box.free()


@asynccontextmanager
async def running(rig: Rig) -> AsyncGenerator[tuple[Batcher, Any]]:
    """The batcher, and a function that submits without waiting."""
    batcher = await rig.open()
    async with anyio.create_task_group() as group:

        async def submit(task: str, payload: bytes, deadline: float | None) -> None:
            try:
                rig.answers.append((payload, await batcher.submit(task, payload, deadline)))
            except Exception as error:  # noqa: BLE001 - looked at by the test
                rig.answers.append((payload, error))

        async def later(payload: bytes = b"{}", task: str = "predict", deadline: float | None = None) -> None:
            group.start_soon(submit, task, payload, deadline)
            await settle(3)

        group.start_soon(batcher.run)
        yield batcher, later
        batcher.close()


async def test_a_free_worker_takes_a_task_at_once() -> None:
    """Nothing waits for a batch to fill."""
    rig = Rig(1, size=32, timeout_s=3600.0)
    async with running(rig) as (batcher, _):
        assert isinstance(await batcher.submit("predict", b"{}", None), GuestResult)
    assert rig.sizes() == [("predict", 1)]


async def test_what_waited_leaves_together_when_a_worker_is_free() -> None:
    """Five that waited are one batch, in order, each with its own answer."""
    rig = Rig(0, size=32, timeout_s=3600.0)
    async with running(rig) as (batcher, later):
        for n in range(5):
            await later(b'{"n":%d}' % n)
        assert (batcher.queued, rig.sizes()) == (5, [])
        rig.free(1)
        await settle()
    assert rig.sizes() == [("predict", 5)]
    assert [answer.output[:14] for _, answer in rig.answers] == [b'{"says":{"n":%d' % n for n in range(5)]


async def test_a_full_batch_leaves_without_a_worker() -> None:
    """It takes its place in the sandbox's own queue."""
    rig = Rig(0, size=2, timeout_s=3600.0)
    async with running(rig) as (_, later):
        for _ in range(3):
            await later()
        await settle()
        assert rig.sizes() == [("predict", 2)]
        rig.free(1)


async def test_the_timeout_is_a_ceiling() -> None:
    """A lone task joins the sandbox's queue after the timeout."""
    rig = Rig(0, size=32, timeout_s=0.02)
    async with running(rig) as (_, later):
        await later()
        assert rig.sizes() == []
        rig.clock._now += 0.02
        await until(rig.sizes)
        rig.free(1)


async def test_tasks_of_different_kinds_do_not_mix_and_the_oldest_goes_first() -> None:
    """Batches are of one task each; order among the rest is kept."""
    rig = Rig(0, size=32, timeout_s=3600.0)
    async with running(rig) as (_, later):
        for task in ("predict", "explain", "predict", "explain"):
            await later(task=task)
        rig.free(1)
        await settle()
    assert rig.sizes() == [("predict", 2), ("explain", 2)]


async def test_a_full_queue_refuses_with_a_measured_retry() -> None:
    """The refusal says when to come back."""
    rig = Rig(0, size=32, timeout_s=3600.0, queue=2)
    async with running(rig) as (batcher, later):
        await later()
        await later()
        with pytest.raises(OverloadedError) as caught:
            await batcher.submit("predict", b"{}", None)
        assert (caught.value.retry_after_s or 0) > 0
        rig.free(1)


async def test_expired_tasks_never_reach_the_guest() -> None:
    """One that expired before it came, or while it waited, is shed as queued."""
    rig = Rig(0, size=32, timeout_s=3600.0)
    async with running(rig) as (batcher, later):
        with pytest.raises(DeadlineError):
            await batcher.submit("predict", b"{}", rig.clock.monotonic())
        await later(b'{"late":1}', deadline=rig.clock.monotonic() + 60)
        await later(b'{"fine":1}')
        rig.clock._now += 61
        rig.free(1)
        await settle()
    assert rig.box.payloads == [b'{"fine":1}']
    late = next(answer for payload, answer in rig.answers if b"late" in payload)
    assert isinstance(late, DeadlineError)
    assert (late.data or {})["stage"] == "queued"


async def test_a_cancelled_task_leaves_the_queue() -> None:
    """Nobody waits for it, so it is not run."""
    rig = Rig(0, size=32, timeout_s=3600.0)
    async with running(rig) as (batcher, _):
        with anyio.move_on_after(0.01):
            await batcher.submit("predict", b'{"gone":1}', None)
        assert batcher.queued == 0
        rig.free(1)
    assert not rig.box.payloads


async def test_closing_serves_what_waits_and_refuses_what_comes() -> None:
    """``close`` loses nothing."""
    rig = Rig(0, size=32, timeout_s=3600.0)
    async with running(rig) as (batcher, later):
        await later()
        batcher.close()
        with pytest.raises(RestartingError):
            await batcher.submit("predict", b"{}", None)
        rig.free(1)
    assert isinstance(rig.answers[0][1], GuestResult)


async def test_an_error_of_the_sandbox_reaches_every_task_of_the_batch() -> None:
    """None is left waiting."""
    rig = Rig(0, size=2, timeout_s=3600.0)
    async with running(rig) as (_, later):
        assert rig.guest is not None
        rig.guest.closed = True
        await later()
        await later()
        await settle()
    assert [type(answer) for _, answer in rig.answers] == [AssertionError, AssertionError]
