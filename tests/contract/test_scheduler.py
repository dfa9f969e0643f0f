from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import anyio
import pytest

from actors.queueing.admission import Capacity
from actors.queueing.records import Took, join, pack
from actors.scheduler import Scheduler
from actors.scheduling.core import Policy
from actors.scheduling.journal import STREAM, SUBJECT
from chimera.bus import Bus, Delivery, MemoryBus, MemoryHub
from chimera.errors import (
    AgentError,
    AgentTrapError,
    BadMessageError,
    ConflictError,
    DeadlineError,
    NotFoundError,
    OverloadedError,
    RestartingError,
    UnavailableError,
)
from chimera.system import System
from chimera.testing import ManualClock, settle
from chimera.wire import decode_any
from subjects.agent import Predict
from subjects.scheduler import (
    OPERATIONS,
    CancelTask,
    CheckScheduler,
    Drain,
    GetQueue,
    GetTask,
    LimitAgent,
    ListDead,
    ListSchedules,
    ListStuck,
    ListTasks,
    Pause,
    ReportProgress,
    Resume,
    Revive,
    Schedule,
    Submit,
    Unschedule,
)
from subjects.task import NewTask, Retries, TaskView
from tests.support.scheduling import echo, scheduling

pytestmark = pytest.mark.anyio


class Stage:
    """A hub, a clock that stands still, and nodes on demand."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.clock = ManualClock()
        self.hub = MemoryHub(self.clock)
        self._stack = stack

    async def node(self, name: str = "n1", **arguments: Any) -> System:
        bus = await self._stack.enter_async_context(MemoryBus(self.hub, name=name))
        system = await self._stack.enter_async_context(scheduling(bus, node=name, clock=self.clock, **arguments))
        await settle()
        return system

    async def run_on(self) -> None:
        while True:
            await self.clock.advance(1.0)
            await anyio.lowlevel.checkpoint()

    async def bus(self, name: str) -> Bus:
        return await self._stack.enter_async_context(MemoryBus(self.hub, name=name))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A stage whose clock runs on at the end."""
    async with anyio.create_task_group() as group:
        async with AsyncExitStack() as stack:
            made = Stage(stack)
            yield made
            group.start_soon(made.run_on)  # whoever stops may wait for something that never ends
        group.cancel_scope.cancel()


async def submit(system: System, **fields: Any) -> str:
    """Submit one task; its id."""
    body: dict[str, Any] = {"input": {"x": 1}, **fields}
    answer = await system.ask(Submit(**body))
    return answer.receipts[0].id


async def view(system: System, task: str) -> TaskView:
    """A task after everything that can happen now has happened."""
    await settle(60)
    return await system.ask(GetTask(id=task))


class Gate:
    """Work that waits until it is let go."""

    def __init__(self) -> None:
        self.open = anyio.Event()

    async def __call__(self, message: Predict) -> dict[str, Any]:
        await self.open.wait()
        return message.input


class Failing:
    """Work that fails so many times, then succeeds."""

    def __init__(self, times: int, error: Exception) -> None:
        self.times, self.error = times, error

    async def __call__(self, message: Predict) -> dict[str, Any]:
        self.times -= 1
        if self.times >= 0:
            raise self.error
        return message.input


def test_the_actor_answers_every_operation_of_its_port() -> None:
    """Each declared operation has a handler, and no handler is undeclared."""
    assert set(Scheduler.handlers) == {operation.request for operation in OPERATIONS}


async def test_a_task_is_done_and_its_result_kept(stage: Stage) -> None:
    """The result, the attempt and the release are shown; the job's id carries the attempt."""
    jobs: list[Predict] = []
    system = await stage.node(jobs=jobs)
    await submit(system, id="t", labels={"team": "blue"}, priority="high")
    done = await view(system, "t")
    assert (done.state, done.output, done.release, done.attempt) == ("succeeded", {"x": 1}, 1, 1)
    assert [job.job_id for job in jobs] == ["t-1"]
    page = await system.ask(ListTasks(label="team=blue", priority="high"))
    assert [task.id for task in page.tasks] == ["t"]
    assert (await system.ask(ListTasks(label="team=red"))).total == 0


async def test_a_resubmit_is_the_same_task_and_other_work_is_a_conflict(stage: Stage) -> None:
    """The same id and work is a duplicate and runs once; the same id with other work is refused."""
    jobs: list[Predict] = []
    system = await stage.node(jobs=jobs)
    await submit(system, id="t", input={"a": 1, "b": 2})
    again = await system.ask(Submit(id="t", input={"b": 2, "a": 1}))
    assert (again.duplicates, again.accepted) == (1, 0)
    with pytest.raises(ConflictError):
        await submit(system, id="t", input={"a": 2})
    await settle(60)
    assert len(jobs) == 1


async def test_a_key_is_unique_while_its_task_is_unfinished(stage: Stage) -> None:
    """A second submit with the key gives the first task back until that is done; then it is new."""
    gate = Gate()
    system = await stage.node(work=gate)
    first = await submit(system, key="k")
    assert await submit(system, key="k", input={"x": 2}) == first
    gate.open.set()
    await view(system, first)
    assert await submit(system, key="k", input={"x": 3}) != first


async def test_a_bulk_is_one_request_with_a_receipt_each(stage: Stage) -> None:
    """Good tasks are taken, the bad one says why, and the order is kept."""
    system = await stage.node()
    await submit(system, id="b", input={"other": 1})
    tasks = [NewTask(id=name, input={"x": 1}) for name in "abc"]
    answer = await system.ask(Submit(tasks=tasks))
    assert [(receipt.id, receipt.code) for receipt in answer.receipts] == [("a", ""), ("b", "conflict"), ("c", "")]
    assert (answer.accepted, answer.refused) == (2, 1)
    with pytest.raises(BadMessageError):
        await system.ask(Submit())


async def test_a_bulk_travels_in_few_messages(stage: Stage) -> None:
    """Group commit: a thousand tasks take a handful of messages, not a thousand."""
    system = await stage.node(work=None)
    await system.ask(Pause())
    _, before, _ = await (bus := await stage.bus("probe")).stream_state(STREAM)
    await system.ask(Submit(tasks=[NewTask(input={"n": n}) for n in range(1000)]))
    _, after, _ = await bus.stream_state(STREAM)
    assert after - before <= 3


async def test_failures_are_tried_again_with_backoff_and_then_dead(stage: Stage) -> None:
    """Attempts keep their reasons and come after growing pauses; the last failure makes a dead letter."""
    system = await stage.node(work=Failing(99, AgentTrapError("boom")))
    await submit(system, id="t", retries=Retries(attempts=3, first_s=10.0, factor=2.0, jitter=0.0))
    first = await view(system, "t")
    assert (first.state, first.due_at) == ("scheduled", pytest.approx(stage.clock.time() + 10.0, abs=0.1))
    await stage.clock.advance(9.0)
    assert (await view(system, "t")).attempt == 1
    await stage.clock.advance(1.5)
    assert (await view(system, "t")).attempt == 2
    await stage.clock.advance(21.0)
    dead = await view(system, "t")
    assert (dead.state, dead.attempt) == ("dead", 3)
    assert "boom" in dead.reason
    assert [attempt.outcome for attempt in dead.attempts] == ["agent-trap"] * 3
    assert [task.id for task in (await system.ask(ListDead(reason="boom"))).tasks] == ["t"]


async def test_what_cannot_succeed_is_dead_at_once(stage: Stage) -> None:
    """An agent that refuses its input would refuse it again: one attempt."""
    system = await stage.node(work=Failing(99, AgentError("no text")))
    await submit(system, id="t")
    dead = await view(system, "t")
    assert (dead.state, dead.attempt) == ("dead", 1)


async def test_the_dead_are_revived_one_or_by_filter(stage: Stage) -> None:
    """A revived task gets fresh attempts under higher numbers; a filter that matches all must be confirmed."""
    system = await stage.node(work=Failing(3, AgentError("bad")))
    for name in "abc":
        await submit(system, id=name)
    await settle(60)
    with pytest.raises(BadMessageError):
        await system.ask(Revive())
    assert (await system.ask(Revive(id="a"))).ids == ["a"]
    alive = await view(system, "a")
    assert (alive.state, alive.attempt) == ("succeeded", 2)
    with pytest.raises(ConflictError):
        await system.ask(Revive(id="a"))
    assert sorted((await system.ask(Revive(reason="bad"))).ids) == ["b", "c"]
    assert (await view(system, "c")).state == "succeeded"


async def test_a_full_agent_does_not_cost_attempts(stage: Stage) -> None:
    """Refusals that ran nothing are not counted, and the limit shrinks."""
    system = await stage.node(work=Failing(5, OverloadedError(retry_after_s=0.1)))
    await submit(system, id="t", retries=Retries(attempts=1))
    await stage.clock.advance(20.0)
    assert (await view(system, "t")).state == "succeeded"
    assert (await system.ask(GetQueue())).agents[0].limit < 16


async def test_a_task_waits_for_its_time(stage: Stage) -> None:
    """Not before its moment, and then soon."""
    system = await stage.node()
    await submit(system, id="t", not_before=stage.clock.time() + 30.0)
    assert (await view(system, "t")).state == "scheduled"
    await stage.clock.advance(29.0)
    assert (await view(system, "t")).state == "scheduled"
    await stage.clock.advance(1.5)
    assert (await view(system, "t")).state == "succeeded"


async def test_deadlines_are_judged_at_admission_and_kept_in_the_queue(stage: Stage) -> None:
    """A passed deadline is refused at once; a waiting or running task whose deadline passes is expired."""
    system = await stage.node(work=Gate())
    with pytest.raises(DeadlineError):
        await submit(system, deadline=stage.clock.time() - 1.0)
    await system.ask(LimitAgent(agent="sentiment", concurrency=1))
    await submit(system, id="runs", deadline=stage.clock.time() + 5.0)
    await submit(system, id="waits", deadline=stage.clock.time() + 5.0)
    await settle(60)
    await stage.clock.advance(6.0)
    assert [(await view(system, name)).state for name in ("runs", "waits")] == ["expired", "expired"]


async def test_a_task_over_its_limit_is_ended_and_tried_again(stage: Stage) -> None:
    """The attempt's own time limit ends it, with its reason."""
    system = await stage.node(work=Gate())
    await submit(system, id="t", limit_s=5.0, retries=Retries(attempts=2, first_s=0.0))
    await stage.clock.advance(6.0)
    shown = await view(system, "t")
    assert shown.attempts[0].outcome == "deadline"
    assert shown.attempt == 2


async def test_silence_is_stuck_and_rescued_and_the_zombie_is_fenced(stage: Stage) -> None:
    """No heartbeat: shown with its reason, tried again; the first attempt's late answer changes nothing."""
    gate, late = Gate(), anyio.Event()

    async def work(message: Predict) -> dict[str, Any]:
        if message.job_id.endswith("-1"):
            with anyio.CancelScope(shield=True):  # a zombie: it does not hear that nobody wants it
                await gate.open.wait()
            late.set()
            return {"by": "zombie"}
        return {"by": "second"}

    system = await stage.node(work=work, policy=Policy(rescue=False))
    await submit(system, id="t", limit_s=500.0, retries=Retries(first_s=0.0))
    await settle(60)
    await stage.clock.advance(20.0)
    stuck = (await system.ask(ListStuck())).tasks
    assert [(row.id, row.signals) for row in stuck] == [("t", ["no-heartbeat"])]
    assert "no sign of life" in stuck[0].reason
    instance: Any = system.cells["scheduler"].instance
    instance.actor._core.policy = Policy(rescue=True)
    await stage.clock.advance(2.0)
    assert (await view(system, "t")).output == {"by": "second"}
    gate.open.set()
    await settle(60)
    assert late.is_set()
    assert (await view(system, "t")).output == {"by": "second"}


async def test_heartbeats_keep_a_task_and_missing_progress_is_told(stage: Stage) -> None:
    """A beating attempt is not silent; without progress it is stuck for that reason; an old attempt is told to stop."""
    system = await stage.node(work=Gate(), policy=Policy(rescue=False))
    await submit(system, id="t", limit_s=600.0)
    await settle(60)
    for _ in range(35):
        await stage.clock.advance(10.0)
        assert not (await system.ask(ReportProgress(id="t", attempt=1, progress=0.25, note="quarter"))).stop
    stuck = (await system.ask(ListStuck())).tasks
    assert [row.signals for row in stuck] == [["no-progress"]]
    shown = await view(system, "t")
    assert (shown.progress, shown.note) == (0.25, "quarter")
    assert (await system.ask(ReportProgress(id="t", attempt=2))).stop


async def test_cancel_ends_waiting_and_running_tasks(stage: Stage) -> None:
    """Both become cancelled at once, a running one's work is cancelled too, and a final task stays as it is."""
    cancelled: list[str] = []

    async def work(message: Predict) -> dict[str, Any]:
        try:
            await anyio.Event().wait()
        finally:
            cancelled.append(message.job_id)
        return {}

    system = await stage.node(work=work)
    await system.ask(LimitAgent(agent="sentiment", concurrency=1))
    await submit(system, id="runs")
    await submit(system, id="waits")
    await settle(60)
    assert (await system.ask(CancelTask(id="waits"))).state == "cancelled"
    assert (await system.ask(CancelTask(id="runs"))).state == "cancelled"
    await settle(60)
    assert cancelled == ["runs-1"]
    with pytest.raises(NotFoundError):
        await system.ask(CancelTask(id="nobody"))


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
