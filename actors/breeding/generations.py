"""Breeding: engines ask for genomes, agents measure them, the log takes both; generation after generation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import numpy as np
from msgspec.structs import replace

from actors.evolving.box import Array
from actors.evolving.convergence import Convergence
from actors.evolving.engine import FAILED, Step
from actors.evolving.record import GenomeRecord
from chimera.clock import Clock

from .flocks import Flocks
from .fold import EvolutionFold
from .log import Bred
from .measuring import Measuring
from .nursery import Born, Nursery
from .score import Score
from .stock import Stock


class Generations:
    """The engines of one evolution at work.

    Args:
        fold: The evolution.
        measuring: Measures genomes.
        write: Stores entries, then has the fold take them.
        clock: Time.
    """

    def __init__(
        self, fold: EvolutionFold, measuring: Measuring, *, write: Callable[..., Awaitable[None]], clock: Clock
    ) -> None:  # fmt: skip
        self._fold, self._measuring, self._write, self._clock = fold, measuring, write, clock
        self.stock = Stock(fold, measuring.codec, measuring.columns)
        self.nursery = Nursery(fold, measuring.codec, self.stock.known)
        self._flocks = Flocks(self, measuring, clock) if self.stock.steady else None
        self.number = fold.generation

    @property
    def id(self) -> str:
        """The evolution's."""
        return self._fold.id

    @property
    def names(self) -> list[str]:
        """Of the genes, in the order of the columns."""
        return list(self._measuring.codec.names)

    @property
    def bar(self) -> float | None:
        """Fitness of the last generation's middle genome: who can't reach it need not be measured to the end.

        Elites, ants and a covariance matrix learn from the better half alone.
        """
        return self._fold.middle()

    def unclosed(self) -> list[Score]:
        """Genomes of steady engines since the last generation was closed, as far as figures need them."""
        return self.stock.unclosed()

    def close(self, bred: Bred) -> None:
        """A steady generation is closed: its entry is written next."""
        self.number = bred.figures.number + 1
        self.stock.settle(bred)

    async def rebuild(self) -> None:
        """Bring the engines to where the log ends."""
        await anyio.to_thread.run_sync(self.stock.rebuild)
        self.number = self._fold.generation

    async def one(self) -> bool:
        """Breed a generation; a steady engine goes on until something else is due. True if it was not broken off."""
        if self._flocks is not None:
            await self._flocks.run()
        else:
            await self._generation()
        return True

    def due(self) -> bool:
        """Whether another genome should be asked for."""
        more = self.number < self._fold.began.request.generations
        return more and self._fold.next(self._clock.time()) == "breed"

    async def write(self, *entries: Any) -> None:
        """Store entries, all of them, whoever breaks off what."""
        with anyio.CancelScope(shield=True):
            await self._write(*entries)

    # -- a generation of all islands -----------------------------------------------------------------------------------

    async def _generation(self) -> None:
        began, islands = self._clock.monotonic(), range(self.stock.islands)
        steps: dict[int, Step] = {}
        scores: dict[int, list[Score]] = {}
        async with anyio.create_task_group() as group:
            for island in islands:
                group.start_soon(self._step, island, steps, scores)
        at, number = self._clock.time(), self.number
        records = list[GenomeRecord]()
        for island in islands:
            records += await anyio.to_thread.run_sync(
                self._records, island, steps[island], scores[island], number, at
            )  # fmt: skip
        measured = [score for island in islands for score in scores[island]]
        bred = self.bred(
            measured, at=at, seconds=self._clock.monotonic() - began,
            digests=[steps[island].digest for island in islands],
            losses=[steps[island].values.tolist() for island in islands],
        )  # fmt: skip
        await self.write(*records, bred)
        self.number += 1
        await anyio.to_thread.run_sync(self.stock.settle, bred)

    async def _step(self, island: int, steps: dict[int, Step], scores: dict[int, list[Score]]) -> None:
        bar = self.bar

        def measure(vectors: Array) -> Array:
            scores[island] = anyio.from_thread.run(self._measuring.batch, island, vectors, bar)
            return np.array([score.losses for score in scores[island]])

        steps[island] = await anyio.to_thread.run_sync(partial(self.stock.engines[island].step, measure))

    def _records(
        self, island: int, step: Step, scores: Sequence[Score], number: int, at: float
    ) -> list[GenomeRecord]:  # fmt: skip
        brood = step.brood
        return [
            self.nursery.record(
                island, Born(step.first + row, brood.vectors[row], brood.parents[row], brood.operators[row]), score,
                number, at,
            )
            for row, score in enumerate(scores)
        ]  # fmt: skip

    # -- its end -------------------------------------------------------------------------------------------------------

    def bred(
        self, scores: Sequence[Score], *, at: float, seconds: float, digests: list[bytes] | None = None,
        losses: list[list[list[float]]] | None = None,
    ) -> Bred:  # fmt: skip
        """The entry that ends a generation, and says how the next one is bred."""
        fold, stock, config = self._fold, self.stock, self._fold.config
        number = self.number
        populations = [stock.population(island) for island in range(stock.islands)]
        vectors = np.concatenate([members.vectors for members in populations])
        first = np.concatenate([members.values for members in populations])[:, 0]
        migrated = stock.islands > 1 and config.migrate_every > 0 and (number + 1) % config.migrate_every == 0
        figures = self.nursery.figures(
            number, at, vectors, first, scores, half_width=_half_width(scores), seconds=seconds,
            action="the best of each island went to the next one" if migrated else "",
        )  # fmt: skip
        found = self.nursery.look(figures)
        advice = found.advice
        immigrants = self._immigrants(found)
        said = "; ".join(word for word in (figures.action, advice.reason if immigrants else "") if word)
        fitness = -first[first < FAILED]
        variety = self.nursery.variety(vectors, fitness)
        return Bred(
            id=fold.id, at=at, figures=replace(figures, action=said), digests=digests or [], losses=losses or [],
            size=config.population_size, immigrants=immigrants, migrated=migrated, stagnant=found.stagnant,
            mutation_rate=min(1.0, config.mutation_rate * advice.mutation_factor), converged=found.converged,
            premature=found.premature, genes=dict(zip(self.names, variety.genes, strict=True)),
            effective=variety.effective, reason=found.describe(),
        )  # fmt: skip

    def _immigrants(self, found: Convergence) -> int:
        """How many genomes are drawn anew. cmaes begins again instead, so only where its search has died early."""
        if self._fold.began.config.algorithm == "cmaes":
            return self._fold.config.population_size if found.premature and not found.stagnant % 10 else 0
        return round(found.advice.immigrants * self._fold.config.population_size)


def _half_width(scores: Sequence[Score]) -> float:
    best = max(
        (score for score in scores if score.fitness is not None), key=lambda one: one.fitness or 0.0, default=None
    )
    return (best.half_width or 0.0) if best is not None else 0.0
