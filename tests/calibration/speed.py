"""How long a message takes in each comparison."""

from __future__ import annotations

import random
import time

from actors.gating.comparisons import compare
from actors.gating.records import Row
from subjects.experiment import Metric, Mode

MEAN = Metric(name="score_error", kind="mean", better="lower")
QUANTILE = Metric(name="run_ms", kind="quantile", better="lower")
_CASES: tuple[tuple[Metric, float, Mode, str], ...] = (
    (Metric(name="correct"), 0.0, "replay", ""),
    (Metric(name="correct"), 0.0, "split", ""),
    (Metric(name="failed", better="lower"), 0.01, "replay", ""),
    (Metric(name="failed", better="lower"), 0.01, "split", ""),
    (MEAN, 0.0, "replay", ""),
    (MEAN, 0.0, "split", "input_bytes"),
    (QUANTILE, 0.0, "split", ""),
)


def rows(metric: Metric, stage: Mode, count: int) -> list[Row]:
    """Messages with numbers of 0 and 1, or anything between for a mean or a quantile."""
    rng = random.Random(1)  # noqa: S311 - a simulation

    def value() -> float:
        return float(rng.random() < 0.7) if metric.kind == "proportion" else rng.random()

    drawn = [(value(), value(), rng.random() < 0.5) for _ in range(count)]
    if stage != "split":
        return [Row(1, [live], [tried], 1.0) for live, tried, _ in drawn]
    return [Row(1, [], [tried], 1.0) if there else Row(0, [live], [], 1.0) for live, tried, there in drawn]


def speeds(count: int = 10_000) -> list[tuple[str, float, float]]:
    """(test and stage, microseconds of CPU to fold a message and to fold one and look)."""
    found: list[tuple[str, float, float]] = []
    for metric, bound, stage, covariate in _CASES:
        comparison, messages = compare(metric, bound, 0.025, stage, covariate), rows(metric, stage, count)
        began = time.thread_time()
        comparison.add(messages, 0)
        folded = time.thread_time()
        for message in messages[:100]:
            comparison.add([message], 0)
            comparison.evidence()
        looked = time.thread_time()
        name = f"{comparison.evidence().test}, {stage}"
        found.append((name, (folded - began) / count * 1e6, (looked - folded) / 100 * 1e6))
    return found
