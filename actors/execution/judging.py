"""Feedback: the right answer of a task, compared with the one given, kept as a fact, and turned into accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chimera.bus.contract import Bus
from chimera.errors import BadMessageError, ChimeraError, NoAgentError, NoJobError
from chimera.store.contract import Store
from chimera.wire import encode
from subjects.agent import Feedback, FeedbackTaken, Manifest
from subjects.event import TaskJudged

from .releases import ReleaseBook
from .runtime import Fleet
from .tasks import Judged, TaskRunner

JUDGED = "chimera.event.agent.judged"


class Judge:
    """Takes feedback. A later one for the same job replaces the former.

    Args:
        tasks: Knows recent answers.
        book: Knows which output field is the label.
        fleet: Holds each agent's accuracy.
        store: Knows older answers.
        bus: Stores the fact; feedback is acknowledged after that.
        time: Unix seconds.
        new_id: Makes message ids.
    """

    def __init__(
        self,
        *,
        tasks: TaskRunner,
        book: ReleaseBook,
        fleet: Fleet,
        store: Store,
        bus: Bus,
        time: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._tasks = tasks
        self._book = book
        self._fleet = fleet
        self._store = store
        self._bus = bus
        self._time = time
        self._new_id = new_id

    async def take(self, message: Feedback) -> FeedbackTaken:
        """Judge a task.

        Raises:
            BadMessageError: If there is neither label nor score.
            NoJobError: If the task is not known here.
        """
        if message.label is None and message.score is None:
            raise BadMessageError("give a label, a score, or both")
        job = self._tasks.judged(message.job_id) or await self._older(message.job_id)
        judged = judge(message, job, await self._manifest(job), self._time())
        await self._bus.append(JUDGED, encode(judged), msg_id=self._new_id())
        return self._count(judged)

    async def _older(self, job_id: str) -> Judged:
        try:
            found = await self._store.outcome(job_id)
        except ChimeraError:
            found = None
        if found is None or found.output is None:
            raise NoJobError(f"no answered task '{job_id}' is known here")
        return Judged(found.agent, found.release, found.output)

    async def _manifest(self, job: Judged) -> Manifest:
        record = self._book.cached(job.agent) or await self._book.read(job.agent)
        return (await self._book.fetch(record, job.release)).manifest

    def _count(self, judged: TaskJudged) -> FeedbackTaken:
        try:
            accuracy = self._fleet.find(judged.agent).accuracy
        except NoAgentError:
            accuracy = None
        if accuracy is not None and judged.correct is not None:
            accuracy.add(judged.job_id, correct=judged.correct)
        return FeedbackTaken(
            job_id=judged.job_id, agent=judged.agent, release=judged.release, correct=judged.correct,
            accuracy=accuracy.share if accuracy else None, judged=accuracy.judged if accuracy else 0,
        )  # fmt: skip


def judge(message: Feedback, job: Judged, manifest: Manifest, at: float) -> TaskJudged:
    """The verdict: ``correct`` if the label given equals the agent's, ``None`` if there was none to compare."""
    label, score = text_of(job.output, manifest.label), number_of(job.output, manifest.score)
    correct = None if message.label is None or label is None else message.label == label
    return TaskJudged(
        job_id=message.job_id, agent=job.agent, release=job.release, at=at, label=message.label, score=message.score,
        predicted_label=label, predicted_score=score, correct=correct,
    )  # fmt: skip


def text_of(output: Mapping[str, Any], field: str) -> str | None:
    """The output's text in ``field``; ``None`` if there is none."""
    value = output.get(field) if field else None
    return value if isinstance(value, str) else None


def number_of(output: Mapping[str, Any], field: str) -> float | None:
    """The output's number in ``field``; ``None`` if there is none."""
    value = output.get(field) if field else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
