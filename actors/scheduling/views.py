"""How tasks and the queue are shown, computed from what is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from actors.queueing import states
from actors.queueing.ledger import Task
from actors.queueing.records import LEVELS, Try
from actors.queueing.stuck import Running, signals
from subjects.dead import ListDead, Revive
from subjects.event import TaskProgressed
from subjects.news import TaskNews
from subjects.scheduler import LaneView, ListTasks, QueueView
from subjects.task import Attempt, StuckTask, TaskPage, TaskView

from .core import Core
from .lanes import Lane


def task_view(task: Task, now: float, *, whole: bool) -> TaskView:
    """One task; ``whole`` with input and output."""
    spec, status = task.spec, task.status
    state, priority = _any(status.state), _any(LEVELS[spec.level])
    return TaskView(
        id=spec.id, agent=spec.agent, task=spec.task, state=state, priority=priority, submitted_at=spec.submitted_at,
        age_s=round(max(0.0, now - spec.submitted_at), 3), due_at=status.due or None,
        started_at=status.tries[-1].started_at if status.tries else None,
        ended_at=status.since if states.is_final(status.state) else None, deadline=spec.deadline or None,
        attempt=status.attempt, max_attempts=spec.attempts, attempts=[_attempt(one) for one in status.tries],
        progress=task.progress, note=task.note, reason=status.reason, key=spec.key, labels=dict(spec.labels),
        schedule=spec.schedule, input=msgspec.msgpack.decode(spec.input) if whole else None,
        output=msgspec.msgpack.decode(status.output) if whole and status.output else None,
        release=status.release or None,
    )  # fmt: skip


def state_news(task: Task, seq: str, now: float) -> TaskNews:
    """How a watched task stands when the watching begins."""
    status = task.status
    return TaskNews(
        kind="state", seq=seq, at=now, id=task.spec.id, agent=task.spec.agent, state=_any(status.state),
        attempt=status.attempt, progress=task.progress, note=task.note, reason=status.reason,
    )  # fmt: skip


def progress_fact(task: Task, now: float) -> TaskProgressed:
    """What its worker told of a running task."""
    return TaskProgressed(
        id=task.spec.id, agent=task.spec.agent, attempt=task.status.attempt, at=now, progress=task.progress,
        note=task.note,
    )  # fmt: skip


def fitting(core: Core, where: ListTasks) -> list[Task]:
    """Tasks by filter, newest first, whatever page is asked for."""
    name, _, value = where.label.partition("=")
    label = (name, value)

    def fits(task: Task) -> bool:
        spec = task.spec
        return (
            (not where.state or task.status.state == where.state)
            and (not where.agent or spec.agent == where.agent)
            and (not where.priority or LEVELS[spec.level] == where.priority)
            and (not where.label or label in spec.labels)
            and spec.submitted_at >= where.since
            and (not where.until or spec.submitted_at < where.until)
        )

    return sorted(filter(fits, core.ledger.tasks.values()), key=lambda task: (-task.spec.submitted_at, task.spec.id))


def dead_tasks(core: Core, where: ListDead | Revive) -> list[Task]:
    """Dead letters by filter, also of tasks that only their letter remembers."""
    name, _, value = where.label.partition("=")
    return [
        task for task in core.letters.all()
        if (not where.agent or task.spec.agent == where.agent) and where.reason in task.status.reason
        and (not where.label or (name, value) in task.spec.labels)
    ]  # fmt: skip


def dead_page(core: Core, where: ListDead) -> TaskPage:
    """A page of dead letters."""
    return _page(core, dead_tasks(core, where), where.after, where.limit)


def stuck_tasks(core: Core) -> list[StuckTask]:
    """Running tasks that show a signal of being stuck, longest running first."""
    now, unix = core.clock.monotonic(), core.clock.time()
    rows: list[StuckTask] = []
    for task in core.ledger.running.values():
        running = unix - task.status.since
        view = Running(now - running, task.spec.limit_s, task.beat_at, task.moved_at)
        if found := signals(view, now, core.policy.patience):
            rows.append(StuckTask(
                id=task.spec.id, agent=task.spec.agent, attempt=task.status.attempt, running_s=round(running, 3),
                silent_s=round(now - task.beat_at, 3), limit_s=task.spec.limit_s,
                signals=[signal for signal, _ in found], reason="; ".join(reason for _, reason in found),
            ))  # fmt: skip
    return sorted(rows, key=lambda row: -row.running_s)


def queue_view(core: Core) -> QueueView:
    """The whole queue."""
    ledger, now = core.ledger, core.clock.monotonic()
    lanes = [_lane(core, lane) for lane in core.lanes]
    return QueueView(
        depth=len(ledger.queue), scheduled=len(ledger.scheduled), in_flight=len(ledger.running),
        finished=len(ledger.finished), dead=len(core.letters), oldest_age_s=oldest_age_s(core),
        in_per_s=sum(lane.arrived.per_s(now) for lane in core.lanes),
        out_per_s=sum(lane.ended.per_s(now) for lane in core.lanes), by_priority=depths(core),
        agents=sorted(lanes, key=lambda lane: lane.agent), paused=ledger.control.paused,
        draining=ledger.control.draining, capacity=core.policy.room.tasks, log_messages=core.journal.messages,
    )  # fmt: skip


def depths(core: Core) -> dict[str, int]:
    """Queued tasks per priority."""
    return dict(zip(LEVELS, core.ledger.queue.levels, strict=True))


def oldest_age_s(core: Core, agent: str = "") -> float:
    """How long the oldest queued task waits."""
    oldest = core.ledger.queue.oldest(agent)
    return 0.0 if oldest is None else round(max(0.0, core.clock.time() - oldest), 3)


def _lane(core: Core, lane: Lane) -> LaneView:
    now, depth = core.clock.monotonic(), core.ledger.queue.depth(lane.agent)
    p50, p95 = lane.quantile(0.5), lane.quantile(0.95)
    return LaneView(
        agent=lane.agent, depth=depth, in_flight=lane.in_flight,
        scheduled=sum(task.spec.agent == lane.agent for task in core.ledger.scheduled.values()),
        oldest_age_s=oldest_age_s(core, lane.agent), limit=lane.aimd.limit, concurrency=lane.aimd.most,
        rate_per_s=lane.bucket.rate or None, in_per_s=lane.arrived.per_s(now), out_per_s=lane.ended.per_s(now),
        run_p50_ms=None if p50 is None else p50 * 1e3, run_p95_ms=None if p95 is None else p95 * 1e3,
        desired_workers=lane.desired(now, depth), paused=lane.paused,
    )  # fmt: skip


def _page(core: Core, found: Iterable[Task], after: str, limit: int) -> TaskPage:
    ordered = sorted(found, key=lambda task: (-task.spec.submitted_at, task.spec.id))
    start = 0
    if after:
        start = next((at + 1 for at, task in enumerate(ordered) if task.spec.id == after), len(ordered))
    rows, now = ordered[start : start + limit], core.clock.time()
    more = start + limit < len(ordered)
    return TaskPage(
        tasks=[task_view(task, now, whole=False) for task in rows], total=len(ordered),
        next=rows[-1].spec.id if more and rows else "",
    )  # fmt: skip


def _attempt(one: Try) -> Attempt:
    return Attempt(
        number=one.number, started_at=one.started_at, ended_at=one.ended_at or None, outcome=one.outcome,
        detail=one.detail,
    )  # fmt: skip


def _any(value: str) -> Any:
    return value
