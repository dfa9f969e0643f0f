"""From records of the KPI stream to points: which series a task feeds, each record exactly once."""

from __future__ import annotations

import math

from subjects.event import TaskJudged, TaskProcessed

from .once import Once
from .store import SeriesStore

FIGURES = ("queue_ms", "run_ms", "cpu_ms", "memory_bytes")
"""Measured figures of a task; each is a series ``<agent>/<figure>``."""

ERROR, CORRECT, LOAD = "error", "correct", "load"
"""``<agent>/error`` and ``<agent>/correct`` are 0 or 1 per task, so their means are rates.
``<agent>/load`` is tasks per minute: the count of ``error``, not stored twice."""


def series_of(agent: str, figure: str) -> str:
    """The name of an agent's series; an agent's name has no slash."""
    return f"{agent}/{figure}"


def agent_of(series: str) -> str:
    """Whose series it is."""
    return series.partition("/")[0]


class Intake:
    """Takes records with their stream sequence into a store: repeats and malformed ones are counted, not taken.

    Args:
        store: Where points go.
        window: How many sequence numbers a record may come late (see ``Once``).
        start: The last sequence that was taken before, per stream.
    """

    def __init__(self, store: SeriesStore, *, window: int = 65_536, start: dict[str, int] | None = None) -> None:
        self.store = store
        self.repeated = 0
        self.forgotten = 0
        self._window = window
        self._start = start or {}
        self._once: dict[str, Once] = {}

    def task(self, stream: str, sequence: int, record: TaskProcessed, *, now: float) -> bool:
        """Take a task's figures; False if it was a repeat or refused."""
        points = {figure: float(getattr(record, figure)) for figure in FIGURES}
        points = {name: value if value >= 0 else math.nan for name, value in points.items()}
        return self._take((stream, sequence), record, points | {ERROR: float(record.outcome != "ok")}, now)

    def judgement(self, stream: str, sequence: int, record: TaskJudged, *, now: float) -> bool:
        """Take whether a task's answer was right; False if it was a repeat, refused, or had nothing to compare."""
        if record.correct is None:
            return False
        return self._take((stream, sequence), record, {CORRECT: float(record.correct)}, now)

    def reject(self) -> None:
        """Count a record that could not even be decoded."""
        self.store.refuse("malformed")

    def _take(
        self, place: tuple[str, int], record: TaskProcessed | TaskJudged, points: dict[str, float], now: float
    ) -> bool:
        """All points of a record or, if one of them is refused, none."""
        if not self._fresh(*place):
            return False
        for value in points.values():
            if reason := self.store.why_not(record.at, value, now):
                self.store.refuse(reason)
                return False
        taken = [
            self.store.add(series_of(record.agent, figure), record.at, value, now=now)
            for figure, value in points.items()
        ]
        return all(taken)

    def _fresh(self, stream: str, sequence: int) -> bool:
        once = self._once.get(stream)
        if once is None:
            once = self._once[stream] = Once(self._window, start=self._start.get(stream, 0))
        verdict = once.take(sequence)
        self.repeated += verdict == "repeated"
        self.forgotten += verdict == "forgotten"
        return verdict == "fresh"
