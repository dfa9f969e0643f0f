"""The scheduler's promises about one task: durable, once, tried again, in time."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import pytest

from actors.scheduler import Scheduler
from actors.scheduling.core import Policy
from actors.scheduling.journal import STREAM
from chimera.errors import (
    AgentError,
    AgentTrapError,
    BadMessageError,
    BusDownError,
    ConflictError,
    DeadlineError,
    NotFoundError,
    OverloadedError,
)
from chimera.testing import settle
from subjects.agent import Predict
from subjects.layer import CheckLayer
from subjects.scheduler import (
    OPERATIONS,
    CancelTask,
    GetQueue,
    LimitAgent,
    ListDead,
    ListStuck,
    ListTasks,
    Pause,
    ReportProgress,
    Revive,
    Submit,
)
from subjects.task import NewTask, Retries
from tests.support.scheduler_stage import Failing, Gate, Stage, submit, view

pytestmark = pytest.mark.anyio


def test_the_actor_answers_every_operation_of_its_port() -> None:
    """Each declared operation has a handler, and beyond them every layer's way to the others."""
    assert set(Scheduler.handlers) == {operation.request for operation in OPERATIONS} | {CheckLayer}


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


async def test_a_second_attempt_is_stored_before_it_begins(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log takes nothing, no attempt begins whose number could come before a lower one of another leader."""
    jobs: list[Predict] = []
    system = await stage.node(work=Failing(1, DeadlineError("not now")), jobs=jobs)
    task = await submit(system, not_before=stage.clock.time() + 5.0)
    assert system.bus is not None
    append, open_again = system.bus.append, anyio.Event()

    async def slow(*positional: Any, **named: Any) -> Any:
        await open_again.wait()
        return await append(*positional, **named)

    monkeypatch.setattr(system.bus, "append", slow)
    for _ in range(10):
        await stage.clock.advance(1.0)
        await settle()
    assert [job.job_id for job in jobs] == [f"{task}-1"]
    open_again.set()
    await settle()
    assert [job.job_id for job in jobs] == [f"{task}-1", f"{task}-2"]
    assert (await view(system, task)).state == "succeeded"


async def test_silence_is_no_sign_while_nothing_can_be_heard(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage longer than the patience: what runs is not taken for stuck, and its result counts afterwards."""
    gate, jobs = Gate(), list[Predict]()
    system = await stage.node(work=gate, jobs=jobs)
    task = await submit(system, limit_s=600.0)
    await settle()
    assert system.bus is not None
    append, away = system.bus.append, True

    async def failing(*positional: Any, **named: Any) -> Any:
        if away:
            raise BusDownError
        return await append(*positional, **named)

    async def write_something() -> None:
        with suppress(DeadlineError):
            await submit(system)

    monkeypatch.setattr(system.bus, "append", failing)
    async with anyio.create_task_group() as group:
        group.start_soon(write_something)
        for _ in range(40):
            await stage.clock.advance(1.0)
            await settle()
        away = False
        await stage.clock.advance(2.0)
    gate.open.set()
    seen = await view(system, task)
    assert (seen.state, seen.attempt) == ("succeeded", 1)
