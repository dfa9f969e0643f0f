"""Evolutions as people look at them: the population, its front or map, its diversity; and the one switch that stops."""

from __future__ import annotations

import time

import numpy as np

from actors.evolving import pareto
from actors.evolving.engine import FAILED
from subjects.autonomous import AutonomousView, SetAutonomous
from subjects.evolution import Evolution, StopEvolution
from subjects.evolver import Diversity, GetDiversity, GetPopulation, Member, Population

from .autopilot import Autopilot
from .breeder import Breeder
from .fold import EvolutionFold, Mark
from .generations import Generations
from .score import rises


class Stand:
    """Shows what the breeder has.

    Args:
        breeder: Runs evolutions.
        autopilot: Runs autonomous mode.
    """

    def __init__(self, breeder: Breeder, autopilot: Autopilot) -> None:
        self._breeder, self._autopilot = breeder, autopilot

    async def stop(self, message: StopEvolution) -> Evolution:
        """Cancel an evolution; autonomous mode of its agent is switched off too, if it is on.

        Raises:
            NoEvolutionError: If there is none.
        """
        fold = self._breeder.book.newest(message.id, message.agent)
        await self._off(fold.agent, message.note)
        return await self._breeder.stop(fold, message.note or "stopped by a person")

    async def halt(self, agent: str, why: str) -> None:
        """End whatever changes an agent: autonomous mode and evolutions."""
        await self._off(agent, why)
        for fold in self._breeder.book.running(agent):
            await self._breeder.stop(fold, why)

    async def switch(self, message: SetAutonomous) -> AutonomousView:
        """Switch autonomous mode on or off.

        Raises:
            NoAgentError: If there is no such agent.
            BadGenomeError: If nothing of its genome can be searched.
        """
        if message.on:
            await self._breeder.check(message)
        return await self._autopilot.switch(message)

    async def _off(self, agent: str, why: str) -> None:
        loop = self._autopilot.loops.get(agent)
        if loop is not None and loop.on:
            await self._autopilot.switch(SetAutonomous(agent=agent, on=False, note=why))

    def population(self, message: GetPopulation) -> Population:
        """The population as it stands.

        Raises:
            NoEvolutionError: If there is none of that id.
        """
        book = self._breeder.book
        if not message.id and not book.evolutions:
            return _nobody(self._breeder)
        fold = book.newest(message.id)
        marks, last = fold.members(), fold.bred[-1] if fold.bred else None
        fitness = [mark.fitness for mark in marks if mark.fitness is not None]
        front, knee = _front(fold, marks)
        archive = _archive(fold) if fold.began.config.algorithm == "map-elites" else []
        return Population(
            config=fold.config if fold.ended is None else book.config, evolution=fold.id, agent=fold.agent,
            state=fold.state, generation=fold.generation, size=len(marks), best=max(fitness, default=None),
            mean=sum(fitness) / len(fitness) if fitness else None, worst=min(fitness, default=None),
            convergence=last.reason if last else "no generation is finished yet",
            converged=last.converged if last else False,
            members=[_member(fold, mark) for mark in marks[: message.limit]],
            front=front, knee=knee, archive=[one for one, _ in archive],
            coverage=_coverage(fold, len(archive)) if fold.began.config.algorithm == "map-elites" else None,
        )  # fmt: skip

    def diversity(self, message: GetDiversity) -> Diversity:
        """How different the genomes of the present population are, computed now where the engine is at hand.

        Raises:
            NoEvolutionError: If there is none.
        """
        fold = self._breeder.book.newest(message.id)
        last = fold.bred[-1] if fold.bred else None
        generations = getattr(self._breeder.drives.get(fold.id), "generations", None)
        if isinstance(generations, Generations) and fold.bred:
            return _measured(fold, generations)
        figures = last.figures if last else None
        return Diversity(
            evolution=fold.id, agent=fold.agent, generation=fold.generation, size=figures.size if figures else 0,
            distance=figures.distance if figures else None, entropy=figures.entropy if figures else None,
            genes=last.genes if last else {}, unique=figures.unique if figures else None,
            effective=last.effective if last else None, phenotypic=figures.deviation if figures else None,
            stagnant=last.stagnant if last else 0, premature=last.premature if last else False,
            advice=figures.action if figures else "", took_ms=0.0,
        )  # fmt: skip


def _measured(fold: EvolutionFold, generations: Generations) -> Diversity:
    began = time.perf_counter()
    stock, nursery = generations.stock, generations.nursery
    populations = [stock.population(island) for island in range(stock.islands)]
    vectors = np.concatenate([members.vectors for members in populations])
    losses = np.concatenate([members.values for members in populations])[:, 0]
    found = nursery.variety(vectors, -losses[losses < FAILED])
    convergence = nursery.convergence
    return Diversity(
        evolution=fold.id, agent=fold.agent, generation=fold.generation, size=len(vectors), distance=found.distance,
        entropy=found.entropy, genes=dict(zip(generations.names, found.genes, strict=True)), unique=found.unique,
        effective=found.effective, phenotypic=found.phenotypic, stagnant=convergence.stagnant,
        premature=convergence.premature, advice=convergence.advice.reason,
        took_ms=1e3 * (time.perf_counter() - began),
    )  # fmt: skip


def _member(fold: EvolutionFold, mark: Mark, cell: list[int] | None = None) -> Member:
    return Member(
        genome=mark.id, island=mark.island, values=list(mark.values), half_width=mark.half_width,
        age=max(0, fold.generation - 1 - mark.generation), operator=mark.operator, cell=cell or [],
    )  # fmt: skip


def _front(fold: EvolutionFold, marks: list[Mark]) -> tuple[list[Member], str]:
    """Genomes that no other one of the population beats in everything, and the one that gives up least."""
    objectives = fold.began.request.objectives
    sound = [mark for mark in marks if mark.fitness is not None and len(mark.values) == len(objectives)]
    if len(objectives) < 2 or not sound:  # noqa: PLR2004 - a front has two sides
        return [], ""
    signs = np.array([-1.0 if rises(one) else 1.0 for one in objectives])
    losses = np.array([mark.values for mark in sound]) * signs
    places = pareto.front(losses)
    return [_member(fold, sound[place]) for place in places], sound[places[pareto.knee(losses[places])]].id


def _archive(fold: EvolutionFold) -> list[tuple[Member, tuple[int, ...]]]:
    """The best genome of each cell of the map."""
    best: dict[tuple[int, ...], Mark] = {}
    for mark in fold.marks.values():
        if mark.fitness is None or not mark.cell:
            continue
        now = best.get(mark.cell)
        if now is None or now.fitness is None or mark.fitness > now.fitness:
            best[mark.cell] = mark
    return [(_member(fold, mark, list(cell)), cell) for cell, mark in sorted(best.items())]


def _coverage(fold: EvolutionFold, filled: int) -> float:
    cells = 1
    for axis in fold.began.descriptors:
        cells *= axis.cells
    return filled / cells


def _nobody(breeder: Breeder) -> Population:
    return Population(
        config=breeder.book.config, evolution="", agent="", state="none", generation=0, size=0, best=None, mean=None,
        worst=None, convergence="nothing was evolved yet", converged=False, members=[], front=[], knee="", archive=[],
        coverage=None,
    )  # fmt: skip
