"""Figures of an agent over a window, and two windows side by side with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from subjects.event import TaskProcessed
from subjects.insight import Comparison, Figures

from .arrays import Floats
from .libraries import t_quantile

LEVEL = 0.95
MOST_SECTIONS, LEAST_SECTIONS = 20, 5
LOWER_IS_BETTER = {"error_rate": True, "p50_ms": True, "p95_ms": True, "p99_ms": True, "cpu_ms": True}
"""Figures with a good direction; availability and accuracy go the other way, load has none."""

_HIGHER = frozenset({"availability", "accuracy"})
_PER_SECTION = {"p50_ms": 10, "p95_ms": 100, "p99_ms": 400}


@dataclass(frozen=True, slots=True)
class Sample:
    """Tasks of one agent in a window, oldest first; arrays of one length.

    Attributes:
        agent: Its name.
        since: Unix time of the window's begin.
        until: Unix time of its end.
        at: When each task ended.
        total_ms: Waiting and running.
        cpu_ms: CPU time.
        failed: 1.0 for a task that did not succeed.
        correct: 1.0 right, 0.0 wrong, ``nan`` not judged.
        weight: Tasks of the window that one row stands for, where only some were read.
    """

    agent: str
    since: float
    until: float
    at: Floats
    total_ms: Floats
    cpu_ms: Floats
    failed: Floats
    correct: Floats
    weight: float = 1.0

    @classmethod
    def of(
        cls, agent: str, since: float, until: float, tasks: Sequence[TaskProcessed], correct: dict[str, bool]
    ) -> Sample:
        """From records, in any order; ``correct`` by job id."""
        ordered = sorted((task for task in tasks if since <= task.at < until), key=lambda task: task.at)
        columns = [
            (t.at, t.queue_ms + t.run_ms, t.cpu_ms, float(t.outcome != "ok"), float(correct.get(t.job_id, np.nan)))
            for t in ordered
        ]
        table = np.array(columns, np.float64).reshape(-1, 5).T
        return cls(agent, since, until, table[0], table[1], table[2], table[3], table[4])


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a window to compare it with a later one.

    ``errors`` holds the variance of each figure's estimate and the number of sections that it comes from.
    """

    figures: Figures
    errors: dict[str, tuple[float, int]]


def summarize(sample: Sample) -> Summary:
    """The figures of a window with how sure they are."""
    found = {name: _error(sample, name) for name in _FIGURES}
    return Summary(figures=figures(sample), errors={name: error for name, error in found.items() if error is not None})


def figures(sample: Sample) -> Figures:
    """The figures of a window; ``None`` where there is nothing to measure. Latencies are those of answered tasks."""
    values = {name: _whole(sample, name) for name in _FIGURES}
    return Figures(
        agent=sample.agent, since=sample.since, until=sample.until, tasks=round(sample.at.size * sample.weight),
        per_s=values.pop("per_s") or 0.0, **values,
    )  # fmt: skip


def compare(before: Sample, now: Sample) -> list[Comparison]:
    """Each figure then and now, with a 95 % interval of the change and a verdict.

    Tasks that follow each other share queues and load, so neither window is a bag of independent tasks: each is cut
    into at most 20 sections of equal numbers of tasks in a row (a load: of equal time), and the spread of the
    sections' figures around the window's gives the error (sectioning, Asmussen & Glynn, Stochastic Simulation 2007,
    III.5), with Welch's t. Too little for five sections with enough tasks for the figure = ``unknown``.
    """
    return compare_summaries(summarize(before), summarize(now))


def compare_summaries(before: Summary, now: Summary) -> list[Comparison]:
    """The same from what was kept of two windows."""
    return [_compared(before, now, name) for name in _FIGURES]


def _compared(before: Summary, now: Summary, name: str) -> Comparison:
    old, new = _figure(before, name), _figure(now, name)
    low = high = None
    if old is not None and new is not None and name in before.errors and name in now.errors:
        reach = _reach(before.errors[name], now.errors[name])
        low, high = new - old - reach, new - old + reach
    return Comparison(
        agent=now.figures.agent, figure=name, before=old, now=new, low=low, high=high, verdict=_verdict(name, low, high)
    )


def _figure(summary: Summary, name: str) -> float | None:
    value: float | None = getattr(summary.figures, name)
    return value


def _verdict(name: str, low: float | None, high: float | None) -> Literal["better", "worse", "same", "unknown"]:
    if low is None or high is None:
        return "unknown"
    if low <= 0 <= high or (name not in _HIGHER and name not in LOWER_IS_BETTER):
        return "same" if low <= 0 <= high else "unknown"
    return "better" if (low > 0) == (name in _HIGHER) else "worse"


def _reach(old: tuple[float, int], new: tuple[float, int]) -> float:
    """Half the interval's width: Welch's t from two (variance of the estimate, sections)."""
    variance = old[0] + new[0]
    if variance <= 0:
        return 0.0
    freedom = variance**2 / sum(each**2 / (count - 1) for each, count in (old, new))
    return t_quantile(0.5 + LEVEL / 2, freedom) * variance**0.5


def _error(sample: Sample, name: str) -> tuple[float, int] | None:
    """Variance of a figure's estimate and the number of sections it comes from; ``None`` = too little data."""
    whole = _whole(sample, name)
    parts = [part for part in _sections(sample, name) if part is not None]
    if whole is None or len(parts) < LEAST_SECTIONS:
        return None
    count = len(parts)
    return sum((part - whole) ** 2 for part in parts) / (count * (count - 1)), count


def _sections(sample: Sample, name: str) -> list[float | None]:
    if name == "per_s":
        edges = np.linspace(sample.since, sample.until, MOST_SECTIONS + 1)
        counts, _ = np.histogram(sample.at, edges)
        return (counts * sample.weight / (edges[1] - edges[0])).tolist() if sample.until > sample.since else []
    values = _values(sample, name)
    count = min(MOST_SECTIONS, values.size // _PER_SECTION.get(name, 20))
    return [_FIGURES[name](part) for part in np.array_split(values, count)] if count else []


def _whole(sample: Sample, name: str) -> float | None:
    if name == "per_s":
        return sample.at.size * sample.weight / (sample.until - sample.since) if sample.until > sample.since else None
    values = _values(sample, name)
    return _FIGURES[name](values) if values.size else None


def _values(sample: Sample, name: str) -> Floats:
    """What a figure is made of, in order of time."""
    if name in {"availability", "error_rate"}:
        return sample.failed
    if name == "accuracy":
        return sample.correct[np.isfinite(sample.correct)]
    return (sample.cpu_ms if name == "cpu_ms" else sample.total_ms)[sample.failed == 0]


def _mean(values: Floats) -> float:
    return float(values.mean())


def _quantile(share: float) -> Callable[[Floats], float]:
    return lambda values: float(np.quantile(values, share, method="inverted_cdf"))


_FIGURES: dict[str, Callable[[Floats], float]] = {
    "per_s": _mean,
    "availability": lambda failed: 1 - _mean(failed),
    "error_rate": _mean,
    "p50_ms": _quantile(0.5),
    "p95_ms": _quantile(0.95),
    "p99_ms": _quantile(0.99),
    "cpu_ms": _mean,
    "accuracy": _mean,
}
