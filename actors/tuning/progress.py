"""How far a study has come: its best point with the uncertainty, its spending, and whether it has converged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .events import Point
from .trials import State, Trial

WINDOW_LEAST = 20
WINDOW_PER_DIMENSION = 5


@dataclass(frozen=True, slots=True)
class Best:
    """The best feasible point so far.

    Attributes:
        number: The first trial that measured it.
        point: The point.
        value: Mean of its measurements, in the objective's own direction; of a noisy objective it flatters, since it
            is the best of many: measure it again before believing it.
        stderr: Standard error of ``value``; ``None`` if no measurement said one.
        measured: How often it was measured.
    """

    number: int
    point: Point
    value: float
    stderr: float | None
    measured: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What a study has used: trials asked, messages answered by them, and those of them harmed."""

    trials: int
    messages: int
    harmed: int


@dataclass(frozen=True, slots=True)
class Row:
    """One trial for a status page; ``best`` is the best value after it (``None`` before the first feasible one)."""

    number: int
    by: str
    state: State
    value: float | None
    stderr: float | None
    feasible: bool
    best: float | None
    messages: int
    harmed: int
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Convergence:
    """Whether it is time to stop, and what is missing.

    Attributes:
        converged: Both conditions hold.
        improvement: Relative improvement of the best value over the last ``window`` results; ``None`` before that.
        window: Results that must pass without an improvement.
        width: Relative width of the incumbent's confidence sequence; ``None`` if it is not known.
        threshold: What both must be below.
        reason: In words.
    """

    converged: bool
    improvement: float | None
    window: int
    width: float | None
    threshold: float
    reason: str


@dataclass(slots=True)
class Pool:
    """Measurements of one point: noise is averaged out, for the objective as for the guardrails."""

    trials: list[Trial]

    @property
    def feasible(self) -> bool:
        """True if each guardrail is kept in the mean."""
        names = self.trials[0].constraints
        return all(math.fsum(trial.constraints[name] for trial in self.trials) <= 0.0 for name in names)

    def best(self) -> Best:
        """The point with its pooled value: by inverse variance where every measurement has a standard error above 0."""
        value, stderr = _pooled([(trial.value or 0.0, trial.stderr) for trial in self.trials])
        return Best(self.trials[0].number, self.trials[0].point, value, stderr, len(self.trials))


def window_of(dimensions: int) -> int:
    """Results without improvement that convergence takes: 20, or 5 per dimension."""
    return max(WINDOW_LEAST, WINDOW_PER_DIMENSION * dimensions)


def convergence(
    bests: Sequence[float | None],
    *,
    sign: float,
    dimensions: int,
    threshold: float,
    half_width: float | None,
    magnitude: float | None = None,
) -> Convergence:
    """Converged if the best value improved by less than ``threshold`` over the window and is known as closely.

    The first condition alone stops on luck where results are noisy, so without a confidence sequence nothing
    converges; give ``half_width`` 0 where the objective is exact.

    Args:
        bests: The best value after each result, oldest first; ``None`` while nothing was feasible.
        sign: 1 if lower is better, -1 if higher is.
        dimensions: Of the search.
        threshold: Relative.
        half_width: Half the width of the confidence sequence of the incumbent's objective, in its unit.
        magnitude: What "relative" refers to; the best value's size if ``None``.
    """
    window = window_of(dimensions)
    now = bests[-1] if bests else None
    before = bests[-1 - window] if len(bests) > window else None
    if now is None or before is None:
        return Convergence(
            converged=False, improvement=None, window=window, width=None, threshold=threshold,
            reason=f"it takes {window} results after the first feasible one, there are {len(bests)} in all",
        )  # fmt: skip
    size = magnitude if magnitude is not None else abs(now)
    improvement = _relative(sign * (before - now), size)
    width = None if half_width is None else _relative(2.0 * half_width, size)
    reason = _missing(improvement, width, threshold, window)
    return Convergence(not reason, improvement, window, width, threshold, reason or "no more to gain, and sure of it")


def _missing(improvement: float, width: float | None, threshold: float, window: int) -> str:
    if improvement >= threshold:
        return f"the best value still improved by {improvement:.2%} over the last {window} results"
    if width is None:
        return "nothing says how well the best value is known: its confidence sequence is needed"
    if width >= threshold:
        return f"the best value is known to {width:.2%} only, {threshold:.2%} is needed"
    return ""


def _relative(amount: float, size: float) -> float:
    if amount == 0.0:
        return 0.0
    return amount / size if size > 0.0 else math.copysign(math.inf, amount)


def _pooled(values: Sequence[tuple[float, float | None]]) -> tuple[float, float | None]:
    weights = [1.0 / error**2 for _, error in values if error]
    if len(weights) == len(values):
        total = sum(weights)
        return sum(weight * value for weight, (value, _) in zip(weights, values, strict=True)) / total, total**-0.5
    mean = math.fsum(value for value, _ in values) / len(values)
    errors = [error for _, error in values if error is not None]
    known = len(errors) == len(values)
    return mean, math.sqrt(math.fsum(error**2 for error in errors)) / len(values) if known else None
