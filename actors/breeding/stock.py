"""The engines of an evolution's islands: made from its request, and made again from its log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from actors.evolving.box import Array
from actors.evolving.codec import Codec
from actors.evolving.engine import FAILED, DivergedError, Engine, Members, Setup
from actors.evolving.engines import Name, make
from actors.evolving.islands import Islands
from actors.evolving.map_elites import Axis
from actors.evolving.seeds import generator
from actors.evolving.steady import Steady

from .fold import EvolutionFold
from .log import Bred, Told
from .score import Score

_AROUND = 17
"""What randomness is for, as in ``actors.evolving.engine``."""


class Stock:
    """Engines, one per island, that were given all that the log says.

    Args:
        fold: The evolution.
        codec: Genomes and vectors.
        columns: Objectives, constraints and descriptors of each loss.
    """

    def __init__(self, fold: EvolutionFold, codec: Codec, columns: tuple[int, int, int]) -> None:
        self._fold, self._codec = fold, codec
        self.islands = max(1, len(fold.began.islands))
        self.steady = fold.began.config.algorithm == "steady"
        self._columns = columns
        self.known: list[int] = []
        self.engines: list[Engine] = []
        self.flocks: list[Steady] = []
        self._diverged: set[int] = set()
        self._unclosed: list[Told] = []
        self._make()

    def rebuild(self) -> None:
        """Do again what the log says was done; on another kind of CPU go on from the recorded population instead."""
        for entry in self._fold.steps:
            if isinstance(entry, Told):
                self._retell(entry)
            else:
                self._rebreed(entry)
        for island in self._diverged:
            self._warm(island)

    def unclosed(self) -> list[Score]:
        """Scores that were told since the last generation was closed, as the log has them."""
        found = [
            Score(
                None if told.losses[0] >= FAILED else -told.losses[0], told.half_width, (), tuple(told.losses), 0, 0.0,
                failure="failed" if told.losses[0] >= FAILED else "",
            )
            for told in self._unclosed
        ]  # fmt: skip
        self._unclosed = []
        return found

    def sizes(self, total: int) -> list[int]:
        """How a population is shared among the islands; each has two genomes at least."""
        each, more = divmod(total, self.islands)
        return [max(2, each + (island < more)) for island in range(self.islands)]

    def settle(self, bred: Bred) -> None:
        """Apply what a finished generation says of the next one."""
        self._unclosed = []
        groups: Sequence[Engine | Steady] = self.flocks if self.steady else self.engines
        if bred.migrated:
            Islands(groups).migrate()
        shares = self.sizes(bred.immigrants) if bred.immigrants >= 2 * self.islands else [0] * self.islands
        if bred.immigrants and not any(shares):
            shares[bred.figures.number % self.islands] = bred.immigrants
        for group, size, immigrants in zip(groups, self.sizes(bred.size), shares, strict=True):
            group.configure(size=size, mutation_rate=bred.mutation_rate)
            if immigrants:
                group.immigrate(immigrants)

    def population(self, island: int) -> Members:
        """An island's present members."""
        return (self.flocks if self.steady else self.engines)[island].population

    def vectors(self) -> Array:
        """All present members of all islands, (m, n)."""
        return np.concatenate([self.population(island).vectors for island in range(self.islands)])

    # -- making --------------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        began = self._fold.began
        objectives, constraints, _ = self._columns
        for island, size in enumerate(self.sizes(began.config.population_size)):
            setup = Setup(
                size=size, seed=began.seed, island=island, mutation_rate=began.config.mutation_rate,
                objectives=objectives, constraints=constraints, reach=began.request.reach,
            )  # fmt: skip
            given = self._given(island, size, setup.near(self._codec.box.width))
            axes = [Axis(axis.low, axis.high, axis.cells) for axis in began.descriptors]
            made = make(cast("Name", began.config.algorithm), self._codec.box, setup, given, axes)
            if isinstance(made, Steady):
                self.flocks.append(made)
            else:
                self.engines.append(made)

    def _given(self, island: int, size: int, near: float) -> Array:
        """Genomes that are known, then others around them: for half of the rest, or all of it if nobody crosses them.

        A distribution has no use for genomes from anywhere: it begins around the best one.
        """
        request, base = self._fold.began.request, self._fold.began.release.genome
        known = [*([base] if request.from_live else []), *({**base, **start} for start in request.start)]
        mine = known[island :: self.islands] or known[:1]
        self.known.append(min(len(mine), size))
        if not mine:
            return np.empty((0, self._codec.box.width))
        rows = self._codec.encode_all(mine)[:size]
        rest = size - len(rows)
        count = rest if self._fold.began.config.algorithm == "cmaes" else rest // 2
        drawn = generator(self._fold.began.seed, _AROUND, island)
        box = self._codec.box
        steps = drawn.normal(0.0, near, (count, box.width)) * (box.upper - box.lower)
        return np.concatenate([rows, box.snap(rows[np.arange(count) % len(rows)] + steps)])

    # -- making again --------------------------------------------------------------------------------------------------

    def _retell(self, entry: Told) -> None:
        flock = self.flocks[entry.island]
        flock.advance(entry.asked)
        if entry.again:
            flock.update((entry.island, entry.number), entry.losses)
        else:
            flock.tell(entry.number, entry.losses)
            self._unclosed.append(entry)
        flock.records()

    def _rebreed(self, bred: Bred) -> None:
        for island, engine in enumerate(self.engines):
            if island in self._diverged:
                continue
            try:
                engine.again(bred.digests[island], bred.losses[island])
            except DivergedError:
                self._diverged.add(island)
        self.settle(bred)

    def _warm(self, island: int) -> None:
        """Go on from the genomes of the last generation, as they stand in the log."""
        fold, engine = self._fold, self.engines[island]
        fold.rebuilt_otherwise = True
        bred = fold.bred[-1]
        records = sorted((one for one in fold.latest if one.island == island), key=lambda one: one.number)
        members = Members(
            self._codec.encode_all([{**fold.began.release.genome, **one.genes} for one in records]),
            np.array(bred.losses[island]), tuple((island, one.number) for one in records),
        )  # fmt: skip
        engine.warm(members, fold.generation, records[-1].number + 1)
