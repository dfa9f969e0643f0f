"""Port 8001, ``chimera.scheduler.*``: durable tasks, their queue, dead letters and schedules.

``submit`` is answered when the tasks are stored durably. Times are Unix seconds unless the name says otherwise.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Reply, Request
from ._operation import Http, Operation, Port
from ._types import Count, Document, Page, Share, Token
from .dead import GetLetter, ListDead, Revive, Revived
from .news import TaskNews, WatchTasks
from .task import (
    Labels,
    Limit,
    MaybeTaskId,
    MaybeToken,
    NewTask,
    Priority,
    Retries,
    Seconds,
    StuckTask,
    Subject,
    TaskId,
    TaskPage,
    TaskState,
    TaskView,
    UnixTime,
    Word,
)


class Receipt(Reply, frozen=True, kw_only=True):
    """What became of one submitted task: ``duplicate`` if it was there already; refused if ``code`` is not empty."""

    id: str
    state: TaskState | Literal["refused"]
    duplicate: bool = False
    code: str = ""
    detail: str = ""
    retry_after_s: float | None = None


class Submitted(Reply, frozen=True, kw_only=True):
    """All accepted tasks are stored durably. One receipt per task, in order."""

    accepted: Count
    duplicates: Count
    refused: Count
    receipts: list[Receipt]


class Submit(Request[Submitted], frozen=True, kw_only=True):
    """Store tasks durably: many in ``tasks``, or one given by the other fields, which are those of ``NewTask``.

    A single task that is refused is answered with the error; of many, each has its own receipt.
    """

    tasks: Annotated[list[NewTask], Meta(max_length=1000)] = []
    id: MaybeTaskId = ""
    agent: Token = "sentiment"
    task: Token = "predict"
    input: Document | None = None
    priority: Priority = "normal"
    deadline: UnixTime = 0.0
    not_before: UnixTime = 0.0
    limit_s: Limit = 30.0
    retries: Retries = Retries()
    key: Word = ""
    labels: Labels = {}
    callback: Subject = ""
    keep_s: Seconds = 3600.0


class GetTask(Request[TaskView], frozen=True, kw_only=True):
    """One task with its attempts, progress and result; ``wait_ms`` waits that long for its end.

    With ``changes`` every change of its state is told too, from the history.
    """

    id: TaskId
    wait_ms: Annotated[int, Meta(ge=0, le=60_000)] = 0
    changes: bool = False


class ListTasks(Request[TaskPage], frozen=True, kw_only=True):
    """Tasks by filter; empty fields do not filter. ``label`` is ``name=value``."""

    state: TaskState | Literal[""] = ""
    agent: MaybeToken = ""
    priority: Priority | Literal[""] = ""
    label: Word = ""
    since: UnixTime = 0.0
    until: UnixTime = 0.0
    limit: Page = 100
    after: MaybeTaskId = ""


class CancelTask(Request[TaskView], frozen=True, kw_only=True):
    """Cancel a waiting or running task; a final one stays as it is."""

    id: TaskId


class LaneView(Reply, frozen=True, kw_only=True):
    """One agent's queue.

    Attributes:
        limit: Attempts at once, as adapted to the processing time; never above ``concurrency``.
        desired_workers: By Little's law: arrival rate times mean run, plus what works the backlog off.
    """

    agent: str
    depth: Count
    scheduled: Count
    in_flight: Count
    oldest_age_s: float
    limit: int
    concurrency: int
    rate_per_s: float | None
    in_per_s: float
    out_per_s: float
    run_p50_ms: float | None
    run_p95_ms: float | None
    desired_workers: int
    paused: bool


class QueueView(Reply, frozen=True, kw_only=True):
    """The whole queue: depths and true ages per priority and per agent. Rates cover the last minute."""

    depth: Count
    scheduled: Count
    in_flight: Count
    finished: Count
    dead: Count
    oldest_age_s: float
    in_per_s: float
    out_per_s: float
    by_priority: dict[str, int]
    agents: list[LaneView]
    paused: bool
    draining: bool
    capacity: int
    log_messages: Count


class GetQueue(Request[QueueView], frozen=True, kw_only=True):
    """Depth, in flight, rates, oldest age, per priority and agent."""


class StuckPage(Reply, frozen=True, kw_only=True):
    """What is stuck, longest first."""

    tasks: list[StuckTask]


class ListStuck(Request[StuckPage], frozen=True, kw_only=True):
    """Tasks without a heartbeat, without progress, or over their limit."""


class Standing(Reply, frozen=True, kw_only=True):
    """What is held back: everything, some agents, or new tasks (``draining``)."""

    paused: bool
    agents: list[str]
    draining: bool
    in_flight: Count


class Pause(Request[Standing], frozen=True, kw_only=True):
    """Start nothing new, of one agent or of all. Tasks are still taken and kept."""

    agent: MaybeToken = ""


class Resume(Request[Standing], frozen=True, kw_only=True):
    """End a pause; without ``agent`` end all pauses and the drain."""

    agent: MaybeToken = ""


class Drain(Request[Standing], frozen=True, kw_only=True):
    """Take no new tasks and start nothing new; what runs may end. ``resume`` ends it."""


class AgentLimits(Reply, frozen=True, kw_only=True):
    """How much of one agent may run."""

    agent: str
    concurrency: int
    rate_per_s: float | None


class LimitAgent(Request[AgentLimits], frozen=True, kw_only=True):
    """Set how many attempts of an agent may run at once and how many may start per second (0 = as many as can)."""

    agent: Token
    concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 64
    rate_per_s: Annotated[float, Meta(ge=0, le=1e6)] = 0.0


class ScheduleView(Reply, frozen=True, kw_only=True):
    """A schedule, when it fires next (``None`` = never again), and what it did. ``missed`` runs were not made up."""

    id: str
    rule: str
    zone: str
    task: NewTask
    next_at: float | None
    last_at: float | None = None
    last_task: str = ""
    fired: Count = 0
    missed: Count = 0


class Schedule(Request[ScheduleView], frozen=True, kw_only=True):
    """Submit a task at a time, every so often, or by cron; the same id replaces.

    Give exactly one of ``at``, ``every_s`` and ``cron``. Missed runs (nobody was there) are made up by at most one run;
    with ``skip_missed`` by none.

    Attributes:
        cron: Five fields: minute, hour, day of month, month, day of week.
        zone: IANA time zone of ``cron``. A time the clock skips fires when it would have been; a repeated one, once.
    """

    id: TaskId
    task: NewTask
    at: UnixTime = 0.0
    every_s: Annotated[float, Meta(ge=0, le=31_536_000)] = 0.0
    cron: Word = ""
    zone: Word = "UTC"
    skip_missed: bool = False


class SchedulePage(Reply, frozen=True, kw_only=True):
    """All schedules, the next to fire first."""

    schedules: list[ScheduleView]


class ListSchedules(Request[SchedulePage], frozen=True, kw_only=True):
    """All schedules."""


class Unschedule(Request[ScheduleView], frozen=True, kw_only=True):
    """Remove a schedule; tasks it made already stay."""

    id: TaskId


class Noted(Reply, frozen=True, kw_only=True):
    """Whether the report counted; ``stop`` tells the worker that its attempt is not wanted any more."""

    stop: bool


class ReportProgress(Request[Noted], frozen=True, kw_only=True):
    """A heartbeat of attempt ``attempt``, with its progress (0 to 1) if it has any."""

    id: TaskId
    attempt: Annotated[int, Meta(ge=1, le=1_000_000)]
    progress: Share | None = None
    note: Word = ""


class SchedulerHealth(Reply, frozen=True, kw_only=True):
    """How the scheduler does; ``leader`` is the node that decides, ``epoch`` counts changes of leader."""

    status: Literal["pass", "warn", "fail"]
    node: str
    leader: str
    epoch: int
    depth: dict[str, int]
    oldest_age_s: float
    in_flight: Count
    consumers: Count
    paused: bool
    draining: bool
    checks: dict[str, str]


class CheckScheduler(Request[SchedulerHealth], frozen=True, kw_only=True):
    """Depth per priority, oldest age, consumers, paused."""


_P = Port.SCHEDULER
_NO_TASK = ("not-found", "unavailable")
_WORK = {"agent": "sentiment", "input": {"text": "I love this, it works great!"}}

SUBMIT = Operation(
    "scheduler", "submit", Submit, Submitted, _P, "Store tasks durably; they are done as soon as possible",
    http=(Http("POST", "/api/tasks", status=202),), open=True, timeout_s=10.0,
    errors=("conflict", "overloaded", "deadline", "unavailable", "too-large"), example=_WORK,
)  # fmt: skip
TASK = Operation(
    "scheduler", "task", GetTask, TaskView, _P, "One task: state, attempts, progress, result",
    http=(Http("GET", "/api/tasks/{id}"),), safe=True, timeout_s=65.0, errors=_NO_TASK, example={"id": "example"},
)  # fmt: skip
TASKS = Operation(
    "scheduler", "tasks", ListTasks, TaskPage, _P, "Tasks by filter, newest first",
    http=(Http("GET", "/api/tasks"),), safe=True, example={"state": "queued"},
)  # fmt: skip
CANCEL = Operation(
    "scheduler", "cancel", CancelTask, TaskView, _P, "Cancel a task, waiting or running",
    http=(Http("DELETE", "/api/tasks/{id}"),), open=True, errors=_NO_TASK, example={"id": "example"},
)  # fmt: skip
PROGRESS = Operation(
    "scheduler", "progress", ReportProgress, Noted, _P, "A worker's heartbeat and progress",
    http=(Http("POST", "/api/tasks/{id}/progress"),), open=True, errors=_NO_TASK,
    example={"id": "example", "attempt": 1, "progress": 0.5},
)  # fmt: skip
WATCH = Operation(
    "scheduler", "watch", WatchTasks, TaskNews, _P, "What happens to tasks, as it happens",
    http=(Http("GET", "/api/tasks/{id}/events"), Http("GET", "/api/events")), safe=True, streams=True, timeout_s=600.0,
    errors=("not-found", "overloaded", "unavailable"), example={"id": "example"},
)  # fmt: skip
QUEUE = Operation(
    "scheduler", "queue", GetQueue, QueueView, _P, "The queue: depths, rates and ages",
    http=(Http("GET", "/api/queue"),), safe=True,
)  # fmt: skip
STUCK = Operation(
    "scheduler", "stuck", ListStuck, StuckPage, _P, "Running tasks that do not get on, and why",
    http=(Http("GET", "/api/queue/stuck"),), safe=True,
)  # fmt: skip
DEAD = Operation(
    "scheduler", "dead", ListDead, TaskPage, _P, "Dead letters with their reasons",
    http=(Http("GET", "/api/dead"),), safe=True,
)  # fmt: skip
LETTER = Operation(
    "scheduler", "letter", GetLetter, TaskView, _P, "One dead letter: its input, its attempts, its reason",
    http=(Http("GET", "/api/dead/{id}"),), safe=True, errors=_NO_TASK, example={"id": "example"},
)  # fmt: skip
REVIVE = Operation(
    "scheduler", "revive", Revive, Revived, _P, "Queue dead tasks again, one or by filter",
    http=(Http("POST", "/api/dead/{id}/retry"), Http("POST", "/api/dead/retry")), errors=("not-found", "conflict"),
    example={"id": "example"},
)  # fmt: skip
PAUSE = Operation(
    "scheduler", "pause", Pause, Standing, _P, "Start nothing new, of one agent or of all",
    http=(Http("POST", "/api/queue/pause"),),
)  # fmt: skip
RESUME = Operation(
    "scheduler", "resume", Resume, Standing, _P, "End a pause or a drain",
    http=(Http("POST", "/api/queue/resume"),),
)  # fmt: skip
DRAIN = Operation(
    "scheduler", "drain", Drain, Standing, _P, "Take and start nothing new; what runs may end",
    http=(Http("POST", "/api/queue/drain"),),
)  # fmt: skip
LIMIT = Operation(
    "scheduler", "limit", LimitAgent, AgentLimits, _P, "Concurrency and rate of one agent",
    http=(Http("POST", "/api/config/limits"),), example={"agent": "sentiment", "concurrency": 16, "rate_per_s": 100},
)  # fmt: skip
SCHEDULE = Operation(
    "scheduler", "schedule", Schedule, ScheduleView, _P, "Submit a task at, every, or by cron",
    http=(Http("POST", "/api/schedules", status=201),), errors=("conflict",),
    example={"id": "nightly", "cron": "30 2 * * *", "zone": "Europe/Berlin", "task": _WORK},
)  # fmt: skip
SCHEDULES = Operation(
    "scheduler", "schedules", ListSchedules, SchedulePage, _P, "All schedules, the next to fire first",
    http=(Http("GET", "/api/schedules"),), safe=True,
)  # fmt: skip
UNSCHEDULE = Operation(
    "scheduler", "unschedule", Unschedule, ScheduleView, _P, "Remove a schedule",
    http=(Http("DELETE", "/api/schedules/{id}"),), errors=("not-found",), example={"id": "nightly"},
)  # fmt: skip
HEALTH = Operation(
    "scheduler", "health", CheckScheduler, SchedulerHealth, _P, "Depth per priority, oldest age, paused", safe=True,
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    SUBMIT, TASK, TASKS, CANCEL, PROGRESS, WATCH, QUEUE, STUCK, DEAD, REVIVE, LETTER, PAUSE, RESUME, DRAIN, LIMIT,
    SCHEDULE, SCHEDULES, UNSCHEDULE, HEALTH,
)  # fmt: skip
