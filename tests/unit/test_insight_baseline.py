"""Baselines: figures of a window, and two windows compared with intervals that keep their promise."""

from __future__ import annotations

import numpy as np

from actors.insight.baseline import Sample, compare, figures
from actors.insight.injection import ar1
from subjects.event import TaskProcessed
from subjects.insight import Comparison


def sample(
    n: int, seed: int, *, factor: float = 1.0, errors: float = 0.02, right: float = 0.8, rho: float = 0.0
) -> Sample:
    """An hour of tasks."""
    rng = np.random.default_rng(seed)
    at = np.sort(rng.uniform(0, 3600, n))
    ms = np.exp(0.5 * ar1(n, rho, rng)) * 10 * factor
    failed, correct = (rng.uniform(size=n) < errors).astype(float), (rng.uniform(size=n) < right).astype(float)
    correct[::2] = np.nan
    return Sample("a", 0.0, 3600.0, at, ms, ms / 2, failed, correct)


def by_name(found: list[Comparison]) -> dict[str, Comparison]:
    """Found again by the figure's name."""
    return {each.figure: each for each in found}


def test_figures_of_records():
    """Only the window's tasks count; latency is waiting plus running of answered tasks; judged ones give accuracy."""
    tasks = [
        TaskProcessed(
            job_id=f"j{n}", agent="a", release=1, task="t", outcome="ok" if n else "agent-error", at=float(n),
            queue_ms=1.0, run_ms=float(n), cpu_ms=0.5, memory_bytes=0, node="n",
        )
        for n in range(20)
    ]  # fmt: skip
    found = figures(Sample.of("a", 0.0, 10.0, tasks, {"j1": True, "j2": False}))
    assert (found.tasks, found.per_s, found.error_rate, found.availability) == (10, 1.0, 0.1, 0.9)
    assert (found.p50_ms, found.p99_ms, found.accuracy) == (6.0, 10.0, 0.5)


def test_a_window_without_tasks_has_no_figures():
    """Nothing measured is ``None``, not 0, and compares as unknown."""
    empty = Sample.of("a", 0.0, 10.0, [], {})
    found = figures(empty)
    assert (found.tasks, found.per_s, found.p95_ms, found.accuracy) == (0, 0.0, None, None)
    assert {each.verdict for each in compare(empty, sample(5000, 1)) if each.figure != "per_s"} == {"unknown"}


def test_worse_and_better_are_told():
    """Slower, more errors and more right answers get their verdicts, with intervals that hold the truth."""
    found = by_name(compare(sample(8000, 1), sample(8000, 2, factor=1.3, errors=0.06, right=0.9)))
    assert found["p50_ms"].verdict == found["p95_ms"].verdict == found["error_rate"].verdict == "worse"
    assert found["availability"].verdict == "worse"
    assert found["accuracy"].verdict == "better"
    low, high = found["p50_ms"].low, found["p50_ms"].high
    assert low is not None
    assert high is not None
    assert low < 3 < high


def test_load_has_no_good_direction():
    """Twice the tasks is neither better nor worse, but the interval shows it."""
    found = by_name(compare(sample(2000, 1), sample(4000, 2)))["per_s"]
    assert found.verdict == "unknown"
    assert found.low is not None
    assert found.low > 0


def test_the_same_is_called_the_same():
    """Sixty pairs of equal windows with autocorrelated latencies: about 5 % of the medians get a verdict, not 30 %."""
    told = 0
    for seed in range(60):
        pair = sample(4000, 2 * seed, rho=0.8), sample(4000, 2 * seed + 1, rho=0.8)
        told += by_name(compare(*pair))["p50_ms"].verdict != "same"
    assert told <= 8


def test_too_few_tasks_are_not_compared():
    """Thirty tasks say nothing about a p99."""
    assert by_name(compare(sample(30, 1), sample(30, 2, factor=3)))["p99_ms"].verdict == "unknown"
