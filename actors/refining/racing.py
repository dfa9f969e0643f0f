"""Races between two points on the same tasks: whoever clearly loses need not run to the end. Pure.

Hoeffding races (Maron and Moore, 1997) with an empirical Bernstein confidence sequence, so that every look is valid.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from actors.inference.bernstein import MeanSequence

LOSS_ALPHA = 0.05
"""Chance that a point which is as good as the best one is stopped early."""

Values = Sequence[float | None]
"""One number per task, in the tasks' order; ``None`` where a task does not tell."""


class Race:
    """A trial against the best point so far, by the difference on each task.

    Args:
        width: Greatest difference there can be.
    """

    def __init__(self, width: float) -> None:
        self._sequence = MeanSequence(-width, width, LOSS_ALPHA)
        self.differences: list[float] = []

    def add(self, tried: Values, best: Values) -> None:
        """Take both answers to the next tasks, higher is better; a task that either does not tell is left out."""
        found = list(_differences(tried, best))
        self._sequence.add(found)
        self.differences += found

    @property
    def lost(self) -> bool:
        """True once the trial is worse for sure."""
        return self._sequence.n > 0 and self._sequence.interval()[1] < 0.0


def gain(tried: Values, other: Values) -> tuple[float, float]:
    """The mean difference on the same tasks and its standard error; (0, inf) of less than two tasks."""
    return mean_error(list(_differences(tried, other)))


def mean_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error; (0, inf) of less than two values."""
    count = len(values)
    if count < 2:  # noqa: PLR2004 - one value has no spread
        return 0.0, math.inf
    mean = math.fsum(values) / count
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count)


def known(values: Values) -> list[float]:
    """Those that tell."""
    return [value for value in values if value is not None]


def half_width(values: Values, low: float, high: float) -> float:
    """Half the width of the 95 % confidence sequence of the mean."""
    sequence = MeanSequence(low, high, LOSS_ALPHA)
    sequence.add(known(values))
    least, most = sequence.interval()
    return (most - least) / 2.0


def _differences(tried: Values, other: Values) -> Iterable[float]:
    for one, two in zip(tried, other, strict=False):
        if one is not None and two is not None:
            yield one - two
