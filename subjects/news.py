"""News of tasks: what a watcher of the scheduler is streamed. Times are Unix seconds."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ._message import Reply, Request
from ._types import Count
from .task import MaybeTaskId, MaybeToken, TaskState


class TaskNews(Reply, frozen=True, kw_only=True):
    """One thing that happened to a task, or to this stream of news.

    Attributes:
        kind: ``state`` says how the one watched task stands, ``listening`` that nothing was missed so far, ``gap`` that
            something was (read the present state with ``GET /api/tasks``). ``heartbeat`` means that all is well, and
            ``behind`` that the reader was too slow and is cut off: come again with ``after``. The rest are facts.
        seq: Place in the news; what ``after``, or the header Last-Event-ID, takes to go on from here.
        id: The task; empty where the news is of none.
        reason: Why an attempt is tried again, or why the task did not succeed.
    """

    kind: Literal[
        "state", "listening", "gap", "submitted", "started", "progressed", "retrying", "ended", "heartbeat", "behind"
    ]
    seq: str
    at: float
    id: str = ""
    agent: str = ""
    state: TaskState | Literal[""] = ""
    attempt: Count = 0
    progress: float | None = None
    note: str = ""
    reason: str = ""


class WatchTasks(Request[TaskNews], frozen=True, kw_only=True):
    """What happens to one task, until it has ended, or to all of an agent, or to all: as it happens.

    At most once, and for ten minutes at a time; a reader that comes again says with ``after`` where it was, and gets
    what came since if that is still remembered (the last 1,000 facts), else ``gap``.
    """

    id: MaybeTaskId = ""
    agent: MaybeToken = ""
    after: Annotated[str, Meta(max_length=64)] = ""
