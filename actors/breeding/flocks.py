"""Steady breeding: no generation waits for its slowest genome; each lane asks for another as soon as it is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from actors.evolving.engine import FAILED
from actors.evolving.steady import Asked
from chimera.clock import Clock

from .log import Told
from .measuring import Measuring
from .nursery import Born
from .score import Score

if TYPE_CHECKING:
    from .generations import Generations

RECOUNTED = 3
"""Elites that are measured on all training tasks after each generation."""


class Flocks:
    """Keeps the lanes of every island busy, and closes a generation whenever enough genomes were measured.

    The order in which the engine is told is the order in which the log is written, without a pause in between: so the
    log rebuilds the engine to the bit.

    Args:
        owner: Has the engines and ends generations.
        measuring: Measures genomes.
        clock: Time.
    """

    def __init__(self, owner: Generations, measuring: Measuring, clock: Clock) -> None:
        self._owner, self._measuring, self._clock = owner, measuring, clock
        self._scores: list[Score] = []
        self._began = clock.monotonic()
        self._recounted: set[tuple[int, int]] = set()

    async def run(self) -> None:
        """Breed until something else is due; what is under way then is finished."""
        stock = self._owner.stock
        self._scores = self._owner.unclosed()
        async with anyio.create_task_group() as group:
            for island in range(stock.islands):
                for _ in range(self._measuring.lanes(island)):
                    group.start_soon(self._lane, island)

    async def _lane(self, island: int) -> None:
        flock = self._owner.stock.flocks[island]
        while self._owner.due():
            asked = flock.ask()
            score = await self._measuring.one(island, asked.vector, self._bar(island))
            await self._tell(island, asked, score)

    def _bar(self, island: int) -> float | None:
        """Fitness of the worst member: a newcomer that is worse does not enter."""
        flock = self._owner.stock.flocks[island]
        members = flock.population
        if len(members) < flock.size:
            return None
        worst = float(members.values[:, 0].max())
        return -worst if worst < FAILED else None

    async def _tell(self, island: int, asked: Asked, score: Score) -> None:
        owner, at = self._owner, self._clock.time()
        flock = owner.stock.flocks[island]
        flock.tell(asked.number, score.losses)
        told = Told(
            id=owner.id, island=island, number=asked.number, asked=flock.asked, losses=list(score.losses),
            half_width=score.half_width,
        )  # fmt: skip
        record = owner.nursery.record(
            island, Born(asked.number, asked.vector, asked.parents, asked.operator), score, owner.number, at
        )
        flock.records()
        self._scores.append(score)
        if len(self._scores) < sum(one.size for one in owner.stock.flocks):
            await owner.write(record, told)
            return
        bred = owner.bred(self._scores, at=at, seconds=self._clock.monotonic() - self._began)
        owner.close(bred)
        self._scores, self._began = [], self._clock.monotonic()
        await owner.write(record, told, bred)
        await self._recount(island)

    async def _recount(self, island: int) -> None:
        """Measure the best members on all training tasks: whoever was only lucky loses its place."""
        flock = self._owner.stock.flocks[island]
        best = flock.emigrants(RECOUNTED)
        for birth, vector in zip(best.births, best.vectors, strict=True):
            if birth[0] != island or birth in self._recounted or not self._owner.due():
                continue
            self._recounted.add(birth)
            score = await self._measuring.whole(vector)
            if flock.update(birth, score.losses):
                flock.records()
                await self._owner.write(Told(
                    id=self._owner.id, island=island, number=birth[1], asked=flock.asked,
                    losses=list(score.losses), half_width=score.half_width, again=True,
                ))  # fmt: skip
