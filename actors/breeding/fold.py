"""An evolution as the fold of its log: what was measured, what is best, what was used, and what is next. Pure."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from actors.evolving.record import GenomeRecord
from subjects.evolution import Descriptor, Evolution, EvolutionState, GenerationView
from subjects.evolver import PopulationConfig
from subjects.genome import GenomeView

from .log import Began, Bred, Championed, Ended, Gated, Halted, Judged, Measured, Paused, RunEntry, Told
from .views import genome_view

Due = Literal["done", "end", "wait", "measure", "breed", "validate", "gate"]

_STEPS: dict[Due, Literal["evaluate", "validate", "gate", "done"]] = {
    "validate": "validate", "gate": "gate", "done": "done", "end": "done",
}  # fmt: skip
TOP = 32
"""Genomes of an evolution that are remembered whole."""

_canonical = msgspec.msgpack.Encoder(order="deterministic").encode


class Mark(NamedTuple):
    """What is remembered of every genome of an evolution; the rest stands in its record."""

    id: str
    number: int
    island: int
    generation: int
    fitness: float | None
    half_width: float | None
    values: tuple[float, ...]
    operator: str
    cell: tuple[int, ...] = ()


class EvolutionFold:
    """One evolution.

    Args:
        began: The first entry.
    """

    def __init__(self, began: Began) -> None:
        self.began = began
        self.config: PopulationConfig = began.config
        self.mutation_rate = began.config.mutation_rate
        self.marks: dict[str, Mark] = {}
        self.bred: list[Bred] = []
        self.steps: list[Told | Bred] = []
        self.latest: list[GenomeRecord] = []
        self._recent: list[GenomeRecord] = []
        self.told: list[Told] = []
        self.champion_record: GenomeRecord | None = None
        self.top: list[GenomeRecord] = []
        self.measured: dict[str, Measured] = {}
        self.championed: Championed | None = None
        self.gated: Gated | None = None
        self.judged: Judged | None = None
        self.halted: Halted | None = None
        self.ended: Ended | None = None
        self.paused = False
        self.rebuilt_otherwise = False
        self.waits = ""
        self.tasks = 0
        self.cpu_s = 0.0
        self.failed = 0
        self.entries = 1

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Its id."""
        return self.began.id

    @property
    def agent(self) -> str:
        """Whose genomes."""
        return self.began.request.agent

    @property
    def state(self) -> EvolutionState:
        """Whether it runs or waits, or how it ended."""
        if self.ended is not None:
            return self.ended.state
        return "paused" if self.paused else "running"

    @property
    def generation(self) -> int:
        """Finished generations."""
        return len(self.bred)

    @property
    def history(self) -> list[GenerationView]:
        """Figures of each finished generation."""
        return [entry.figures for entry in self.bred]

    @property
    def best_record(self) -> GenomeRecord | None:
        """The best by the training tasks, as it was first measured."""
        return self.top[0] if self.top else None

    @property
    def baseline(self) -> float | None:
        """The live genome's figure on the training tasks."""
        return self.measured["train"].value if "train" in self.measured else None

    # -- the fold ------------------------------------------------------------------------------------------------------

    def record(self, record: GenomeRecord) -> None:
        """Take a genome that was measured."""
        self.entries += 1
        if record.id in self.marks:
            return
        self.marks[record.id] = Mark(
            record.id, record.number, record.island, record.generation, record.fitness, record.half_width,
            tuple(record.values), record.operator,
        )  # fmt: skip
        self._recent.append(record)
        self.tasks += record.tasks
        self.cpu_s += record.cpu_s
        self.failed += bool(record.failure)
        if record.fitness is not None and (len(self.top) < TOP or record.fitness > _worth(self.top[-1])):
            insort(self.top, record, key=lambda one: -_worth(one))
            del self.top[TOP:]

    def apply(self, entry: RunEntry) -> None:
        """Take a step that is stored."""
        self.entries += 1
        if isinstance(entry, Bred):
            self.bred.append(entry)
            self.steps.append(entry)
            self.latest, self._recent = self._recent, []
            self._place(entry)
            self.mutation_rate = entry.mutation_rate
        elif isinstance(entry, Told):
            self._tell(entry)
        elif isinstance(entry, Measured):
            self.measured[entry.part] = entry
            self.tasks += entry.tasks
            self.cpu_s += entry.cpu_s
        else:
            self._turn(entry)

    def _place(self, bred: Bred) -> None:
        """Remember the cell of the map that each genome belongs to."""
        axes = self.began.descriptors if self.began.config.algorithm == "map-elites" else []
        if not axes:
            return
        records = sorted(self.latest, key=lambda one: (one.island, one.number))
        rows = [row[-len(axes) :] for island in bred.losses for row in island]
        for record, cell in zip(records, cells_of(rows, axes), strict=True):
            self.marks[record.id] = self.marks[record.id]._replace(cell=tuple(cell))

    def _turn(self, entry: RunEntry) -> None:
        match entry:
            case Championed():
                self.championed = entry
                self.champion_record = next((one for one in self.top if one.id == entry.genome), None)
            case Gated():
                self.gated = entry
            case Judged():
                self.judged = entry
            case Paused():
                self.paused = entry.on
            case Halted():
                self.halted = entry
            case Ended():
                self.ended = entry
            case _:
                pass

    def configure(self, config: PopulationConfig) -> None:
        """Breed in another way from the next generation on, but for what the request itself named."""
        asked = self.began.request
        self.config = PopulationConfig(
            population_size=config.population_size, mutation_rate=config.mutation_rate,
            algorithm=self.config.algorithm, islands=self.config.islands, migrate_every=config.migrate_every,
            tasks=asked.tasks or config.tasks,
        )  # fmt: skip

    def _tell(self, entry: Told) -> None:
        self.steps.append(entry)
        if entry.again:
            mark = self.by_number(entry.island, entry.number)
            if mark is not None:
                self.marks[mark.id] = mark._replace(fitness=-entry.losses[0], half_width=entry.half_width)

    # -- what is next --------------------------------------------------------------------------------------------------

    def next(self, now: float) -> Due:
        """What is due."""
        if self.ended is not None:
            return "done"
        if self.gated is not None and self.judged is None:
            return "gate"
        if self.halted is not None or self.judged is not None:
            return "end"
        return "wait" if self.paused else self._work(now)

    def _work(self, now: float) -> Due:
        if "train" not in self.measured:
            return "measure"
        if self.championed is not None:
            return "gate" if self.championed.better and self.began.request.deploy else "end"
        if self.over(now) or self.bred_enough():
            return "validate" if self.marks else "end"
        return "breed"

    def bred_enough(self) -> bool:
        """Whether all generations were bred, or the search has converged."""
        return self.has_converged or self.generation >= self.began.request.generations

    @property
    def has_converged(self) -> bool:
        """Whether the search found no more to gain, and was asked to stop then."""
        return bool(self.bred) and self.bred[-1].converged and self.began.request.stop_when_converged

    def over(self, now: float) -> str:
        """Which budget is used up, in words; empty while none is."""
        budget = self.began.request.budget
        if len(self.marks) >= budget.evaluations:
            return f"the budget of {budget.evaluations} evaluations is used up"
        if self.tasks >= budget.tasks:
            return f"the budget of {budget.tasks} tasks is used up"
        if self.cpu_s >= budget.cpu_s:
            return f"the budget of {budget.cpu_s:g} CPU seconds is used up"
        if now >= self.began.at + budget.seconds:
            return f"the budget of {budget.seconds:g} seconds is used up"
        return ""

    # -- what is shown -------------------------------------------------------------------------------------------------

    def members(self) -> list[Mark]:
        """The present population, fittest first."""
        marks = list(self.marks.values())
        if self.began.config.algorithm in ("steady", "map-elites"):
            known = [mark for mark in marks if mark.fitness is not None]
            return sorted(known, key=_fitness, reverse=True)[: self.config.population_size]
        last = marks[-1].generation if marks else 0
        return sorted((mark for mark in marks if mark.generation == last), key=_fitness, reverse=True)

    def by_number(self, island: int, number: int) -> Mark | None:
        """A genome by its island and number."""
        return self.marks.get(genome_id(self.id, island, number))

    def middle(self) -> float | None:
        """The median fitness of the last generation; ``None`` before the first, or if too many of it failed."""
        known = sorted(mark for record in self.latest if (mark := self.marks[record.id].fitness) is not None)
        return known[len(known) // 2] if 2 * len(known) > len(self.latest) else None

    def finalists(self, count: int) -> list[GenomeRecord]:
        """The fittest that are remembered whole, by what is known of them now, no two with the same genes."""
        found: dict[bytes, GenomeRecord] = {}
        for record in sorted(self.top, key=lambda one: _fitness(self.marks[one.id]), reverse=True):
            found.setdefault(genes_key(record), record)
        return list(found.values())[:count]

    def show(self, now: float, *, rate: float = 0.0) -> Evolution:
        """The evolution as it stands."""
        began, request = self.began, self.began.request
        last = self.bred[-1].figures if self.bred else None
        left = max(0, request.generations - self.generation) * self.config.population_size
        champion, judged = self.championed, self.judged
        return Evolution(
            id=self.id, agent=self.agent, state=self.state, step=_STEPS.get(self.next(now), "evaluate"),
            algorithm=began.config.algorithm, why=began.why, objectives=request.objectives, seed=began.seed,
            started_at=began.at, ended_at=self.ended.at if self.ended else None, release=began.release.number,
            generation=self.generation, generations=request.generations,
            population_size=self.config.population_size, islands=began.islands, evaluations=len(self.marks),
            rate_per_s=rate, eta_s=left / rate if rate > 0 and self.state == "running" else None,
            tasks_run=self.tasks, cpu_s=self.cpu_s, baseline=self.baseline,
            best=self.best_record.fitness if self.best_record else None, mean=last.mean if last else None,
            diversity=last.distance if last else None, window=began.window, champion=self._champion(),
            champion_value=champion.value if champion else None,
            incumbent_value=champion.incumbent if champion else None,
            experiment=self.gated.experiment if self.gated else "", outcome=judged.reason if judged else "",
            converged=bool(self.bred and self.bred[-1].converged), repeatable=not self.rebuilt_otherwise,
            reason=self._reason(), descriptors=began.descriptors,
        )  # fmt: skip

    def _champion(self) -> GenomeView | None:
        record = self.champion_record or self.best_record
        return genome_view(record) if record else None

    def _reason(self) -> str:
        if self.ended is not None:
            return self.ended.reason
        if self.waits:
            return self.waits
        return self.championed.reason if self.championed else ""


def cells_of(rows: Sequence[Sequence[float]], axes: Sequence[Descriptor]) -> list[list[int]]:
    """Which cell of each axis each row of figures belongs to; what lies outside belongs to the one at the edge."""
    low, high, cells = (np.array([getattr(axis, name) for axis in axes]) for name in ("low", "high", "cells"))
    values = np.array(rows, dtype=float).reshape(len(rows), len(axes))
    places = np.nan_to_num((values - low) / (high - low) * cells, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(places, 0, cells - 1).astype(int).tolist()


def genes_key(record: GenomeRecord) -> bytes:
    """The same for genomes that mean the same."""
    return _canonical((record.genes, record.limits))


def genome_id(evolution: str, island: int, number: int) -> str:
    """The id of a genome: the islands count apart."""
    return f"{evolution}-{island}-{number}" if island else f"{evolution}-{number}"


def _worth(record: GenomeRecord) -> float:
    return -math.inf if record.fitness is None else record.fitness


def _fitness(mark: Mark) -> float:
    return float("-inf") if mark.fitness is None else mark.fitness
