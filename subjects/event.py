"""Facts that the system states: stream EVENTS (``chimera.event.>``) and stream KPI (``chimera.kpi.<agent>``)."""

from __future__ import annotations

from typing import Literal

from ._message import Event
from ._operation import EventType
from ._types import Document

Outcome = Literal["ok", "agent-error", "agent-trap", "agent-limit", "agent-contract", "shed", "crashed"]


class TaskProcessed(Event, frozen=True, kw_only=True):
    """One task ended: what came out, where its time went, which release ran it. The KPI stream's record.

    Attributes:
        at: Unix time of the end, in seconds.
        queue_ms: Waiting for a worker.
        run_ms: Wall time inside the guest.
        cpu_ms: CPU time of the worker's thread.
        memory_bytes: Linear memory of the instance afterwards.
        input: The task's input, kept for replay unless the operator switched recording off.
        output: The answer, or ``None`` after an error.
        key: What the sticky assignment hashed.
        variant: Whether the live or the candidate release served it.
    """

    job_id: str
    agent: str
    release: int
    task: str
    outcome: Outcome
    at: float
    queue_ms: float
    run_ms: float
    cpu_ms: float
    memory_bytes: int
    node: str
    variant: Literal["live", "candidate"] = "live"
    key: str = ""
    detail: str = ""
    input: Document | None = None
    output: Document | None = None


class TaskJudged(Event, frozen=True, kw_only=True):
    """Feedback came for a task. ``correct`` is ``None`` when no label could be compared."""

    job_id: str
    agent: str
    release: int
    at: float
    label: str | None = None
    score: float | None = None
    predicted_label: str | None = None
    predicted_score: float | None = None
    correct: bool | None = None


class ReleaseChanged(Event, frozen=True, kw_only=True):
    """Which release is live, on trial and kept warm after an act on an agent."""

    agent: str
    act: Literal["registered", "deployed", "candidate", "rolled-back", "retired"]
    live: int
    candidate: int | None
    share: float
    previous: int | None
    at: float
    by: str
    note: str = ""


class TaskSubmitted(Event, frozen=True, kw_only=True):
    """A task was stored durably."""

    id: str
    agent: str
    priority: str
    at: float


class TaskStarted(Event, frozen=True, kw_only=True):
    """An attempt at a task began."""

    id: str
    agent: str
    attempt: int
    at: float


class TaskProgressed(Event, frozen=True, kw_only=True):
    """A worker told how far it has come: ``progress`` from 0 to 1, ``note`` in words."""

    id: str
    agent: str
    attempt: int
    at: float
    progress: float | None = None
    note: str = ""


class TaskRetrying(Event, frozen=True, kw_only=True):
    """An attempt failed or was lost, for ``reason``; the next may begin at ``due_at``."""

    id: str
    agent: str
    attempt: int
    at: float
    due_at: float
    reason: str


class TaskEnded(Event, frozen=True, kw_only=True):
    """A task is final. Also what a task's callback subject gets.

    Attributes:
        state: ``succeeded``, ``dead``, ``cancelled`` or ``expired``.
        attempt: The attempt whose result counts; 0 if none ran.
        reason: Why, if it did not succeed.
        output: The result; only a callback gets it.
    """

    id: str
    agent: str
    state: Literal["succeeded", "dead", "cancelled", "expired"]
    attempt: int
    at: float
    reason: str = ""
    output: Document | None = None


EVENTS: tuple[EventType, ...] = (
    EventType(TaskProcessed, "chimera.kpi.*", "one record per task"),
    EventType(TaskJudged, "chimera.event.agent.judged", "feedback for a task"),
    EventType(ReleaseChanged, "chimera.event.agent.released", "an agent's releases changed"),
    EventType(TaskSubmitted, "chimera.live.scheduler.submitted", "a task was stored"),
    EventType(TaskStarted, "chimera.live.scheduler.started", "an attempt at a task began"),
    EventType(TaskProgressed, "chimera.live.scheduler.progressed", "a worker told its progress"),
    EventType(TaskRetrying, "chimera.live.scheduler.retrying", "an attempt failed; there will be another"),
    EventType(TaskEnded, "chimera.live.scheduler.ended", "a task is final"),
)
