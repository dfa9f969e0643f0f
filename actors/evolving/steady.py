"""A genetic algorithm without generations: a child is made whenever somebody is free to measure it.

    engine = Steady(codec.box, Setup(size=100, seed=7), given)
    asked  = engine.ask()                        # many may be open at once
    engine.tell(asked.number, [loss], bound)     # in any order; engine.fail(asked.number) if it can't be measured
    elite  = engine.remeasure()                  # a good member that was measured least, to be measured once more
    engine.update(elite.birth, [pooled], bound)  # what is known of it now
    log(engine.records())                        # plain tuples: the calls since the last time
    engine.replay(records)                       # elsewhere: the same state, open asks included

What an ask gives depends on the members at that moment and on (seed, island, number) alone. So how many had been asked
for when something was told is all that a log must say of asks; ``advance`` asks on until so many are.

The operators are pygmo's: tournaments of two, simulated binary crossover, polynomial mutation. A newcomer replaces the
worst member if it is better; better is a smaller ``bound``, the loss a genome has at worst given how little is known of
it, so that luck is no merit. Limits are kept by Deb's rule: who breaks them is worse than who does not. One generation
is as many evaluations of new genomes as there may be members.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from . import pagmo
from .box import Array, Box, digest
from .engine import BREEDING, FAILED, IMMIGRANTS, INITIAL, Birth, DivergedError, Members, Setup
from .herd import Herd
from .seeds import generator, words
from .variation import CROSSED, ETA_CROSSOVER, ETA_MUTATION

ELITES = 10
"""Of how many of the best members the least measured one is measured again."""

TRIES = 4
"""How often a child that is there already is mutated once more."""

Record: TypeAlias = tuple[Any, ...]
"""A call, how many had been asked for by then, and what went in: texts, numbers, lists and bytes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A vector to be measured.

    Attributes:
        number: Counted from 0 over all asks of the engine.
        vector: (n,).
        parents: Of which it came.
        operator: ``known``, ``drawn``, ``immigrant``, ``crossover`` or ``mutation``.
    """

    number: int
    vector: Array
    parents: tuple[Birth, ...]
    operator: str


@dataclass(frozen=True, slots=True)
class Elite:
    """A member that is worth another measurement; ``measured`` is how often it was measured."""

    birth: Birth
    vector: Array
    values: tuple[float, ...]
    measured: int


class Steady:
    """See the module.

    Args:
        box: Where vectors live.
        setup: One objective; size and mutation rate may change later.
        given: Vectors known beforehand, (g, n): the first ones asked for.

    Raises:
        ValueError: If several objectives are set up.
    """

    name: ClassVar[str] = "steady"
    receives: ClassVar[bool] = True

    def __init__(self, box: Box, setup: Setup, given: Array | None = None) -> None:
        if setup.objectives > 1:
            raise ValueError("steady knows one objective: use 'nsga2' for several")
        self.box, self.setup = box, setup
        self.size, self.mutation_rate = setup.size, setup.mutation_rate
        known = box.snap(given)[: setup.size] if given is not None and len(given) else np.empty((0, box.width))
        drawn = box.draw(generator(setup.seed, INITIAL, setup.island), setup.size - len(known))
        self._known, self._initial = len(known), np.concatenate([known, drawn])
        self.asked = self.told = 0
        self.open: dict[int, Asked] = {}
        self._herd = Herd(box.width, 1 + setup.constraints)
        self._busy: set[Birth] = set()
        self._copies: dict[bytes, int] = {}
        self._immigrants = 0
        self._records: list[Record] = []

    @property
    def generation(self) -> int:
        """Finished ones: told evaluations of new genomes by the present size."""
        return self.told // self.size

    @property
    def population(self) -> Members:
        """The members in the order of their places."""
        return self._herd.members()

    def emigrants(self, count: int) -> Members:
        """The best members, best first."""
        members = self._herd.members()
        return members.take(self._herd.order()[:count])

    def records(self) -> list[Record]:
        """The calls since this was last asked for, for ``replay``."""
        taken, self._records = self._records, []
        return taken

    def ask(self) -> Asked:
        """The next vector: known ones, drawn ones, then children of the members there are by now."""
        number = self.asked
        if number < len(self._initial):
            operator = "known" if number < self._known else "drawn"
            asked = Asked(number, self._initial[number], (), operator)
        elif self._immigrants:
            self._immigrants -= 1
            asked = Asked(number, self._drawn(number), (), "immigrant")
        elif len(self._herd) < 2:  # noqa: PLR2004 - a pair
            asked = Asked(number, self._drawn(number), (), "drawn")
        else:
            asked = self._child(number)
        self.asked += 1
        self.open[number] = asked
        self._count(asked.vector, 1)
        return asked

    def tell(self, number: int, values: Sequence[float], bound: float | None = None) -> None:
        """The loss, then constraints, of an open ask.

        Args:
            number: Of the ask.
            values: Not finite = failed.
            bound: The loss at worst; the loss itself if nothing is said.

        Raises:
            ValueError: If nothing of this number is open, or the number of values is wrong.
        """
        if number not in self.open:
            raise ValueError(f"nothing with number {number} is open")
        row, worst = self._sound(values, bound)
        asked = self.open.pop(number)
        self._note("tell", number, digest(asked.vector), [float(one) for one in values], bound)
        self.told += 1
        self._count(asked.vector, -1)
        birth = (self.setup.island, number)
        self._enter(birth, asked.vector, row, worst, always=asked.operator == "immigrant")

    def fail(self, number: int) -> None:
        """An open ask can't be measured: it counts as an evaluation, and as worse than anything.

        Raises:
            ValueError: If nothing of this number is open.
        """
        self.tell(number, [FAILED] * (1 + self.setup.constraints))

    def remeasure(self) -> Elite | None:
        """Of the best members the least measured one that is not being measured; ``None`` if all are."""
        herd = self._herd
        free = [place for place in herd.order()[:ELITES] if herd.births[place] not in self._busy]
        if not free:
            return None
        place = min(free, key=lambda one: herd.measured[one])
        self._busy.add(herd.births[place])
        values = tuple(herd.values[place].tolist())
        return Elite(herd.births[place], herd.vectors[place].copy(), values, herd.measured[place])

    def update(self, birth: Birth, values: Sequence[float] | None, bound: float | None = None) -> bool:
        """What is now known of a member, all its measurements together; ``None`` if this one came to nothing.

        Returns:
            False if it is a member no more, which changes nothing.

        Raises:
            ValueError: If the number of values is wrong.
        """
        birth = (birth[0], birth[1])
        self._busy.discard(birth)
        if values is None:
            return False
        row, worst = self._sound(values, bound)
        self._note("update", list(birth), [float(one) for one in values], bound)
        return self._herd.renew(birth, row, worst)

    def configure(self, *, size: int | None = None, mutation_rate: float | None = None) -> None:
        """Another size (the worst leave, or newcomers enter freely until it is reached) or mutation rate, at once.

        Raises:
            ValueError: If there are fewer than two, or the rate is not a probability above 0.
        """
        wanted = self.size if size is None else size
        rate = self.mutation_rate if mutation_rate is None else mutation_rate
        Setup(size=wanted, mutation_rate=rate)
        self._note("configure", wanted, rate)
        self.size, self.mutation_rate = wanted, rate
        self._initial = self._initial[: max(wanted, self.asked)]
        for vector in self._herd.shrink(wanted):
            self._count(vector, -1)

    def immigrate(self, count: int) -> None:
        """The next ``count`` asks are drawn at random, and what they give enters for the worst member in any case."""
        self._note("immigrate", count)
        self._immigrants = count

    def receive(self, members: Members) -> None:
        """Members of another island, each for the worst one here."""
        taken = members.take(range(min(len(members), max(len(self._herd) - 1, 0))))
        self._note("receive", taken.vectors.tolist(), taken.values.tolist(), [list(birth) for birth in taken.births])
        for vector, row, birth in zip(taken.vectors, taken.values, taken.births, strict=True):
            self._enter(birth, vector, row, float(row[0]), always=True)

    def advance(self, asked: int) -> None:
        """Ask until so many have been asked for: what is open then is what was open when the log said so."""
        while self.asked < asked:
            self.ask()

    def replay(self, records: Iterable[Record]) -> None:
        """The calls of a log, in their order; ``advance`` then opens what had been asked for after the last of them.

        Raises:
            DivergedError: If another vector would be asked for than the log has.
        """
        for kind, asked, *rest in records:
            self.advance(asked)
            self._REPLAYED[kind](self, *rest)
        self._records = []

    def _tell_again(self, number: int, expected: bytes, values: Sequence[float], bound: float | None) -> None:
        if digest(self.open[number].vector) != expected:
            raise DivergedError(f"genome {number} of {self.name} is not the one in its log")
        self.tell(number, values, bound)

    def _configure_again(self, size: int, rate: float) -> None:
        self.configure(size=size, mutation_rate=rate)

    def _receive_again(
        self, vectors: list[list[float]], values: list[list[float]], births: list[tuple[int, int]]
    ) -> None:
        names = tuple((island, number) for island, number in births)
        rows = np.array(vectors, dtype=np.float64).reshape(len(names), self.box.width)
        self.receive(Members(rows, np.array(values, dtype=np.float64).reshape(len(names), self._herd.columns), names))

    _REPLAYED: ClassVar[dict[str, Any]] = {
        "tell": _tell_again, "update": update, "configure": _configure_again, "immigrate": immigrate,
        "receive": _receive_again,
    }  # fmt: skip

    def _note(self, kind: str, *what: Any) -> None:
        self._records.append((kind, self.asked, *what))

    def _sound(self, values: Sequence[float], bound: float | None) -> tuple[Array, float]:
        if len(values) != self._herd.columns:
            raise ValueError(f"{self._herd.columns} values are needed, not {len(values)}")
        sound = all(map(math.isfinite, values))
        row = np.array([min(max(one, -FAILED), FAILED) if sound else FAILED for one in values], dtype=np.float64)
        loss = float(row[0])
        return row, loss if bound is None or not math.isfinite(bound) else min(max(bound, loss), FAILED)

    def _enter(self, birth: Birth, vector: Array, row: Array, bound: float, *, always: bool) -> None:
        herd = self._herd
        if birth in herd:
            herd.renew(birth, row, bound)
        elif len(herd) < self.size:
            herd.add(birth, vector, row, bound)
            self._count(vector, 1)
        else:
            worst = herd.worst()
            if always or herd.better(row, bound, worst):
                self._count(herd.vectors[worst], -1)
                herd.put(worst, birth, vector, row, bound)
                self._count(vector, 1)

    def _count(self, vector: Array, by: int) -> None:
        """How often a vector is among members and open asks."""
        key = vector.tobytes()
        self._copies[key] = self._copies.get(key, 0) + by
        if not self._copies[key]:
            del self._copies[key]

    def _drawn(self, number: int) -> Array:
        return self.box.draw(generator(self.setup.seed, IMMIGRANTS, self.setup.island, number), 1)[0]

    def _child(self, number: int) -> Asked:
        chance = words(self.setup.seed, BREEDING, self.setup.island, number)
        herd = self._herd
        first, second = herd.tournament(chance[0], chance[1]), herd.tournament(chance[2], chance[3])
        one, two = herd.vectors[first], herd.vectors[second]
        child = pagmo.crossover(one, two, self.box, rate=CROSSED, eta=ETA_CROSSOVER, seed=chance[4])
        crossed = not np.array_equal(child, one)
        for again in range(TRIES):
            rate = max(self.mutation_rate, 1.0 / self.box.width) if again else self.mutation_rate
            child = self._mutated(child, rate, chance[5 + again])
            if child.tobytes() not in self._copies:
                break
        places = (first, second) if crossed else (first,)
        parents = tuple(herd.births[place] for place in places)
        return Asked(number, child, parents, "crossover" if crossed else "mutation")

    def _mutated(self, vector: Array, rate: float, seed: int) -> Array:
        return self.box.snap(pagmo.mutation(vector, self.box, rate=rate, eta=ETA_MUTATION, seed=seed)[None])[0]
