"""A durable task: what is to be done, its states, and how it is shown. Times are Unix seconds."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ._message import Reply
from ._types import Count, Document, Share, Token

TaskId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,56}$(?!\n)", description="an id: 1 to 56 of A-Z a-z 0-9 _ -")]
"""Shorter than a token: the attempt's number is appended to make the job's id."""

MaybeTaskId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,56}$(?!\n)", description="a task's id, or nothing")]
MaybeToken = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,64}$(?!\n)", description="a name, or nothing")]
Priority = Literal["critical", "high", "normal", "low", "background"]
TaskState = Literal["queued", "scheduled", "running", "succeeded", "dead", "cancelled", "expired", "unknown"]
"""``scheduled`` waits for its time or its next attempt; from ``succeeded`` on they are final.

``unknown`` occurs in the history only: it ended while nobody kept the history, or the stream that knew it went back.
"""

Signal = Literal["no-heartbeat", "no-progress", "over-limit"]
UnixTime = Annotated[float, Meta(ge=0, le=1e11, description="a Unix time in seconds")]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000, description="a duration in seconds")]
Limit = Annotated[float, Meta(gt=0, le=600, description="a time limit in seconds")]
Word = Annotated[str, Meta(max_length=256)]
Subject = Annotated[str, Meta(max_length=256, pattern=r"^$|^[!-~]+$(?!\n)", description="a NATS subject")]
Labels = Annotated[dict[Annotated[str, Meta(min_length=1, max_length=64)], Word], Meta(max_length=32)]


class Retries(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a task is tried, and how long it waits in between: ``first_s`` times ``factor`` each time, jittered."""

    attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    first_s: Seconds = 1.0
    factor: Annotated[float, Meta(ge=1, le=10)] = 2.0
    most_s: Seconds = 300.0
    jitter: Share = 0.2


class NewTask(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task to be done.

    Attributes:
        id: Makes the submit repeatable: the same id with the same work is the same task. Made if empty.
        agent: Who does it.
        task: Which of the agent's tasks.
        input: What it works on.
        priority: Rank within its agent; waiting raises it, so none starves.
        deadline: Worth nothing after this Unix time; refused at once if it can't be met. 0 = none.
        not_before: Do not start before this Unix time. 0 = at once.
        limit_s: Longest one attempt may take.
        retries: Attempts and backoff.
        key: At most one unfinished task has this key; a second submit gives the first one back.
        labels: For filters.
        callback: A subject that gets the task's end: ``_INBOX.…`` or ``chimera.callback.…``.
        keep_s: How long the result is kept.
    """

    id: MaybeTaskId = ""
    agent: Token = "sentiment"
    task: Token = "predict"
    input: Document = {}
    priority: Priority = "normal"
    deadline: UnixTime = 0.0
    not_before: UnixTime = 0.0
    limit_s: Limit = 30.0
    retries: Retries = Retries()
    key: Word = ""
    labels: Labels = {}
    callback: Subject = ""
    keep_s: Seconds = 3600.0


class Attempt(Reply, frozen=True, kw_only=True):
    """One try: when, how it ended, and why. ``outcome`` is an error's code, ``ok``, ``running`` or a stuck signal."""

    number: int
    started_at: float
    ended_at: float | None = None
    outcome: str = "running"
    detail: str = ""


class TaskChange(Reply, frozen=True, kw_only=True):
    """A task came into a state, at a Unix time; ``reason`` says why where there is something to say."""

    at: float
    state: TaskState
    attempt: Count = 0
    reason: str = ""


class TaskView(Reply, frozen=True, kw_only=True):
    """A task as it stands. ``due_at`` is when a scheduled one may start; ``progress`` is what its worker told last.

    ``changes`` are there if they were asked for. ``missing`` says what could not be told now, and why.
    """

    id: str
    agent: str
    task: str
    state: TaskState
    priority: Priority
    submitted_at: float
    age_s: float
    due_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    deadline: float | None = None
    attempt: Count = 0
    max_attempts: Count = 1
    attempts: list[Attempt] = []
    progress: float | None = None
    note: str = ""
    reason: str = ""
    key: str = ""
    labels: dict[str, str] = {}
    schedule: str = ""
    input: Document | None = None
    output: Document | None = None
    release: int | None = None
    changes: list[TaskChange] = []
    missing: str = ""


class TaskPage(Reply, frozen=True, kw_only=True):
    """Tasks, newest first, without inputs and outputs. ``next`` goes into ``after`` for the next page; empty = end.

    A page can hold fewer than ``limit`` and yet have a next one. ``total`` is as the history stood a moment ago.
    ``missing`` says why the history is not in here; what is, is true all the same.
    """

    tasks: list[TaskView]
    total: Count
    next: str = ""
    missing: str = ""


class StuckTask(Reply, frozen=True, kw_only=True):
    """A running task that does not seem to get on: every signal that holds, and the reason in words."""

    id: str
    agent: str
    attempt: int
    running_s: float
    silent_s: float
    limit_s: float
    signals: list[Signal]
    reason: str
