"""Aggregates per step of time for many series at once, in a ring of fixed length."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .arrays import Flags, Floats, Integers

View = Literal["mean", "count", "most"]
"""Of one step: the mean of its values, how many there were, the largest."""

_FIRST_WIDTH = 64


class Ring:
    """Count, sum and largest value per series and step; a row per step, so that a new step clears one row.

    Memory: 20 bytes per series and step, allocated as series come.

    Args:
        step_s: Length of a step in seconds.
        steps: How many steps are kept.
    """

    __slots__ = ("_count", "_most", "_sum", "_width", "head", "step_s", "steps")

    def __init__(self, step_s: int, steps: int) -> None:
        self.step_s = step_s
        self.steps = steps
        self.head = -1
        self._width = _FIRST_WIDTH
        self._count, self._sum, self._most = self._empty(_FIRST_WIDTH)

    def _empty(self, width: int) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int32]], Floats, Floats]:
        shape = (self.steps, width)
        return np.zeros(shape, np.int32), np.zeros(shape), np.full(shape, -np.inf)

    @property
    def bytes(self) -> int:
        """What the aggregates take."""
        return self._count.nbytes + self._sum.nbytes + self._most.nbytes

    def hold(self, series: int) -> None:
        """Make room for that many series: twice as much as before, until it is enough."""
        if series <= self._width:
            return
        while self._width < series:
            self._width *= 2
        old = self._count, self._sum, self._most
        self._count, self._sum, self._most = self._empty(self._width)
        for before, now in zip(old, (self._count, self._sum, self._most), strict=True):
            now[:, : before.shape[1]] = before

    def parts(self, width: int) -> tuple[Floats, Floats, Floats]:
        """Copies of count, sum and largest of the first ``width`` series, shape (steps, width): detached from it."""
        return self._count[:, :width].astype(np.float64), self._sum[:, :width].copy(), self._most[:, :width].copy()

    def restore(self, head: int, parts: tuple[Floats, Floats, Floats]) -> None:
        """Hold what ``parts`` gave of a ring with as many steps, of which ``head`` was the newest."""
        width = parts[0].shape[1]
        self.hold(width)
        self._count[:, :width], self._sum[:, :width], self._most[:, :width] = parts
        self.head = head

    def move(self, head: int) -> None:
        """Let ``head`` be the newest step; the rows of steps that begin are cleared. Going back does nothing."""
        first = head - self.steps + 1 if self.head < 0 else max(self.head + 1, head - self.steps + 1)
        for step in range(first, head + 1):
            row = step % self.steps
            self._count[row] = 0
            self._sum[row] = 0.0
            self._most[row] = -np.inf
        self.head = max(self.head, head)

    def add(self, step: int, series: int, value: float) -> None:
        """Add one value to a step that is not older than the ring."""
        row = step % self.steps
        self._count[row, series] += 1
        self._sum[row, series] += value
        self._most[row, series] = max(self._most[row, series], value)

    def add_many(self, steps: Integers, series: Integers, values: Floats) -> None:
        """Add values to steps of which none is newer than ``head``; those older than the ring have gone by already."""
        kept: Flags = steps > self.head - self.steps
        where = (steps[kept] % self.steps, series[kept])
        np.add.at(self._count, where, 1)
        np.add.at(self._sum, where, values[kept])
        np.maximum.at(self._most, where, values[kept])

    def row(self, step: int, view: View) -> Floats:
        """All series at one step; ``nan`` where a series had no value, 0 for ``count``."""
        return self._view(np.array([step % self.steps]), slice(None), view)[0]

    def column(self, series: int, last: int, length: int, view: View) -> Floats:
        """One series at ``length`` steps up to ``last``, oldest first; steps outside the ring are ``nan``."""
        steps = np.arange(last - length + 1, last + 1)
        found = self._view(steps % self.steps, series, view)
        outside = (steps <= self.head - self.steps) | (steps > self.head) | (steps < 0)
        return np.where(outside, np.nan, found)

    def _view(self, rows: Integers, series: int | slice, view: View) -> Floats:
        count = self._count[rows, series]
        if view == "count":
            return count.astype(np.float64)
        if view == "most":
            return np.where(count > 0, self._most[rows, series], np.nan)
        return np.where(count > 0, self._sum[rows, series] / np.maximum(count, 1), np.nan)
