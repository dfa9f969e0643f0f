"""What is not taken is refused at once, with a reason that is true and what to do; the rest goes on."""

from __future__ import annotations

from typing import Any

import pytest

from actors.queueing.admission import Capacity, Load, refusal
from actors.scheduling.core import Policy
from actors.scheduling.disk import Disk
from chimera.bus import Bus
from chimera.errors import BadMessageError, DeadlineError, UnavailableError
from chimera.testing import settle
from subjects.scheduler import Drain, GetQueue, GetTask, LimitAgent, ListStuck, Pause, Resume, Schedule
from subjects.task import NewTask
from tests.support.scheduler_stage import Gate, Stage, submit, view

pytestmark = pytest.mark.anyio
ROOM = Capacity(disk_bytes=1000, store_bytes=500)


class Volume(Disk):
    """A disk whose room a test sets."""

    free_bytes = 5000
    store_bytes = 5000

    def __init__(self) -> None:
        return

    def free(self) -> int:
        return self.free_bytes

    async def store_free(self, bus: Bus) -> int:  # noqa: ARG002 - the disk's signature
        return self.store_bytes


async def housekeeping(stage: Stage) -> None:
    """Let it look at the disk again."""
    for _ in range(7):
        await stage.clock.advance(1.0)
        await settle(20)


@pytest.mark.parametrize(
    ("what", "short", "words"), [("free_bytes", 999, "disk is nearly full"), ("store_bytes", 499, "server's store")]
)
async def test_intake_stops_before_the_disk_is_full_and_resumes(
    stage: Stage, what: str, short: int, words: str
) -> None:
    """New tasks are refused with reason and retry-after, what was taken and reads go on, and room mends it."""
    gate, disk = Gate(), Volume()
    system = await stage.node(work=gate, disk=disk, policy=Policy(room=ROOM))
    await submit(system, id="taken")
    setattr(disk, what, short)
    await housekeeping(stage)
    with pytest.raises(UnavailableError, match=words) as refused:
        await submit(system, id="refused")
    assert (refused.value.executed, refused.value.retry_after_s) == ("no", 60.0)
    assert (await system.ask(GetQueue())).in_flight == 1
    gate.open.set()
    assert (await view(system, "taken")).state == "succeeded"
    assert (await submit(system, id="taken")) == "taken"  # a repeat of what is there needs no room
    setattr(disk, what, short + 1)
    await housekeeping(stage)
    await submit(system, id="refused")
    assert (await view(system, "refused")).state == "succeeded"


async def test_a_disk_tells_what_is_free(stage: Stage, tmp_path: Any) -> None:
    """The real one: the file system's free bytes, and what the server has stored taken from its limit."""
    bus = await stage.bus("b")
    disk = Disk(tmp_path, 1000)
    assert disk.free() > 0
    assert await disk.store_free(bus) == 1000 - await bus.stored_bytes()


async def test_a_drain_says_that_nothing_was_done_and_when_to_come_again(stage: Stage) -> None:
    """The refusal is safe to repeat."""
    system = await stage.node()
    await system.ask(Drain())
    with pytest.raises(UnavailableError, match="draining") as refused:
        await submit(system)
    assert (refused.value.executed, refused.value.retry_after_s) == ("no", 10.0)
    await system.ask(Resume())
    await submit(system)


def load(**fields: Any) -> Load:
    """A load that is otherwise empty."""
    values: dict[str, Any] = {"tasks": 0, "bytes": 0, **fields}
    return Load(**values)


def test_a_deadline_that_the_queue_can_not_meet_is_refused_with_the_estimate() -> None:
    """100 ahead at 10 per second and a run of 0.5 s: 10 s are too few, 11 s are enough."""
    now = load(ahead=100, out_per_s=10.0, run_s=0.5)
    error = refusal(now, Capacity(), size=1, now=0.0, deadline=10.0)
    assert isinstance(error, DeadlineError)
    assert error.detail == "the deadline is in 10.0 s, but the queue takes 10.0 s and a run 0.50 s"
    assert error.data == {"stage": "queued", "queue_s": 10.0, "run_s": 0.5}
    assert error.executed == "no"
    assert refusal(now, Capacity(), size=1, now=0.0, deadline=11.0) is None


async def test_an_idle_agents_rate_is_no_reason_and_lower_priorities_are_not_ahead(stage: Stage) -> None:
    """One task a minute ago says nothing of how fast it can be; what waits with less priority does not delay."""
    system = await stage.node()
    for number in range(3):
        await submit(system, id=f"past-{number}")
        await view(system, f"past-{number}")
        await stage.clock.advance(20.0)
    await system.ask(Pause())
    for number in range(20):
        await submit(system, id=f"waits-{number}", priority="normal")
    await submit(system, deadline=stage.clock.time() + 2.0)
    await system.ask(LimitAgent(agent="sentiment", concurrency=1, rate_per_s=1.0))
    with pytest.raises(DeadlineError, match="the queue takes"):
        await submit(system, deadline=stage.clock.time() + 10.0)
    await submit(system, deadline=stage.clock.time() + 10.0, priority="critical")


async def test_ages_and_reasons_in_the_views_are_true(stage: Stage) -> None:
    """After so many seconds the queue's ages are that many, and a silent attempt is shown with its silence."""
    gate = Gate()
    system = await stage.node(work=gate, policy=Policy(rescue=False))
    await submit(system, id="silent", limit_s=600)
    await view(system, "silent")
    await system.ask(Pause())
    await submit(system, id="old", agent="other")
    await stage.clock.advance(12.0)
    await submit(system, id="young", agent="other", priority="critical")
    await stage.clock.advance(8.0)
    queue = await system.ask(GetQueue())
    ages = {lane.agent: lane.oldest_age_s for lane in queue.agents}
    assert ages == {"sentiment": 0.0, "other": pytest.approx(20.0, abs=0.01)}
    assert queue.oldest_age_s == pytest.approx(20.0, abs=0.01)
    assert (queue.by_priority["critical"], queue.by_priority["normal"], queue.depth) == (1, 1, 2)
    (stuck,) = (await system.ask(ListStuck())).tasks
    assert (stuck.id, stuck.signals, stuck.reason) == ("silent", ["no-heartbeat"], "no sign of life for 20 s")
    assert stuck.running_s == stuck.silent_s == pytest.approx(20.0, abs=0.01)
    assert (await system.ask(GetTask(id="old"))).age_s == pytest.approx(20.0, abs=0.01)
    gate.open.set()


async def test_a_schedule_in_the_past_is_refused(stage: Stage) -> None:
    """A time that is over is a mistake, often of milliseconds for seconds or the reverse; it is not fired at once."""
    system = await stage.node()
    with pytest.raises(BadMessageError, match="s ago"):
        await system.ask(Schedule(id="s", at=1000.0, task=NewTask(input={})))
