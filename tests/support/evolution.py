"""An evolution as the evolver tells it: replies for whoever shows or draws one."""

from __future__ import annotations

from typing import Any

import msgspec

from subjects.evolution import Descriptor, Evolution, GenerationView, Objective, Progress, Window
from subjects.evolver import Member, Population, PopulationConfig
from subjects.experiment import Metric
from subjects.genome import Ancestor, GenomeDetail, GenomeView

NOW = 1_800_000_000.0
WINDOW = Window(source="supplied", first=0, last=0, train=80, validation=40, digest="d" * 64)
COST = Objective(metric=Metric(name="cpu_ms", kind="mean", better="lower", high=100.0))


def generation(number: int, **fields: Any) -> GenerationView:
    """A generation: fitness rises, diversity falls, every tenth brings immigrants."""
    plain = GenerationView(
        number=number, at=NOW + number, size=20, best=0.5 + number / 100, mean=0.4 + number / 100, worst=0.1,
        deviation=0.05, half_width=0.02, distance=1.0 / (1 + number), entropy=0.9, unique=0.95, mutation_rate=0.1,
        evaluations=20, failed=0, cached=1, seconds=1.0, action="3 immigrants" if number % 10 == 9 else "",
    )  # fmt: skip
    return msgspec.structs.replace(plain, **fields)


def view(number: int, **fields: Any) -> GenomeView:
    """A genome of evolution ``v-1``."""
    plain = GenomeView(
        id=f"v-1-{number}", evolution="v-1", agent="sentiment", release=2, genes={"alpha": 0.25, "mode": "b"},
        limits=None, parents=[], operator="crossover", seed=7, generation=number // 20, island=0, fitness=0.75,
        half_width=0.02, values=[0.75], tasks=80, window="d" * 64, failure="", at=NOW, checksum="c" * 64,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **fields)


def evolution(count: int = 30, **fields: Any) -> Evolution:
    """An evolution after ``count`` generations of 30."""
    plain = Evolution(
        id="v-1", agent="sentiment", state="running" if count < 30 else "exhausted",
        step="evaluate" if count < 30 else "done", algorithm="steady", why="genes are mixed", objectives=[Objective()],
        seed=7, started_at=NOW, ended_at=None if count < 30 else NOW + count, release=2, generation=count,
        generations=30, population_size=20, islands=[""], evaluations=20 * count, rate_per_s=41.5,
        eta_s=(30 - count) / 2 if count < 30 else None, tasks_run=1600 * count, cpu_s=3.5, baseline=0.45,
        best=0.5 + count / 100 if count else None, mean=0.4 + count / 100 if count else None,
        diversity=1 / count if count else None, window=WINDOW, champion=view(579) if count else None,
        champion_value=0.78 if count >= 30 else None, incumbent_value=0.6 if count >= 30 else None,
        reason="all generations were used" if count >= 30 else "",
    )  # fmt: skip
    return msgspec.structs.replace(plain, **fields)


def progress(count: int = 30, **fields: Any) -> Progress:
    """An evolution with its generations."""
    return Progress(
        evolution=evolution(count, **fields), history=[generation(number) for number in range(count)],
        convergence="fitness still rises", stagnant=0,
    )  # fmt: skip


def member(number: int, *values: float, **fields: Any) -> Member:
    """A genome in a population."""
    return Member(
        genome=f"v-1-{number}", island=0, values=list(values), half_width=0.02, age=1, operator="mutation", **fields
    )


def population(**fields: Any) -> Population:
    """Twenty members of one objective."""
    plain = Population(
        config=PopulationConfig(population_size=20), evolution="v-1", agent="sentiment", state="exhausted",
        generation=30, size=20, best=0.8, mean=0.7, worst=0.1, convergence="fitness still rises", converged=False,
        members=[member(n, 0.8 - n / 100) for n in range(20)], front=[], knee="", archive=[], coverage=None,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **fields)


def with_front() -> tuple[Progress, Population]:
    """Two objectives: quality and CPU time."""
    members = [member(n, 0.8 - n / 50, 9.0 - n / 3) for n in range(20)]
    found = population(members=members, front=members[:6], knee="v-1-3")
    return progress(algorithm="nsga2", objectives=[Objective(), COST]), found


def with_map() -> tuple[Progress, Population]:
    """Two behaviours in 8 times 4 cells, half of them found."""
    axes = [Descriptor(name="cpu_ms", high=20.0, cells=8), Descriptor(name="strictness", cells=4)]
    archive = [member(n, 0.5 + n / 50, cell=[n % 8, n // 8]) for n in range(16)]
    return progress(algorithm="map-elites", descriptors=axes), population(archive=archive, coverage=0.5)


def lineage(generations: int = 12) -> GenomeDetail:
    """A champion with two parents, and two in every generation before."""
    ancestors = [
        Ancestor(
            id=f"v-1-{20 * (generations - depth) + side}",
            parents=[f"v-1-{20 * (generations - depth - 1) + one}" for one in (0, 1)] if depth < generations else [],
            operator="crossover" if depth < generations else "drawn", generation=generations - depth,
            fitness=0.8 - depth / 50, depth=depth,
        )
        for depth in range(generations + 1) for side in range(2 if depth else 1)
    ]  # fmt: skip
    champion = view(20 * generations, generation=generations)
    return GenomeDetail(genome=champion, changes={"alpha": 0.25}, ancestors=ancestors, cut=False, faults=[])
