"""MAP-Elites (Mouret and Clune, arXiv 1504.04909): for each kind of behaviour the best genome that shows it.

    engine = MapElites(codec.box, Setup(size=64, seed=7), given, axes=(Axis(0.0, 1.0, 16), Axis(-1.0, 1.0, 16)))
    engine.step(evaluate)            # evaluate gives loss, constraints, then one descriptor per axis: (m, 1 + c + 2)
    engine.cells(), engine.coverage, engine.score(reference)

Children move from one elite by a step in all directions and along the line to another one (iso+line: Vassiliades and
Mouret, GECCO 2018, arXiv 1804.03906): elites lie near one manifold, so lines between them stay on it. The paper's two
step lengths were the best of eight pairs that we tried on two functions; steps drawn between short and long were not.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# numpy leaves open what drawing and arithmetic give

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .box import Array, Box, Whole
from .engine import BREEDING, FAILED, Asking, Birth, Brood, Engine, Members, Setup, cleaned, ranking, violation

ISO = 0.01
"""Standard deviation of a step in all directions, in widths of the box."""

LINE = 0.2
"""Standard deviation of a step along the line to another elite, in lengths of that line."""

SPARE = 64

EXCHANGED = 0.2
"""Probability with which a whole coordinate is taken from the other elite."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A descriptor: its bounds and how many cells it has. What lies outside counts for the cell at the edge."""

    low: float
    high: float
    cells: int

    def __post_init__(self) -> None:
        if not (self.low < self.high and self.cells >= 1):
            raise ValueError(f"an axis needs a low end below its high one and cells, not {self}")


@dataclass(frozen=True, slots=True)
class Elite:
    """The best genome of a cell; ``values`` are loss, constraints and descriptors."""

    cell: tuple[int, ...]
    birth: Birth
    vector: Array
    values: tuple[float, ...]


class MapElites(Engine):
    """See the module. ``size`` is how many children a step has; the population is the archive.

    A cell's genome is only ever replaced by a better one, or told anew by ``update``. Failures are not let in.

    Args:
        box: Where vectors live.
        setup: One objective.
        given: Vectors known beforehand.
        axes: Of the map, usually two.

    Raises:
        ValueError: If there is no axis, or several objectives are set up.
    """

    name = "map-elites"

    def __init__(self, box: Box, setup: Setup, given: Array | None = None, *, axes: Sequence[Axis]) -> None:
        if setup.objectives > 1 or not axes:
            raise ValueError("map-elites needs one objective and an axis at least")
        super().__init__(box, setup, given)
        self.axes = tuple(axes)
        self._sizes = tuple(axis.cells for axis in axes)
        self._clear()

    @property
    def columns(self) -> int:
        """Loss, constraints, descriptors."""
        return 1 + self.setup.constraints + len(self.axes)

    @property
    def population(self) -> Members:
        """The elites in the order of their cells."""
        rows = self._occupied()
        births = [self._births[row] for row in rows.tolist()]
        return Members(self._vectors[rows], self._values[rows], tuple(births))

    @property
    def coverage(self) -> float:
        """Share of the cells that have a genome."""
        return len(self._births) / len(self._row)

    def score(self, reference: float) -> float:
        """The QD score: by how much the losses of all elites are below ``reference``, summed (Pugh et al. 2016)."""
        losses = self._values[: len(self._births), 0]
        return float(np.maximum(reference - losses, 0.0).sum())

    def cells(self) -> list[Elite]:
        """The map, in the order of its cells."""
        rows = self._occupied().tolist()
        places = np.array(np.unravel_index(self._cell[rows], self._sizes)).T.tolist()
        return [
            Elite(tuple(place), self._births[row], self._vectors[row].copy(), tuple(self._values[row].tolist()))
            for place, row in zip(places, rows, strict=True)
        ]

    def emigrants(self, count: int) -> Members:
        """The best elites, best first."""
        members = self.population
        return members.take(ranking(members.values[:, : -len(self.axes)])[:count])

    def receive(self, members: Members) -> None:
        """Let genomes in where they are better than what the map has."""
        self._place(members)

    def update(self, birth: Birth, values: Sequence[float]) -> bool:
        """What is now known of an elite; it moves to the cell where it belongs. False if it is none any more."""
        if tuple(birth) not in self._births:
            return False
        row = self._births.index((birth[0], birth[1]))
        vector = self._vectors[row : row + 1].copy()
        self._remove(row)
        self._place(Members(vector, cleaned(np.array([values], dtype=np.float64)), ((birth[0], birth[1]),)))
        return True

    def _found(self, brood: Brood, values: Array, first: int) -> None:
        self._place(Members(brood.vectors, values, self.births(first, len(values))))

    def _restart(self, members: Members) -> None:
        self._clear()
        self._place(members)

    def _resized(self) -> None:
        """The next step has another number of children."""

    def _advance(self, asking: Asking) -> None:
        brood = self._bred()
        values = asking(brood)
        self._place(Members(brood.vectors, values, self.births(self.asked, len(values))))

    def _clear(self) -> None:
        """Rows hold elites in the order in which their cells were found; ``row`` of an empty cell is -1."""
        self._row = np.full(math.prod(self._sizes), -1, dtype=np.intp)
        self._cell = np.empty(SPARE, dtype=np.intp)
        self._vectors, self._values = np.empty((SPARE, self.box.width)), np.empty((SPARE, self.columns))
        self._births: list[Birth] = []

    def _occupied(self) -> Whole:
        return self._row[self._row >= 0]

    def _place(self, members: Members) -> None:
        figures = members.values[:, : -len(self.axes)]
        broken, losses = violation(figures, 1), figures[:, 0]
        cells = self._cells(members.values)
        order = np.lexsort((losses, broken))
        order = order[losses[order] < FAILED]
        best = order[np.unique(cells[order], return_index=True)[1]]
        rows = self._row[cells[best]]
        mine = self._values[rows, : -len(self.axes)]  # of an empty cell whatever stands there: it is not looked at
        kept, loss = violation(mine, 1), mine[:, 0]
        won = (rows < 0) | (broken[best] < kept) | ((broken[best] == kept) & (losses[best] < loss))
        for place in best[won].tolist():
            row = self._row_of(int(cells[place]))
            self._vectors[row], self._values[row] = members.vectors[place], members.values[place]
            self._births[row] = members.births[place]

    def _row_of(self, cell: int) -> int:
        row = int(self._row[cell])
        if row >= 0:
            return row
        row = len(self._births)
        if row == len(self._cell):
            self._vectors, self._values = _longer(self._vectors), _longer(self._values)
            self._cell = np.concatenate([self._cell, np.empty_like(self._cell)])
        self._births.append((-1, -1))
        self._cell[row], self._row[cell] = cell, row
        return row

    def _remove(self, row: int) -> None:
        """The last row moves to where it was."""
        last = len(self._births) - 1
        self._row[self._cell[row]] = -1
        if row != last:
            self._vectors[row], self._values[row] = self._vectors[last], self._values[last]
            self._births[row], self._cell[row] = self._births[last], self._cell[last]
            self._row[self._cell[row]] = row
        self._births.pop()

    def _cells(self, values: Array) -> Whole:
        low = np.array([axis.low for axis in self.axes])
        high = np.array([axis.high for axis in self.axes])
        sizes = np.array(self._sizes)
        share = np.clip((values[:, -len(self.axes) :] - low) / (high - low), 0.0, 1.0)
        places = np.minimum((share * sizes).astype(np.intp), sizes - 1)
        return np.asarray(np.ravel_multi_index(tuple(places.T), self._sizes), dtype=np.intp)

    def _bred(self) -> Brood:
        random, rows, extra = self.random(BREEDING), self._occupied(), self.immigrants()
        if not len(rows):
            drawn = self.box.draw(random, self.size)
            return Brood(drawn, ((),) * self.size, ("drawn",) * self.size)
        one, two = rows[random.integers(len(rows), size=(2, self.size))]
        vectors = np.concatenate([self._moved(self._vectors[one], self._vectors[two], random), extra.vectors])
        births = self._births
        parents = tuple((births[a], births[b]) for a, b in zip(one.tolist(), two.tolist(), strict=True))
        operators = ("crossover",) * self.size + extra.operators
        return Brood(vectors, parents + extra.parents, operators)

    def _moved(self, start: Array, other: Array, random: np.random.Generator) -> Array:
        count = len(start)
        moved = start + ISO * (self.box.upper - self.box.lower) * random.standard_normal(start.shape)
        moved += LINE * random.standard_normal((count, 1)) * (other - start)
        if self.box.integers:
            whole = slice(self.box.reals, None)
            taken = np.where(random.random(start.shape) < EXCHANGED, other, start)[:, whole]
            fresh = self.box.place(random.random(start.shape))[:, whole]
            moved[:, whole] = np.where(random.random(taken.shape) < self.mutation_rate, fresh, taken)
        return self.box.snap(moved)


def _longer(array: Array) -> Array:
    return np.concatenate([array, np.empty_like(array)])
