"""From records of the KPI stream to points: which series a task feeds, each record exactly once."""

from __future__ import annotations

import math
from math import isfinite

import numpy as np

from subjects.event import TaskJudged, TaskProcessed

from .once import Once
from .store import SeriesStore

FIGURES = ("queue_ms", "run_ms", "cpu_ms", "memory_bytes")
"""Measured figures of a task; each is a series ``<agent>/<figure>``."""

ERROR, CORRECT, LOAD = "error", "correct", "load"
"""``<agent>/error`` and ``<agent>/correct`` are 0 or 1 per task, so their means are rates.
``<agent>/load`` is tasks per minute: the count of ``error``, not stored twice."""

Points = tuple[tuple[str, ...], tuple[float, ...]]
"""Names of figures, and their values."""

_OF_TASK, _OF_JUDGEMENT, _UNSOUND = (*FIGURES, ERROR), (CORRECT,), (math.nan,)
_BATCH = 1000


def series_of(agent: str, figure: str) -> str:
    """The name of an agent's series; an agent's name has no slash."""
    return f"{agent}/{figure}"


def agent_of(series: str) -> str:
    """Whose series it is."""
    return series.partition("/")[0]


class Intake:
    """Takes records with their stream sequence into a store: repeats and malformed ones are counted, not taken.

    Points go into the store 1000 at a time, which is several times as fast as one by one; ``flush`` before reading it.

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
        self._known: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        self._numbers: list[int] = []
        self._at: list[float] = []
        self._values: list[float] = []

    def task(self, stream: str, sequence: int, record: TaskProcessed, *, now: float) -> bool:
        """Take a task's figures; False if it was a repeat or refused."""
        failed = float(record.outcome != "ok")
        values = (record.queue_ms, record.run_ms, record.cpu_ms, float(record.memory_bytes), failed)
        sound = min(values) >= 0
        return self._take((stream, sequence), record, (_OF_TASK, values if sound else _UNSOUND), now)

    def judgement(self, stream: str, sequence: int, record: TaskJudged, *, now: float) -> bool:
        """Take whether a task's answer was right; False if it was a repeat, refused, or had nothing to compare."""
        if record.correct is None:
            return False
        return self._take((stream, sequence), record, (_OF_JUDGEMENT, (float(record.correct),)), now)

    def reject(self) -> None:
        """Count a record that could not even be decoded."""
        self.store.refuse("malformed")

    def flush(self) -> None:
        """Bring what was taken into the store. Until then it is counted, but not in the series."""
        if self._numbers:
            columns = np.array(self._numbers, np.int64), np.array(self._at), np.array(self._values)
            self._numbers, self._at, self._values = [], [], []
            self.store.put_many(*columns)

    def _take(self, place: tuple[str, int], record: TaskProcessed | TaskJudged, points: Points, now: float) -> bool:
        """All points of a record or, if one of them is refused, none."""
        if not self._fresh(*place):
            return False
        figures, values = points
        reason = self.store.why_not(record.at, max(values, key=abs), now) if all(map(isfinite, values)) else "malformed"
        numbers = self._series(record.agent, figures) if reason is None else None
        if numbers is None:
            self.store.refuse(reason or "too-many-series")
            return False
        self.store.reach(record.at)
        self._numbers += numbers
        self._values += values
        self._at += [record.at] * len(values)
        if len(self._at) >= _BATCH:
            self.flush()
        return True

    def _series(self, agent: str, figures: tuple[str, ...]) -> list[int] | None:
        """The numbers of an agent's series, ``None`` if there is no room for one of them."""
        known = self._known.get((agent, figures))
        if known is None:
            found = [self.store.register(series_of(agent, figure)) for figure in figures]
            known = [number for number in found if number is not None]
            if len(known) < len(figures):
                return None
            self._known[agent, figures] = known
        return known

    def _fresh(self, stream: str, sequence: int) -> bool:
        once = self._once.get(stream)
        if once is None:
            once = self._once[stream] = Once(self._window, start=self._start.get(stream, 0))
        verdict = once.take(sequence)
        self.repeated += verdict == "repeated"
        self.forgotten += verdict == "forgotten"
        return verdict == "fresh"
