"""Pauses, limits, schedules, restarts, takeovers and compaction of the scheduler."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from typing import Any

import anyio
import pytest

from actors.queueing.admission import Capacity
from actors.queueing.records import Took, pack
from actors.scheduling.core import Policy
from actors.scheduling.journal import STREAM, SUBJECT
from chimera.bus import Delivery, MemoryBus, MemoryHub
from chimera.errors import (
    BadMessageError,
    NotFoundError,
    OverloadedError,
    RestartingError,
    UnavailableError,
)
from chimera.journal import join
from chimera.system import System
from chimera.testing import settle
from chimera.wire import decode_any
from subjects.agent import Predict
from subjects.scheduler import (
    CheckScheduler,
    Drain,
    GetQueue,
    GetTask,
    LimitAgent,
    ListSchedules,
    ListTasks,
    Pause,
    Resume,
    Schedule,
    Submit,
    Unschedule,
)
from subjects.task import NewTask
from tests.support.scheduler_stage import Gate, Stage, submit, view
from tests.support.scheduling import echo, scheduling

pytestmark = pytest.mark.anyio


async def test_pauses_hold_and_drains_refuse(stage: Stage) -> None:
    """A paused agent starts nothing but takes tasks; a draining scheduler takes none; resume ends both."""
    system = await stage.node()
    await system.ask(Pause(agent="sentiment"))
    await submit(system, id="held")
    await submit(system, id="free", agent="other")
    assert ((await view(system, "held")).state, (await view(system, "free")).state) == ("queued", "succeeded")
    await system.ask(Drain())
    with pytest.raises(UnavailableError, match="draining"):
        await submit(system)
    assert not (await system.ask(Resume())).draining
    assert (await view(system, "held")).state == "succeeded"


async def test_a_rate_limit_spreads_the_starts(stage: Stage) -> None:
    """Two per second: after the burst one each half second."""
    jobs: list[Predict] = []
    system = await stage.node(jobs=jobs)
    await system.ask(LimitAgent(agent="sentiment", concurrency=10, rate_per_s=2.0))
    await system.ask(Submit(tasks=[NewTask(input={"n": n}) for n in range(10)]))
    await settle(60)
    assert len(jobs) == 2
    await stage.clock.advance(2.0)
    await settle(60)
    assert len(jobs) == 6


async def test_a_full_queue_says_when_to_come_again(stage: Stage) -> None:
    """One more than there is room for is Overloaded with a retry-after; room that is made is used."""
    gate = Gate()
    system = await stage.node(work=gate, policy=Policy(room=Capacity(tasks=2, bytes=1 << 20, disk_bytes=0)))
    await system.ask(Submit(tasks=[NewTask(input={"n": n}) for n in range(2)]))
    with pytest.raises(OverloadedError) as caught:
        await submit(system, id="third")
    assert (caught.value.retry_after_s or 0.0) > 0
    gate.open.set()
    await settle(100)
    assert await submit(system, id="third") == "third"


async def test_a_callback_gets_the_end_and_foreign_subjects_are_refused(stage: Stage) -> None:
    """The end with its output on the task's subject; nobody can have the scheduler publish anywhere else."""
    system = await stage.node()
    heard: list[Any] = []

    def hear(delivery: Delivery) -> None:
        heard.append(decode_any(delivery.data))

    await (await stage.bus("client")).subscribe("chimera.callback.me", hear)
    await submit(system, id="t", callback="chimera.callback.me")
    await settle(60)
    await stage.clock.advance(0.1)
    assert [(end["id"], end["state"], end["output"]) for end in heard] == [("t", "succeeded", {"x": 1})]
    for subject in ("chimera.agent.retire", "$JS.API.STREAM.DELETE.TASKS", "chimera.callback.>", "_INBOX.*.x"):
        with pytest.raises(BadMessageError):
            await submit(system, callback=subject)


async def test_schedules_fire_once_each_and_missed_runs_are_made_up_by_one(stage: Stage) -> None:
    """Every minute for three minutes makes three tasks; an hour nobody was there makes one, and is counted."""
    jobs: list[Predict] = []
    system = await stage.node(jobs=jobs)
    made = await system.ask(Schedule(id="s", every_s=60.0, task=NewTask(input={"x": 1})))
    assert made.next_at == pytest.approx(stage.clock.time() + 60.0, abs=0.1)
    for _ in range(18):
        await stage.clock.advance(10.0)
    assert len(jobs) == 3
    stage.clock.jump(3600.0)
    await stage.clock.advance(2.0)
    assert len(jobs) == 4
    shown = (await system.ask(ListSchedules())).schedules[0]
    assert (shown.fired, shown.missed) == (4, 59)
    assert (await view(system, shown.last_task)).schedule == "s"
    await system.ask(Unschedule(id="s"))
    assert (await system.ask(ListSchedules())).schedules == []
    with pytest.raises(BadMessageError):
        await system.ask(Schedule(id="s", every_s=60.0, cron="* * * * *", task=NewTask()))


async def test_a_restart_reads_everything_back(stage: Stage) -> None:
    """A second scheduler after the first finds queued, scheduled and finished tasks, pauses, limits and schedules."""
    async with AsyncExitStack() as life:
        bus = await life.enter_async_context(MemoryBus(stage.hub, name="a"))
        system = await life.enter_async_context(scheduling(bus, node="a", clock=stage.clock))
        await submit(system, id="done")
        await view(system, "done")
        await system.ask(Pause(agent="sentiment"))
        await submit(system, id="queued", key="k")
        await submit(system, id="later", not_before=stage.clock.time() + 100.0)
        await system.ask(Schedule(id="s", cron="0 3 * * *", task=NewTask(input={"x": 1})))
    system = await stage.node("a")
    health = await system.ask(CheckScheduler())
    assert (health.leader, health.epoch) == ("a", 2)
    states = {task.id: task.state for task in (await system.ask(ListTasks())).tasks}
    assert states == {"done": "succeeded", "queued": "queued", "later": "scheduled"}
    assert (await view(system, "done")).output == {"x": 1}
    assert await submit(system, key="k", input={"x": 9}) == "queued"
    assert len((await system.ask(ListSchedules())).schedules) == 1
    await system.ask(Resume())
    assert (await view(system, "queued")).state == "succeeded"


async def test_a_follower_passes_on_and_takes_over() -> None:
    """Two nodes: both answer, one leads; when it stops, the other leads under the next epoch with all tasks."""
    hub = MemoryHub()
    async with (
        MemoryBus(hub, name="b") as other, MemoryBus(hub, name="a") as bus, scheduling(bus, node="a") as first,
        scheduling(other, node="b") as second,
    ):  # fmt: skip
        await submit(second, id="t")
        assert (await second.ask(CheckScheduler())).leader == "a"
        assert (await second.ask(GetTask(id="t", wait_ms=5000))).state == "succeeded"
        assert (await first.ask(GetTask(id="t"))).state == "succeeded"
        await first.ask(Pause())
        await submit(second, id="waits")
        await first.cells["scheduler"].stop("stopped", 5.0)

        await _until_leads(second, "b")
        assert (await second.ask(CheckScheduler())).epoch == 2
        assert {task.id for task in (await second.ask(ListTasks())).tasks} == {"t", "waits"}
        await second.ask(Resume())
        assert (await second.ask(GetTask(id="waits", wait_ms=5000))).state == "succeeded"


async def _until_leads(system: System, node: str) -> None:
    """Ask until ``node`` leads, for ten seconds at most."""
    leader = ""
    with anyio.fail_after(10):
        while leader != node:
            await anyio.sleep(0.01)
            with suppress(RestartingError):
                leader = (await system.ask(CheckScheduler())).leader


async def test_a_replaced_leader_can_write_no_more() -> None:
    """A leader that was replaced while it slept is refused by the log: what it took in is not acknowledged."""
    hub = MemoryHub()
    async with MemoryBus(hub, name="o") as other, MemoryBus(hub, name="a") as bus, scheduling(bus, node="a") as system:
        await submit(system, id="before")
        assert (await system.ask(GetTask(id="before", wait_ms=5000))).state == "succeeded"
        _, last, _ = await other.stream_state(STREAM)
        usurper = join([pack(Took(7, "zz", 0.0))])
        await other.append(SUBJECT, usurper, msg_id="usurp", expected_last=last)
        with pytest.raises(RestartingError):
            await system.ask(Submit(id="after", input={"x": 2}), timeout_s=5.0)
        await _until_leads(system, "a")
        assert (await system.ask(CheckScheduler())).epoch == 8  # the usurper is not there: it leads again, as the 8th
        with pytest.raises(NotFoundError):
            await system.ask(GetTask(id="after"))
        assert (await system.ask(GetTask(id="before"))).state == "succeeded"


async def test_compaction_keeps_everything_that_lives(stage: Stage) -> None:
    """After the log was rewritten and purged, a new scheduler finds the same tasks in few messages."""
    async with AsyncExitStack() as life:
        bus = await life.enter_async_context(MemoryBus(stage.hub, name="a"))
        system = await life.enter_async_context(scheduling(bus, node="a", clock=stage.clock))
        await system.ask(Pause(agent="other"))
        for number in range(400):
            await submit(system, id=f"t{number}", agent="other" if number % 2 else "sentiment")
        await settle(400)
        before = (await system.ask(GetQueue())).log_messages
        actor: Any = system.cells["scheduler"].instance
        await actor.actor._clockwork.compact()
        assert (await system.ask(GetQueue())).log_messages < before / 10
    system = await stage.node("a")
    queue = await system.ask(GetQueue())
    assert (queue.depth, queue.finished) == (200, 200)
    assert (await system.ask(Pause(agent="x"))).agents == ["other", "x"]


async def test_a_caller_may_wait_for_the_end(stage: Stage) -> None:
    """A waiting ask is answered when the task ends, or with how it stands when the time is over."""
    gate = Gate()
    system = await stage.node(work=gate)
    await submit(system, id="t")
    answers: list[str] = []

    async def wait(milliseconds: int) -> None:
        answers.append((await system.ask(GetTask(id="t", wait_ms=milliseconds))).state)

    async with anyio.create_task_group() as group:
        group.start_soon(wait, 1000)
        group.start_soon(wait, 5000)
        await settle(60)
        await stage.clock.advance(1.5)
        assert answers == ["running"]
        gate.open.set()
    assert answers == ["running", "succeeded"]


async def test_one_agents_flood_does_not_delay_anothers_task(stage: Stage) -> None:
    """A thousand queued tasks of one agent: another's single task is among the very next to start."""
    jobs: list[Predict] = []
    system = await stage.node(jobs=jobs, work=echo)
    await system.ask(Pause())
    await system.ask(Submit(tasks=[NewTask(agent="flood", input={"n": n}) for n in range(1000)]))
    await submit(system, agent="lone", priority="background")
    await system.ask(Resume())
    await settle(400)
    assert "lone" in [job.agent for job in jobs[:3]]
