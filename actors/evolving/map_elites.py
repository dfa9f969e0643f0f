"""MAP-Elites (Mouret and Clune, arXiv 1504.04909): for each kind of behaviour the best genome that shows it.

    engine = MapElites(codec.box, Setup(size=64, seed=7), given, axes=(Axis(0.0, 1.0, 16), Axis(-1.0, 1.0, 16)))
    engine.step(evaluate)            # evaluate gives loss, constraints, then one descriptor per axis: (m, 1 + c + 2)
    engine.cells(), engine.coverage, engine.score(reference)

Children move from one elite by a step in all directions and along the line to another one (iso+line: Vassiliades and
Mouret, GECCO 2018, arXiv 1804.03906): elites lie near one manifold, so lines between them stay on it. Their step of
0.01 of the box is too short far from the goal and too long near it, so each child draws its own between ``ISO``.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# numpy leaves open what drawing and arithmetic give

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .box import Array, Box
from .engine import BREEDING, FAILED, Asking, Birth, Brood, Engine, Members, Setup, cleaned, ranking, violation

ISO = (0.001, 0.1)
"""Shortest and longest isotropic step of a child, in widths of the box; drawn evenly by factors."""

LINE = 0.2
"""Step along the line to another elite, in lengths of that line."""

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
        self._elites: dict[int, int] = {}
        self._vectors = np.empty((0, box.width))
        self._values = np.empty((0, self.columns))
        self._births: list[Birth] = []

    @property
    def columns(self) -> int:
        """Loss, constraints, descriptors."""
        return 1 + self.setup.constraints + len(self.axes)

    @property
    def population(self) -> Members:
        """The elites in the order of their cells."""
        rows = [self._elites[cell] for cell in sorted(self._elites)]
        return Members(self._vectors[rows], self._values[rows], tuple(self._births[row] for row in rows))

    @property
    def coverage(self) -> float:
        """Share of the cells that have a genome."""
        return len(self._elites) / int(np.prod([axis.cells for axis in self.axes]))

    def score(self, reference: float) -> float:
        """The QD score: by how much the losses of all elites are below ``reference``, summed (Pugh et al. 2016)."""
        losses = self.population.values[:, 0]
        return float(np.maximum(reference - losses, 0.0).sum())

    def cells(self) -> list[Elite]:
        """The map, in the order of its cells."""
        sizes = [axis.cells for axis in self.axes]
        return [
            Elite(
                tuple(int(place) for place in np.unravel_index(cell, sizes)), self._births[row],
                self._vectors[row].copy(), tuple(self._values[row].tolist()),
            )
            for cell, row in sorted(self._elites.items())
        ]  # fmt: skip

    def emigrants(self, count: int) -> Members:
        """The best elites, best first."""
        members = self.population
        return members.take(ranking(members.values[:, : -len(self.axes)])[:count].tolist())

    def receive(self, members: Members) -> None:
        """Let genomes in where they are better than what the map has."""
        self._place(members)

    def update(self, birth: Birth, values: Sequence[float]) -> bool:
        """What is now known of an elite; it moves to the cell where it belongs. False if it is none any more."""
        found = [cell for cell, row in self._elites.items() if self._births[row] == tuple(birth)]
        if not found:
            return False
        row = self._elites.pop(found[0])
        known = cleaned(np.array([values], dtype=np.float64))
        self._place(Members(self._vectors[row : row + 1].copy(), known, (self._births[row],)))
        return True

    def _found(self, brood: Brood, values: Array, first: int) -> None:
        self._place(Members(brood.vectors, values, self.births(first, len(values))))

    def _restart(self, members: Members) -> None:
        self._elites.clear()
        self._place(members)

    def _resized(self) -> None:
        """The next step has another number of children."""

    def _advance(self, asking: Asking) -> None:
        brood = self._bred()
        values = asking(brood)
        self._place(Members(brood.vectors, values, self.births(self.asked, len(values))))

    def _place(self, members: Members) -> None:
        first = len(self._births)
        self._vectors = np.concatenate([self._vectors, members.vectors])
        self._values = np.concatenate([self._values, members.values])
        self._births.extend(members.births)
        broken = violation(self._values[:, : -len(self.axes)], 1)
        for row, cell in enumerate(self._cells(members.values), first):
            if self._values[row, 0] >= FAILED:
                continue
            rival = self._elites.get(cell)
            if rival is None or (broken[row], self._values[row, 0]) < (broken[rival], self._values[rival, 0]):
                self._elites[cell] = row
        self._compact()

    def _compact(self) -> None:
        """Forget who is no elite."""
        rows = list(self._elites.values())
        self._vectors, self._values = self._vectors[rows], self._values[rows]
        self._births = [self._births[row] for row in rows]
        self._elites = {cell: row for row, cell in enumerate(self._elites)}

    def _cells(self, values: Array) -> list[int]:
        low = np.array([axis.low for axis in self.axes])
        high = np.array([axis.high for axis in self.axes])
        sizes = np.array([axis.cells for axis in self.axes])
        share = np.clip((values[:, -len(self.axes) :] - low) / (high - low), 0.0, 1.0)
        places = np.minimum((share * sizes).astype(np.intp), sizes - 1)
        return [int(cell) for cell in np.ravel_multi_index(tuple(places.T), tuple(sizes.tolist()))]

    def _bred(self) -> Brood:
        random, members, extra = self.random(BREEDING), self.population, self.immigrants()
        if not len(members):
            drawn = self.box.draw(random, self.size)
            return Brood(drawn, ((),) * self.size, ("drawn",) * self.size)
        one, two = random.integers(len(members), size=(2, self.size))
        vectors = np.concatenate([self._moved(members.vectors[one], members.vectors[two], random), extra.vectors])
        births = members.births
        parents = tuple((births[a], births[b]) for a, b in zip(one.tolist(), two.tolist(), strict=True))
        operators = ("crossover",) * self.size + extra.operators
        return Brood(vectors, parents + extra.parents, operators)

    def _moved(self, start: Array, other: Array, random: np.random.Generator) -> Array:
        count = len(start)
        steps = np.exp(random.uniform(np.log(ISO[0]), np.log(ISO[1]), (count, 1))) * (self.box.upper - self.box.lower)
        moved = start + steps * random.standard_normal(start.shape)
        moved += LINE * random.standard_normal((count, 1)) * (other - start)
        if self.box.integers:
            whole = slice(self.box.reals, None)
            taken = np.where(random.random(start.shape) < EXCHANGED, other, start)[:, whole]
            fresh = self.box.place(random.random(start.shape))[:, whole]
            moved[:, whole] = np.where(random.random(taken.shape) < self.mutation_rate, fresh, taken)
        return self.box.snap(moved)
