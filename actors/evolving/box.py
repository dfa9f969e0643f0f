"""The box that vectors live in: bounds, which coordinates are whole numbers, and how it is filled at random."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
"""Floats of any shape."""

Whole: TypeAlias = np.ndarray[Any, np.dtype[np.intp]]
"""Whole numbers of any shape."""

Settle: TypeAlias = Callable[[Array], Array]
"""Moves rows within the box to the one row that stands for the same genome."""


class Box:
    """Bounds of a search, real coordinates first and whole ones last: the layout of pygmo.

    Args:
        lower: Least value of each coordinate, (n,).
        upper: Greatest value of each, (n,).
        integers: How many of the last coordinates are whole numbers.
        settle: Applied to rows after clipping and rounding, such as ``Codec.settle``.

    Raises:
        ValueError: If the bounds are not finite, in disorder, or not whole where they must be.
    """

    def __init__(self, lower: Array, upper: Array, integers: int = 0, settle: Settle | None = None) -> None:
        self.lower, self.upper = np.array(lower, dtype=np.float64), np.array(upper, dtype=np.float64)
        self.integers = integers
        self._settle = settle
        if not (len(self.lower) == len(self.upper) > 0 and 0 <= integers <= len(self.lower)):
            raise ValueError(f"{len(self.lower)} lower and {len(self.upper)} upper bounds, {integers} of them whole")
        if not (np.isfinite(self.lower).all() and np.isfinite(self.upper).all() and (self.lower <= self.upper).all()):
            raise ValueError("bounds must be finite, the lower ones not above the upper ones")
        whole = np.concatenate([self.lower[self.reals :], self.upper[self.reals :]])
        if (whole != np.round(whole)).any():
            raise ValueError("bounds of whole coordinates must be whole")

    @property
    def width(self) -> int:
        """How many coordinates."""
        return len(self.lower)

    @property
    def reals(self) -> int:
        """How many of the first coordinates are real."""
        return len(self.lower) - self.integers

    def snap(self, rows: Array) -> Array:
        """Rows within bounds, whole where they must be, each in the one form its genome has; (m, n), a copy."""
        snapped = np.minimum(np.maximum(rows, self.lower), self.upper)
        if self.integers:
            snapped[:, self.reals :] = np.floor(snapped[:, self.reals :] + 0.5)
        return snapped if self._settle is None else self._settle(snapped)

    def holds(self, rows: Array) -> bool:
        """Whether all rows are within bounds and whole where they must be."""
        within = bool(((rows >= self.lower) & (rows <= self.upper)).all())
        return within and bool((rows[:, self.reals :] == np.round(rows[:, self.reals :])).all())

    def draw(self, random: np.random.Generator, count: int) -> Array:
        """A Latin hypercube of ``count`` rows: each coordinate meets each of ``count`` equal slices once.

        McKay, Beckman and Conover, Technometrics 1979.
        """
        slices = random.permuted(np.tile(np.arange(count, dtype=np.float64), (self.width, 1)), axis=1).T
        unit = (slices + random.random((count, self.width))) / max(count, 1)
        return self.snap(self.place(unit))

    def place(self, unit: Array) -> Array:
        """Rows of the unit cube in the box; whole numbers have equal shares of it."""
        rows = self.lower + unit * (self.upper - self.lower)
        if self.integers:
            low, high = self.lower[self.reals :], self.upper[self.reals :]
            rows[:, self.reals :] = np.minimum(low + np.floor(unit[:, self.reals :] * (high - low + 1.0)), high)
        return rows


def digest(rows: Array) -> bytes:
    """16 bytes that tell whether two batches of vectors are the same, to the last bit and in the same order."""
    return hashlib.sha256(rows.tobytes()).digest()[:16]
