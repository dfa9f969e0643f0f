"""The batch timeout as an energy setting: waiting within the deadlines' slack makes fewer, larger batches.

A batch of n takes a + b n; ``a`` is spent once for all n. At so many tasks a second, a timeout of w fills batches of up
to 1 + rate x w, and each task carries a / n of the batch's own time at the power that a busy processor takes more than
an idle one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from subjects.cost import Saving

GAP_S = 0.002
"""Tasks of an agent on a node that ended within so long of each other came from one batch."""

FEW_BATCHES, FEW_MINUTES, LEAST_SPREAD = 30, 30, 0.1
SURE = 2.0
"""Standard errors by which the time of a batch itself must differ from nothing."""

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that ended; ``at`` in Unix seconds, ``run_s`` in its guest."""

    agent: str
    node: str
    at: float
    run_s: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A line through points: ``a + b x``, and the standard error of ``a``."""

    a: float
    b: float
    error_a: float
    points: int


def line(points: Sequence[tuple[float, float]], few: int) -> Fit | None:
    """The least-squares line; ``None`` with fewer than ``few`` points, or if all lie at one x."""
    count = len(points)
    if count < few:
        return None
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread <= 0.0:
        return None
    b = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    a = mean_y - b * mean_x
    rest = sum((y - a - b * x) ** 2 for x, y in points) / max(1, count - 2)
    return Fit(a, b, (rest * (1 / count + mean_x**2 / spread)) ** 0.5, count)


def batches(tasks: Iterable[Ended]) -> list[tuple[float, float]]:
    """Size and seconds of each batch, as the ends of its tasks tell; of one agent."""
    found: list[tuple[float, float]] = []
    ordered = sorted(tasks, key=lambda one: (one.node, one.at))
    size, seconds = 0, 0.0
    for one, after in pairwise([*ordered, None]):
        if one is None:
            break
        size, seconds = size + 1, seconds + one.run_s
        if after is None or after.node != one.node or after.at - one.at > GAP_S:
            found.append((float(size), seconds))
            size, seconds = 0, 0.0
    return found


def power_line(points: Sequence[tuple[float, float]]) -> Fit | None:
    """Watts by utilisation, from minutes; ``None`` while they say too little."""
    if not points or max(x for x, _ in points) - min(x for x, _ in points) < LEAST_SPREAD:
        return None
    fit = line(points, FEW_MINUTES)
    return fit if fit is not None and fit.b > 0 else None


def saving(
    agent: str, tasks: Sequence[Ended], *, slack_s: float, watts_busy: float, seconds: float
) -> tuple[Saving | None, str]:  # fmt: skip
    """What a timeout within the slack would save a day for one agent, or in words why nothing.

    Args:
        agent: Its name.
        tasks: Its last tasks.
        slack_s: Latency that may be added.
        watts_busy: What one busy processor takes more than an idle one.
        seconds: How long these tasks took to come.
    """
    made = batches(tasks)
    fit = line(made, FEW_BATCHES)
    if fit is None:
        return None, f"batching: {agent}: {len(made)} batches, of too few sizes, tell nothing about a batch's own time"
    if fit.a < SURE * fit.error_a or fit.a <= 0:
        return None, f"batching: {agent}: a batch takes no time of its own beside its tasks', so waiting saves nothing"
    rate = len(tasks) / seconds if seconds > 0 else 0.0
    now, then = len(tasks) / len(made), 1.0 + rate * slack_s
    if then <= now:
        return None, f"batching: {agent}: at {rate:.3g} tasks a second a longer timeout fills no larger batches"
    joules = rate * _DAY_S * fit.a * (1 / now - 1 / then) * watts_busy
    timeout_ms = slack_s * 1e3
    return Saving(
        kind="batching", words=f"{agent}: batches of {then:.3g} tasks instead of {now:.3g}, for up to "
        f"{timeout_ms:.0f} ms more latency", saves=joules, unit="joules", basis="modelled",
        how=f"POST /api/config/batching with batch_timeout_ms {timeout_ms:.0f}, and as few workers as keep up: a batch "
        "leaves as soon as one is free",
        figures={
            "tasks_per_s": rate, "batch_now": now, "batch_then": then, "own_ms": fit.a * 1e3, "task_ms": fit.b * 1e3,
            "watts_busy": watts_busy,
        },
    ), ""  # fmt: skip
