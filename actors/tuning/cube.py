"""The unit cube: points as rows of numbers between 0 and 1, for algorithms that know numbers only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .dimensions import Dimension
from .events import Value
from .space import Member, Space

Array = np.ndarray[Any, np.dtype[np.float64]]
"""Floats of any shape."""

Mask = np.ndarray[Any, np.dtype[np.bool_]]
"""Truth values of any shape."""

SAME = 1e-9
"""Distance below which two places on an axis are one value."""

FINE_LEVELS = 16
"""A whole number with at least so many values is treated as a real one until it is rounded."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The columns of one dimension.

    Real and whole numbers take one column, on their scale; whole numbers sit in the middle of equal cells. A choice
    takes one column per choice, 1 for the chosen one.
    """

    dimension: Dimension
    first: int

    @property
    def width(self) -> int:
        """How many columns."""
        return len(self.dimension.choices) or 1

    @property
    def columns(self) -> slice:
        """Which columns."""
        return slice(self.first, self.first + self.width)

    @property
    def smooth(self) -> bool:
        """True if a gradient along it means something."""
        levels = self.dimension.levels
        return self.dimension.kind != "choice" and (levels == 0 or levels >= FINE_LEVELS)

    def put(self, row: Array, value: Value) -> None:
        """Write a value into a row."""
        if self.dimension.kind == "choice":
            row[self.columns] = [float(choice == value) for choice in self.dimension.choices]
        else:
            row[self.first] = self._unit(float(value))

    def take(self, row: Array) -> Value:
        """The value of a row, within bounds."""
        if self.dimension.kind == "choice":
            return self.dimension.choices[int(np.argmax(row[self.columns]))]
        low, high = self._edges()
        place = low + (high - low) * float(row[self.first])
        value = math.exp(place) if self.dimension.log else place
        if self.dimension.kind == "integer":
            return int(min(max(round(value), self.dimension.low), self.dimension.high))
        return min(max(value, self.dimension.low), self.dimension.high)

    def snap(self, rows: Array) -> None:
        """Move rows to where the values are that they stand for, in place; only for whole numbers and choices."""
        if self.dimension.kind == "choice":
            block = rows[:, self.columns]
            best = block.argmax(axis=1)
            block[:] = 0.0
            block[np.arange(len(rows)), best] = 1.0
        elif self.dimension.kind == "integer":
            low, high = self._edges()
            place = low + (high - low) * rows[:, self.first]
            value = np.round(np.exp(place) if self.dimension.log else place)
            value = np.clip(value, self.dimension.low, self.dimension.high)
            rows[:, self.first] = ((np.log(value) if self.dimension.log else value) - low) / (high - low)

    def _unit(self, value: float) -> float:
        low, high = self._edges()
        place = math.log(value) if self.dimension.log else value
        return min(max((place - low) / (high - low), 0.0), 1.0)

    def _edges(self) -> tuple[float, float]:
        half = 0.5 if self.dimension.kind == "integer" else 0.0
        low, high = self.dimension.low - half, self.dimension.high + half
        return (math.log(low), math.log(high)) if self.dimension.log else (low, high)


class Cube:
    """The unit cube of a space."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self.axes: list[Axis] = []
        first = 0
        for dimension in space.dimensions:
            self.axes.append(Axis(dimension, first))
            first += self.axes[-1].width
        self.width = first
        self._default = np.zeros(self.width)
        for axis in self.axes:
            axis.put(self._default, axis.dimension.default)
        self._by_key = {axis.dimension.key: axis for axis in self.axes}

    @property
    def groups(self) -> list[int]:
        """For each column the number of its dimension."""
        return [index for index, axis in enumerate(self.axes) for _ in range(axis.width)]

    @property
    def smooth(self) -> list[int]:
        """Columns along which a gradient means something."""
        return [axis.first for axis in self.axes if axis.smooth]

    def row(self, point: Mapping[str, Any]) -> Array:
        """The row of a point; dimensions that do not count are at their default."""
        row = np.zeros(self.width)
        for axis in self.axes:
            axis.put(row, point.get(axis.dimension.key, axis.dimension.default))
        return row

    def values(self, row: Array) -> dict[str, Value]:
        """Every dimension's value, those that do not count included."""
        return {axis.dimension.key: axis.take(row) for axis in self.axes}

    def snap(self, rows: Array) -> Array:
        """Where the rows' points really are: whole numbers rounded, one choice each, what does not count at default."""
        snapped = np.clip(rows, 0.0, 1.0)
        for axis in self.axes:
            axis.snap(snapped)
        if self._space.conditional:
            self._silence(snapped)
        return snapped

    def _silence(self, rows: Array) -> None:
        """Put what does not count at its default, in place: parents come before their children in a space."""
        counts: dict[str, Mask] = {}
        for member in self._space.members:
            held = np.ones(len(rows), dtype=np.bool_)
            for parent, wanted in member.parents:
                held &= self._held(rows, parent, wanted, counts[parent.name])
            counts[member.name] = held
            for dimension in member.dimensions:
                axis = self._by_key[dimension.key]
                rows[~held, axis.columns] = self._default[axis.columns]

    def _held(self, rows: Array, parent: Member, wanted: Value, counts: Mask) -> Mask:
        if not parent.dimensions:
            on, off = bool(parent.base == wanted), bool(parent.default == wanted)
            return (counts & on) | (~counts & off)
        axis = self._by_key[parent.name]
        row = np.zeros(self.width)
        axis.put(row, wanted)
        apart: Array = np.abs(rows[:, axis.columns] - row[axis.columns]).max(axis=1)
        return apart < SAME
