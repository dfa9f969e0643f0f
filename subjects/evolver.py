"""Port 8003, ``chimera.evolver.*``: populations of genomes bred on real agents, promoted only through the gate.

Evolutions themselves stand in ``evolution``, genomes in ``genome``, autonomous mode in ``autonomous``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Reply, Request
from ._operation import Http, Operation, Port
from ._types import Count, Page
from .evolution import MOST_CASES, Algorithm, EvolutionState
from .task import MaybeToken


class PopulationConfig(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How populations are bred; what is changed applies from the next generation.

    Attributes:
        population_size: Genomes of all islands together.
        mutation_rate: Probability with which each gene is mutated, before diversity control raises it.
        algorithm: See ``Algorithm``.
        islands: Populations apart from each other; 0 = one per node that offers capacity.
        migrate_every: Generations between migrations; 0 = never.
        tasks: Tasks a genome that survives all rungs of its race is measured on.
    """

    population_size: Annotated[int, Meta(ge=4, le=10_000)] = 100
    mutation_rate: Annotated[float, Meta(gt=0, le=1)] = 0.1
    algorithm: Algorithm = "auto"
    islands: Annotated[int, Meta(ge=0, le=64)] = 1
    migrate_every: Annotated[int, Meta(ge=0, le=10_000)] = 5
    tasks: Annotated[int, Meta(ge=8, le=MOST_CASES)] = 512


class ConfigurePopulation(Request[PopulationConfig], frozen=True, kw_only=True):
    """Set how populations are bred: from the next generation of what runs, and for what is started later."""

    population_size: Annotated[int, Meta(ge=4, le=10_000)] | None = None
    mutation_rate: Annotated[float, Meta(gt=0, le=1)] | None = None
    algorithm: Algorithm | None = None
    islands: Annotated[int, Meta(ge=0, le=64)] | None = None
    migrate_every: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    tasks: Annotated[int, Meta(ge=8, le=MOST_CASES)] | None = None


class Member(Reply, frozen=True, kw_only=True):
    """A genome in the present population, front or map.

    ``values`` are the objectives in their order, in their own units; ``cell`` its place in the map.
    """

    genome: str
    island: Count
    values: list[float]
    half_width: float | None
    age: Count
    operator: str
    cell: list[int] = []


class Population(Reply, frozen=True, kw_only=True):
    """The population as it stands: size, best, mean, worst fitness, convergence, and its members, best first.

    ``front`` are the members no other one beats in every objective, with ``knee`` the one that gives up least;
    ``archive`` is the map of MAP-Elites with its ``coverage``.
    """

    config: PopulationConfig
    evolution: str
    agent: str
    state: EvolutionState | Literal["none"]
    generation: Count
    size: Count
    best: float | None
    mean: float | None
    worst: float | None
    convergence: str
    converged: bool
    members: list[Member]
    front: list[Member]
    knee: str
    archive: list[Member]
    coverage: float | None


class GetPopulation(Request[Population], frozen=True, kw_only=True):
    """Generation, size, fitness, convergence; of the newest evolution if no id is given."""

    id: MaybeToken = ""
    limit: Page = 100


class Diversity(Reply, frozen=True, kw_only=True):
    """How different the genomes of a population are, and how differently they behave.

    Attributes:
        distance: Root mean square distance between two genomes, each gene scaled to its range.
        entropy: Mean over the genes of the normalised entropy of their values.
        genes: The same per gene.
        unique: Share of genomes that are not a copy of another.
        effective: Effective number of different genomes.
        phenotypic: Standard deviation of fitness.
        stagnant: Generations without an improvement beyond chance.
        premature: Whether diversity is gone before the search had time to improve.
        advice: What is done about it.
        took_ms: How long these figures took.
    """

    evolution: str
    agent: str
    generation: Count
    size: Count
    distance: float | None
    entropy: float | None
    genes: dict[str, float]
    unique: float | None
    effective: float | None
    phenotypic: float | None
    stagnant: Count
    premature: bool
    advice: str
    took_ms: float


class GetDiversity(Request[Diversity], frozen=True, kw_only=True):
    """Genotypic distance, entropy, spread."""

    id: MaybeToken = ""


class NodeCapacity(Reply, frozen=True, kw_only=True):
    """A node that evaluates genomes: how many evaluations it has now and may have at once, and what it did."""

    node: str
    in_flight: Count
    most: Count
    evaluations: Count
    tasks: Count


class FitnessStatus(Reply, frozen=True, kw_only=True):
    """Evaluations: done, pending, rate, failed, answered from the cache; tasks run and spared by racing."""

    done: Count
    pending: Count
    failed: Count
    rate_per_s: float
    cache_hits: Count
    cache_size_bytes: Count
    tasks_run: Count
    tasks_spared: Count
    cpu_s: float
    nodes: list[NodeCapacity]
    running: list[str]


class GetFitness(Request[FitnessStatus], frozen=True, kw_only=True):
    """Evaluations done and pending, rate, failures, cache hits, since this instance began to lead."""


class EvolverHealth(Reply, frozen=True, kw_only=True):
    """How the layer does; ``checks`` names what is wrong."""

    status: Literal["pass", "warn", "fail"]
    node: str
    version: str
    uptime_s: float
    leads: bool
    running: Count
    paused: Count
    genomes: Count
    autonomous: list[str]
    checks: dict[str, str]


class CheckEvolverHealth(Request[EvolverHealth], frozen=True, kw_only=True):
    """Status, what runs, and what is wrong."""


_LOST = ("no-evolution",)

HEALTH = Operation(
    "evolver", "health", CheckEvolverHealth, EvolverHealth, Port.EVOLUTION, "Status of the evolution layer", safe=True,
)  # fmt: skip
POPULATION = Operation(
    "evolver", "population", GetPopulation, Population, Port.EVOLUTION, "Generation, size, fitness, convergence",
    http=(Http("GET", "/api/population/status"),), safe=True, errors=_LOST,
)  # fmt: skip
DIVERSITY = Operation(
    "evolver", "diversity", GetDiversity, Diversity, Port.EVOLUTION, "Genotypic distance, entropy, spread",
    http=(Http("GET", "/api/population/diversity"),), safe=True, errors=_LOST,
)  # fmt: skip
FITNESS = Operation(
    "evolver", "fitness", GetFitness, FitnessStatus, Port.EVOLUTION, "Evaluations done, pending, rate, cache hits",
    http=(Http("GET", "/api/fitness/status"),), safe=True,
)  # fmt: skip
CONFIGURE = Operation(
    "evolver", "configure", ConfigurePopulation, PopulationConfig, Port.EVOLUTION,
    "Population size, mutation rate and more, from the next generation",
    http=(Http("POST", "/api/config/population"),), example={"population_size": 1000, "mutation_rate": 0.1},
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (HEALTH, POPULATION, DIVERSITY, FITNESS, CONFIGURE)
