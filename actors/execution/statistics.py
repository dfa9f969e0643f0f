"""Rolling figures of one agent: latency percentiles, error rate, accuracy. Cheap to feed, computed when asked."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """What the last ``window`` tasks were like; ``None`` where nothing was measured."""

    window: int
    p50_s: float | None
    p95_s: float | None
    error_rate: float | None
    tasks_total: int
    errors_total: int


class TaskWindow:
    """The last ``size`` tasks of an agent."""

    __slots__ = ("_bad", "_durations", "_next", "_size", "errors_total", "tasks_total")

    def __init__(self, size: int = 1000) -> None:
        self._size = size
        self._durations = array("d")
        self._bad = bytearray()
        self._next = 0
        self.tasks_total = 0
        self.errors_total = 0

    def add(self, seconds: float, *, ok: bool) -> None:
        """Count one task: how long it took in all, and whether it succeeded."""
        self.tasks_total += 1
        self.errors_total += not ok
        if len(self._bad) < self._size:
            self._durations.append(seconds)
            self._bad.append(not ok)
            return
        self._durations[self._next] = seconds
        self._bad[self._next] = not ok
        self._next = (self._next + 1) % self._size

    def figures(self) -> Figures:
        """Percentiles by nearest rank, and the share of tasks that did not succeed."""
        ordered = sorted(self._durations)
        count = len(ordered)
        return Figures(
            window=count,
            p50_s=nearest_rank(ordered, 0.5),
            p95_s=nearest_rank(ordered, 0.95),
            error_rate=sum(self._bad) / count if count else None,
            tasks_total=self.tasks_total,
            errors_total=self.errors_total,
        )


class Accuracy:
    """How often an agent was right, over ``size`` judged tasks. A later verdict on a job replaces the former."""

    __slots__ = ("_correct", "_size", "_verdicts")

    def __init__(self, size: int = 1000) -> None:
        self._size = size
        self._verdicts: OrderedDict[str, bool] = OrderedDict()
        self._correct = 0

    def add(self, job_id: str, *, correct: bool) -> None:
        """Take a verdict."""
        before = self._verdicts.pop(job_id, None)
        self._correct += correct - bool(before)
        self._verdicts[job_id] = correct
        if len(self._verdicts) > self._size:
            self._correct -= self._verdicts.popitem(last=False)[1]

    @property
    def judged(self) -> int:
        """Verdicts that count."""
        return len(self._verdicts)

    @property
    def share(self) -> float | None:
        """Correct per judged; ``None`` before the first verdict."""
        return self._correct / len(self._verdicts) if self._verdicts else None


def nearest_rank(ordered: list[float], quantile: float) -> float | None:
    """The smallest value that at least ``quantile`` of all values do not exceed; ``None`` of nothing."""
    if not ordered:
        return None
    return ordered[max(0, -int(-quantile * len(ordered) // 1) - 1)]
