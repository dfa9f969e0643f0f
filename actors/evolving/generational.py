"""Engines whose population is replaced as a whole by what bred it: the base of ``cmaes``, and ``gaco`` of pygmo.

What they know beyond the population (a covariance, pheromones) is in their kernel. That of pygmo can't be read or
written: after a resize it begins again from the members.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol

import numpy as np

from .box import Array, Box
from .engine import BREEDING, Asking, Brood, Engine, Evaluate, Members, Setup, ranking
from .pagmo import Evolver
from .seeds import derive

ELITE = 32
"""How many of the best genomes ever seen are remembered: what islands send, and what a restart begins with."""

GACO_MOST = 60_000
"""Most genes of a population of ``gaco``: about 10 ms a generation in which no other thread runs."""


class Kernel(Protocol):
    """What breeds: a population goes in, the next one comes out."""

    def evolve(self, seed: int, measure: Evaluate) -> tuple[Array, Array]:
        """The next population; if ``measure`` raises, all is as before."""
        ...

    def put(self, row: int, vector: Array, value: Array) -> None:
        """Replace a member."""
        ...


class Replacing(Engine):
    """One generation a call of a kernel, with a seed of its own for each."""

    def __init__(self, box: Box, setup: Setup, given: Array | None = None) -> None:
        super().__init__(box, setup, given)
        nobody = Members(np.empty((0, box.width)), np.empty((0, self.columns)), ())
        self._members, self._elite = nobody, nobody
        self._kernel: Kernel | None = None

    @property
    def population(self) -> Members:
        """Those of the last generation."""
        return self._members

    def emigrants(self, count: int) -> Members:
        """The best seen in any generation."""
        return self._elite.take(range(min(count, len(self._elite))))

    def receive(self, members: Members) -> None:
        """Let members in, for the worst of the last generation and among the remembered ones."""
        count = max(min(len(members), len(self._members) - 1), 0)
        worst = ranking(self._members.values, self.setup.objectives)[::-1][:count].tolist()
        self._replace(worst, members.take(range(count)))

    @abstractmethod
    def kernel(self, members: Members) -> Kernel:
        """What breeds from here on, from these members."""

    def operators(self, count: int) -> tuple[str, ...]:
        """How the vectors came about that the kernel asks for."""
        return ("sampled",) * count

    def _found(self, brood: Brood, values: Array, first: int) -> None:
        self._restart(Members(brood.vectors, values, self.births(first, len(values))))

    def _restart(self, members: Members) -> None:
        self._remember(members)
        self._begin(members)

    def _begin(self, members: Members) -> None:
        """With exactly ``size`` members: the best of these, repeated where there are too few."""
        if len(members) != self.size:
            order = ranking(members.values, self.setup.objectives).tolist()
            members = members.take([order[place % len(order)] for place in range(self.size)])
        self._members = members
        self._kernel = self.kernel(members)

    def _advance(self, asking: Asking) -> None:
        extra, bred = self.immigrants(), 0

        def measure(vectors: Array) -> Array:
            nonlocal bred
            bred = len(vectors)
            sampled = Brood(vectors, ((),) * bred, self.operators(bred))
            return asking(_joined(sampled, extra))[:bred]

        assert self._kernel is not None  # noqa: S101 - the first step made it
        seed = derive(self.setup.seed, BREEDING, self.setup.island, self.generation)
        vectors, values = self._kernel.evolve(seed, measure)
        self._members = Members(vectors, values, self.births(self.asked, bred))
        self._remember(self._members)
        if len(extra.vectors):
            self._let_in(asking, extra, bred)

    def _let_in(self, asking: Asking, extra: Brood, bred: int) -> None:
        said = asking.cleaned()[bred:]
        self.receive(Members(extra.vectors, said, self.births(self.asked + bred, len(said))))

    def _replace(self, rows: list[int], members: Members) -> None:
        vectors, values = self._members.vectors.copy(), self._members.values.copy()
        births = list(self._members.births)
        for place, row in enumerate(rows):
            vectors[row], values[row] = members.vectors[place], members.values[place]
            births[row] = members.births[place]
            assert self._kernel is not None  # noqa: S101 - members came with it
            self._kernel.put(row, vectors[row], values[row])
        self._members = Members(vectors, values, tuple(births))
        self._remember(members)

    def _remember(self, members: Members) -> None:
        best = members.take(ranking(members.values, self.setup.objectives)[:ELITE])
        both = _merged(self._elite, best)
        self._elite = both.take(ranking(both.values, self.setup.objectives)[:ELITE])

    def _resized(self) -> None:
        self._begin(_merged(self._elite, self._members))


class Gaco(Replacing):
    """Extended ant colony optimisation (Schlueter et al., Computers & Operations Research 2009): mixed, with limits.

    Raises:
        ValueError: If the population has more than ``GACO_MOST`` genes.
    """

    name = "gaco"

    def __init__(self, box: Box, setup: Setup, given: Array | None = None) -> None:
        super().__init__(box, setup, given)
        self._check(setup.size)

    def configure(self, *, size: int | None = None, mutation_rate: float | None = None) -> None:
        """Another size from the next step on; pheromones begin again, and there is no mutation.

        Raises:
            ValueError: If the population has more than ``GACO_MOST`` genes.
        """
        self._check(self.size if size is None else size)
        super().configure(size=size, mutation_rate=mutation_rate)

    def kernel(self, members: Members) -> Kernel:
        """The algorithm of pygmo, which is not to stop by itself."""
        never = (1 << 31) - 1
        options: dict[str, Any] = {"ker": min(63, self.size), "impstop": never, "evalstop": never, "memory": True}
        return Evolver("gaco", options, self.box, members.vectors, members.values, objectives=self.setup.objectives)

    def _check(self, size: int) -> None:
        if size * self.box.width > GACO_MOST:
            most = GACO_MOST // self.box.width
            raise ValueError(f"gaco takes at most {most} genomes of {self.box.width} genes; use islands, or 'steady'")


def _joined(first: Brood, second: Brood) -> Brood:
    if not len(second.vectors):
        return first
    vectors = np.concatenate([first.vectors, second.vectors])
    return Brood(vectors, first.parents + second.parents, first.operators + second.operators)


def _merged(first: Members, second: Members) -> Members:
    vectors = np.concatenate([first.vectors, second.vectors])
    values = np.concatenate([first.values, second.values])
    return Members(vectors, values, first.births + second.births)
