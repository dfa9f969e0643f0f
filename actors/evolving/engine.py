"""Generation engines: one interface for cmaes, gaco, nsga2 and map-elites; the log is their state.

    box    = codec.box                                        # or Box(lower, upper, integers)
    engine = make("nsga2", box, Setup(size=100, seed=7, objectives=2), given=codec.encode_all([live, ...]))
    step   = engine.step(evaluate)       # evaluate(X: (m, n)) -> (m, k) LOSSES, called in the thread that called step
    log(step.digest, step.values)        # that, and calls of configure, immigrate and receive, is all there is to keep
    ...
    engine = make(...the same...)        # later, elsewhere: the same calls in the same order
    engine.again(digest, values)         # = step with the logged values; DivergedError if other vectors would be asked

The first step measures the given genomes and draws the rest; each further one is a generation. A value that is not
finite is a failure, and ranks behind everything. If ``evaluate`` raises, the engine is as before the step.
``configure`` (size, mutation rate), ``immigrate`` and ``receive`` apply from the next step on.

Another CPU's arithmetic may round differently, so that a rebuilt engine asks for other vectors: then ``again`` raises
and ``warm`` starts the engine from the recorded population instead. Within one machine replay is exact to the bit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar, TypeAlias

import numpy as np

from .box import Array, Box, Whole, digest
from .seeds import generator

Evaluate: TypeAlias = Callable[[Array], Array]
"""Losses of vectors, (m, n) to (m, k): objectives, then constraints (kept where <= 0), then descriptors."""

Birth: TypeAlias = tuple[int, int]
"""A genome's name within a run: the island that asked for it, and the number there, counted from 0."""

FAILED = 1e30
"""What counts for a value that is not finite: arithmetic on it stays finite."""

STRIDE, REACH = 0.15, 0.1
"""A first move away from a known genome is about that long in all, and no gene moves by more, in widths of the box.

Eighty genes that each move by a tenth of their range leave little of a genome that was good.
"""

INITIAL, IMMIGRANTS, BREEDING = 1, 2, 3
"""What randomness is for, the second part of its name."""


class DivergedError(ValueError):
    """A rebuilt engine asks for other vectors than its log has: another CPU's arithmetic. Use ``warm``."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What an engine is made with.

    Attributes:
        size: Population.
        seed: Of the run.
        island: Counted from 0; islands with one seed differ.
        mutation_rate: Probability with which a gene is mutated, where an engine mutates genes.
        objectives: Losses of a genome.
        constraints: Figures after the losses that must not be above 0.
        reach: Standard deviation of a gene's first moves away from known genomes, in widths of the box.
    """

    size: int
    seed: int = 0
    island: int = 0
    mutation_rate: float = 0.1
    objectives: int = 1
    constraints: int = 0
    reach: float | None = None

    def near(self, width: int) -> float:
        """How far each of so many genes moves at first, away from known genomes."""
        return min(REACH, STRIDE / math.sqrt(width)) if self.reach is None else self.reach

    def __post_init__(self) -> None:
        if not (self.size >= 2 and 0.0 < self.mutation_rate <= 1.0 and self.objectives >= 1 and self.constraints >= 0):  # noqa: PLR2004 - a pair
            raise ValueError(f"no engine can be made with {self}")


@dataclass(frozen=True, slots=True)
class Members:
    """Genomes with their values, in the caller's order.

    Attributes:
        vectors: (m, n).
        values: (m, k), failures as ``FAILED``.
        births: Where and as which number they were asked for first.
    """

    vectors: Array
    values: Array
    births: tuple[Birth, ...]

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: Sequence[int] | Whole) -> Members:
        """Some of them, in this order."""
        index = np.asarray(rows, dtype=np.intp)
        return Members(self.vectors[index], self.values[index], tuple(map(self.births.__getitem__, index.tolist())))


@dataclass(frozen=True, slots=True)
class Brood:
    """Vectors to be measured, with how they came about.

    Operators are ``known``, ``drawn``, ``immigrant``, ``mean``, ``sampled``, ``crossover``, ``mutation``.
    """

    vectors: Array
    parents: tuple[tuple[Birth, ...], ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A generation that is done; ``digest`` and ``values`` are what a replay needs.

    Attributes:
        generation: Counted from 0, the first one drawn.
        first: Number of the first vector; the others follow.
        brood: What was measured.
        values: As they were given, (m, k).
        digest: Of the vectors.
    """

    generation: int
    first: int
    brood: Brood
    values: Array
    digest: bytes


class Engine(ABC):
    """See the module.

    Args:
        box: Where vectors live.
        setup: Size, seed and the like.
        given: Vectors known beforehand, (g, n): the first members; not more than the size are taken.
    """

    name: ClassVar[str]
    receives: ClassVar[bool] = True
    """Whether migrants make a difference to it."""

    def __init__(self, box: Box, setup: Setup, given: Array | None = None) -> None:
        self.box, self.setup = box, setup
        self.size, self.mutation_rate = setup.size, setup.mutation_rate
        self.generation = 0
        self.asked = 0
        self._given = box.snap(given)[: setup.size] if given is not None and len(given) else np.empty((0, box.width))
        self._immigrants = 0

    @property
    @abstractmethod
    def population(self) -> Members:
        """The present members; nobody before the first step."""

    @property
    def columns(self) -> int:
        """How many figures ``evaluate`` gives of each vector."""
        return self.setup.objectives + self.setup.constraints

    def step(self, evaluate: Evaluate) -> Step:
        """Measure one generation.

        Raises:
            ValueError: If ``evaluate`` gives another shape than (m, k).
        """
        asking = _Asking(self, evaluate)
        if self.generation == 0:
            brood = self._first()
            self._found(brood, asking(brood), self.asked)
        else:
            self._advance(asking)
        done = asking.done()
        self.generation += 1
        self.asked += len(done.values)
        self._immigrants = 0
        return done

    def again(self, expected: bytes, values: Sequence[Sequence[float]] | Array) -> Step:
        """One generation with the values of the log.

        Raises:
            DivergedError: If other vectors would be asked for; the engine is as before.
        """

        def logged(vectors: Array) -> Array:
            if digest(vectors) != expected:
                raise DivergedError(f"generation {self.generation} of {self.name} is not the one in its log")
            return np.asarray(values, dtype=np.float64)

        return self.step(logged)

    def replay(self, steps: Iterable[tuple[bytes, Sequence[Sequence[float]] | Array]]) -> None:
        """Several generations of the log; as ``again``."""
        for expected, values in steps:
            self.again(expected, values)

    def warm(self, members: Members, generation: int, asked: int) -> None:
        """Start from a recorded population, after ``generation`` steps and ``asked`` vectors.

        What an engine learned beyond its population (a covariance matrix, pheromones) is estimated from it.
        """
        self.generation, self.asked, self._immigrants = generation, asked, 0
        vectors, values = self.box.snap(members.vectors), cleaned(members.values)
        self._restart(Members(vectors, values, members.births))

    def configure(self, *, size: int | None = None, mutation_rate: float | None = None) -> None:
        """Another population size or mutation rate from the next step on.

        Raises:
            ValueError: If there are fewer than two, or the rate is not a probability above 0.
        """
        wanted = self.size if size is None else size
        rate = self.mutation_rate if mutation_rate is None else mutation_rate
        Setup(size=wanted, mutation_rate=rate)
        self.mutation_rate = rate
        if wanted != self.size:
            self.size = wanted
            self._given = self._given[:wanted]
            if self.generation:
                self._resized()

    def immigrate(self, count: int) -> None:
        """Draw ``count`` genomes at random in the next step and let them in for the worst."""
        self._immigrants = min(count, self.size - 1)

    def emigrants(self, count: int) -> Members:
        """The best members, best first."""
        members = self.population
        return members.take(ranking(members.values, self.setup.objectives)[:count])

    @abstractmethod
    def receive(self, members: Members) -> None:
        """Let members of elsewhere in, for the worst ones here."""

    @abstractmethod
    def _found(self, brood: Brood, values: Array, first: int) -> None:
        """Begin with the first generation."""

    @abstractmethod
    def _advance(self, asking: _Asking) -> None:
        """Breed, ask once, and select."""

    @abstractmethod
    def _restart(self, members: Members) -> None:
        """Begin with members whose history is not known."""

    @abstractmethod
    def _resized(self) -> None:
        """``size`` has changed."""

    def births(self, first: int, count: int) -> tuple[Birth, ...]:
        """Names of vectors that were asked for one after the other."""
        return tuple(zip(repeat(self.setup.island, count), range(first, first + count), strict=True))

    def random(self, purpose: int) -> np.random.Generator:
        """The generator of a purpose in this generation of this island."""
        return generator(self.setup.seed, purpose, self.setup.island, self.generation)

    def immigrants(self) -> Brood:
        """Those that are due in this step."""
        count = self._immigrants
        if not count:
            return Brood(np.empty((0, self.box.width)), (), ())
        vectors = self.box.draw(self.random(IMMIGRANTS), count)
        return Brood(vectors, ((),) * count, ("immigrant",) * count)

    def _first(self) -> Brood:
        drawn = self.size - len(self._given)
        vectors = np.concatenate([self._given, self.box.draw(self.random(INITIAL), drawn)])
        return Brood(vectors, ((),) * self.size, ("known",) * len(self._given) + ("drawn",) * drawn)


class _Asking:
    """One call of ``evaluate`` within a step, and what it said."""

    def __init__(self, engine: Engine, evaluate: Evaluate) -> None:
        self._engine, self._evaluate = engine, evaluate
        self._step: Step | None = None

    def __call__(self, brood: Brood) -> Array:
        """Values of a brood, failures as ``FAILED``."""
        engine, vectors = self._engine, brood.vectors.view()
        vectors.setflags(write=False)
        values = np.array(self._evaluate(vectors), dtype=np.float64)
        if values.shape != (len(vectors), engine.columns):
            raise ValueError(f"{(len(vectors), engine.columns)} values are needed, not {values.shape}")
        self._step = Step(engine.generation, engine.asked, brood, values, digest(vectors))
        return self.cleaned()

    def cleaned(self) -> Array:
        """What was said, failures as ``FAILED``."""
        return cleaned(self.done().values)

    def done(self) -> Step:
        """What was asked and said."""
        if self._step is None:
            raise ValueError("the engine asked for nothing")
        return self._step


Asking: TypeAlias = _Asking
"""How an engine asks: call it once with a brood."""


def cleaned(values: Array) -> Array:
    """Values with ``FAILED`` throughout each row that has one that is not finite, and none beyond it."""
    found = np.minimum(np.maximum(values, -FAILED), FAILED)
    sound = np.isfinite(values)
    if not sound.all():
        found[~sound.all(axis=1)] = FAILED
    return found


def ranking(values: Array, objectives: int = 1) -> Whole:
    """Rows from the best to the worst: what keeps the constraints first, then by violation, then by the first loss.

    Deb, "An efficient constraint handling method for genetic algorithms" (2000). Equal rows keep their order.
    """
    if values.shape[1] == objectives:
        return values[:, 0].argsort(kind="stable")
    return np.lexsort((values[:, 0], violation(values, objectives)))


def violation(values: Array, objectives: int) -> Array:
    """By how much each row breaks its constraints, summed; 0 where all are kept."""
    return np.maximum(values[:, objectives:], 0.0).sum(axis=1)
