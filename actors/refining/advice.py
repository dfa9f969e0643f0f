"""What measurements say about timeouts, breakers and batches. Pure; every figure comes with its reason in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .benchmarks import quantiles

LEAST_CHECKS = 30
"""Round trips below which nothing is said about a link."""

LEAST_TASKS = 200
"""Recorded tasks below which nothing is said about batches."""

_SRTT_GAIN, _VARIATION_GAIN, _VARIATIONS = 1 / 8, 1 / 4, 4
_SLACK, _LEAST_S, _MOST_S = 10.0, 0.25, 5.0
_DAY_S, _Z = 86_400.0, 1.96
_CLOSE = 0.2


@dataclass(frozen=True, slots=True)
class Advice:
    """A value and the measurement that speaks for it."""

    value: float
    because: str


def advise_timeout(latencies_ms: Sequence[float]) -> Advice | None:
    """Seconds to wait for a layer: ten times the retransmission timeout that TCP would use (RFC 6298, section 2).

    Round trips are smoothed with their variation, oldest first, as the RFC does; ten times, because a check that is
    given up costs more than one that is waited for. Between 0.25 s and 5 s, and never below the slowest seen.
    """
    if len(latencies_ms) < LEAST_CHECKS:
        return None
    smoothed, variation = latencies_ms[0], latencies_ms[0] / 2
    for passed in latencies_ms[1:]:
        variation += _VARIATION_GAIN * (abs(smoothed - passed) - variation)
        smoothed += _SRTT_GAIN * (passed - smoothed)
    wanted_s = max(_SLACK * (smoothed + _VARIATIONS * variation), 2 * max(latencies_ms)) / 1e3
    words = (
        f"{len(latencies_ms)} round trips: smoothed {smoothed:.2f} ms, variation {variation:.2f} ms, "
        f"slowest {max(latencies_ms):.2f} ms"
    )
    return Advice(round(min(_MOST_S, max(_LEAST_S, wanted_s)), 3), words)


def advise_failures(checks: int, failures: int, period_s: float) -> Advice | None:
    """Failures in a row that open a breaker: so many that lone failures do it less than once a day.

    The share of failed checks is taken at its Wilson upper bound (95 %); 2 to 10.
    """
    if checks < LEAST_CHECKS:
        return None
    share, square = failures / checks, _Z**2
    spread = _Z * math.sqrt(share * (1 - share) / checks + square / (4 * checks**2))
    upper = (share + square / (2 * checks) + spread) / (1 + square / checks)
    a_day = max(1.0, _DAY_S / period_s)
    wanted = math.ceil(math.log(a_day) / -math.log(upper) - 1e-9) if upper < 1 else 10
    words = f"{failures} of {checks} checks failed (at most {upper:.1%}), {a_day:.0f} checks a day"
    return Advice(float(min(10, max(2, wanted))), words)


def advise_batch_size(tasks_per_s: float, total_ms: Sequence[float]) -> Advice | None:
    """Most tasks of a batch: at least as many as are there at once at p95 (Little: L = rate * time), in powers of 2."""
    if len(total_ms) < LEAST_TASKS:
        return None
    _, p95, _ = quantiles(list(total_ms))
    there = tasks_per_s * p95 / 1e3
    size = min(1024, max(8, 1 << max(0, math.ceil(there) - 1).bit_length()))
    return Advice(float(size), f"{tasks_per_s:.2f} tasks/s for {p95:.2f} ms at p95 are {there:.2f} at once")


def advise_batch_timeout(run_ms: Sequence[float]) -> Advice | None:
    """Longest that a task waits in its batch for a worker, in ms: as long as 95 % of tasks run; 0.5 to 100.

    By then a worker that was busy has become free; who waits longer is better off in the sandbox's own queue.
    """
    if len(run_ms) < LEAST_TASKS:
        return None
    _, p95, _ = quantiles(list(run_ms))
    return Advice(round(min(100.0, max(0.5, p95)), 2), f"{len(run_ms)} tasks ran {p95:.2f} ms at p95")


def is_better(before: float, advice: Advice) -> bool:
    """True if the difference is worth a change: more than a fifth."""
    return abs(advice.value - before) > _CLOSE * max(abs(before), 1e-9)
