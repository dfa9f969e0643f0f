"""Evolutions: start, watch, pause and stop the breeding of an agent's genomes. Times are Unix seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Event, Reply, Request
from ._operation import EventType, Http, Operation, Port
from ._types import Count, Document, Page, Share, Token
from .agent import Genes, Text
from .experiment import Metric, Plan
from .genome import GenomeView
from .task import MaybeToken, Seconds

Algorithm = Literal["auto", "cmaes", "steady", "gaco", "nsga2", "map-elites"]
"""``auto`` chooses by the genome's kinds and the objectives, and says why."""

EvolutionState = Literal["running", "paused", "converged", "exhausted", "stopped", "failed"]
"""The last four are final. ``exhausted``: all generations, or a budget, were used up."""

MOST_CASES = 10_000


class Case(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A labelled task: what goes in, and what was right: a label, a score, or both."""

    input: Document
    label: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    score: Annotated[float, Meta(ge=-1e9, le=1e9)] | None = None


class Objective(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a genome is measured by.

    Attributes:
        metric: A figure per task, averaged over the tasks; see ``Metric``.
        statistic: ``mean``, or ``correlation`` of the manifest's score field with the judged score.
        least: Genomes below (above, where lower is better) are infeasible; ``None`` = no limit.
    """

    metric: Metric = Metric(name="correct")
    statistic: Literal["mean", "correlation"] = "mean"
    least: float | None = None


class Descriptor(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An axis of the map of MAP-Elites: the mean of an output field or of ``cpu_ms``, ``run_ms`` over the tasks."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    low: float = 0.0
    high: float = 1.0
    cells: Annotated[int, Meta(ge=2, le=64)] = 16


class EvolutionBudget(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one evolution may use: genomes evaluated, tasks run beside live traffic, guests' CPU time, duration.

    ``harmed``: live messages that the champion may answer worse, or fail, while it is at the gate.
    """

    evaluations: Annotated[int, Meta(ge=1, le=10_000_000)] = 1_000_000
    tasks: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 10_000_000
    cpu_s: Annotated[float, Meta(gt=0, le=1e7)] = 3_600.0
    seconds: Seconds = 3_600.0
    harmed: Annotated[int, Meta(ge=0, le=1_000_000)] = 200


class Window(Reply, frozen=True, kw_only=True):
    """The tasks that genomes were measured on. ``first`` and ``last`` are places in stream KPI; 0 = supplied tasks."""

    source: Literal["recorded", "supplied"]
    first: Count
    last: Count
    train: Count
    validation: Count
    digest: str


class GenerationView(Reply, frozen=True, kw_only=True):
    """A generation's figures: fitness (higher is better), diversity, and what the search did about them.

    Attributes:
        half_width: Of the best genome's fitness: how much of it may be chance.
        distance: Root mean square distance between two genomes, each gene scaled to its range.
        entropy: Mean over the genes of the normalised entropy of their values.
        unique: Share of genomes that are not a copy of another.
        action: What diversity control or migration did, in words; empty = nothing.
    """

    number: Count
    at: float
    size: Count
    best: float | None
    mean: float | None
    worst: float | None
    deviation: float | None
    half_width: float | None
    distance: float
    entropy: float
    unique: Share
    mutation_rate: float
    evaluations: Count
    failed: Count
    cached: Count
    seconds: float
    action: str = ""


class Evolution(Reply, frozen=True, kw_only=True):
    """An evolution as it stands.

    Attributes:
        algorithm: The one in use, with ``why`` it was chosen.
        generation: Finished generations of ``generations``.
        baseline: Fitness of the agent's live genome on the same training tasks.
        best: Best fitness found on the training tasks.
        champion: The best genome by validation, as far as it is known.
        champion_value: Its figure on the validation tasks, and ``incumbent_value`` the live genome's on the same.
        eta_s: Expected seconds to the last generation at the present rate.
        experiment: The gate's experiment on the champion, if there is one, with its state in ``outcome``.
        descriptors: Axes of the map, for ``map-elites``.
        repeatable: False once another CPU's arithmetic made a rebuilt engine differ from its log.
    """

    id: str
    agent: str
    state: EvolutionState
    step: Literal["evaluate", "validate", "gate", "done"]
    algorithm: Algorithm
    why: str
    objectives: list[Objective]
    seed: int
    started_at: float
    ended_at: float | None
    release: int
    generation: Count
    generations: Count
    population_size: Count
    islands: list[str]
    evaluations: Count
    rate_per_s: float
    eta_s: float | None
    tasks_run: Count
    cpu_s: float
    baseline: float | None
    best: float | None
    mean: float | None
    diversity: float | None
    window: Window
    champion: GenomeView | None
    champion_value: float | None
    incumbent_value: float | None
    experiment: str = ""
    outcome: str = ""
    converged: bool = False
    repeatable: bool = True
    reason: str = ""
    descriptors: list[Descriptor] = []


class StartEvolution(Request[Evolution], frozen=True, kw_only=True):
    """Breed genomes of an agent. One evolution per agent at a time; the same ``id`` again gives the same one back.

    Attributes:
        generations: Most generations; one is population-size evaluations.
        population_size: Instead of the configured one; so are ``algorithm``, ``islands``, ``mutation_rate``, ``tasks``.
        objectives: Several need ``nsga2``, which gives a front to choose from. Empty = what the tasks were judged by:
            ``correct`` where they have labels, else ``score_error``.
        cases: Labelled tasks instead of recorded ones.
        parameters: The genes to search; empty = all, or all but the vectors where they are more than twenty.
        start: Genomes to begin with, besides the live one; the rest of the first generation is drawn at random.
        from_live: Whether the live genome is in the first generation.
        reach: Standard deviation of a gene's first moves away from known genomes, as a share of its range; by default
            0.15 divided by the square root of the number of genes, 0.1 at most. Wide finds what is far away, narrow
            keeps what is good.
        settings: Search the execution limits ``cpu_ms`` and ``wall_ms`` too, within the operator's caps.
        descriptors: Axes of the map for ``map-elites``; by default those the manifest names.
        deploy: Hand the champion to the gate when it is better on the validation tasks.
        plan: How the gate tries it.
        stop_when_converged: End when fitness stagnates in spite of immigrants and mutation.
    """

    agent: Token = "sentiment"
    id: MaybeToken = ""
    generations: Annotated[int, Meta(ge=1, le=100_000)] = 100
    population_size: Annotated[int, Meta(ge=4, le=10_000)] | None = None
    mutation_rate: Annotated[float, Meta(gt=0, le=1)] | None = None
    algorithm: Algorithm | None = None
    islands: Annotated[int, Meta(ge=0, le=64)] | None = None
    tasks: Annotated[int, Meta(ge=8, le=MOST_CASES)] | None = None
    objectives: Annotated[list[Objective], Meta(max_length=4)] = []
    cases: Annotated[list[Case], Meta(max_length=MOST_CASES)] = []
    parameters: Annotated[list[Token], Meta(max_length=256)] = []
    start: Annotated[list[Genes], Meta(max_length=1000)] = []
    from_live: bool = True
    reach: Annotated[float, Meta(gt=0, le=1)] | None = None
    settings: bool = False
    descriptors: Annotated[list[Descriptor], Meta(max_length=2)] = []
    budget: EvolutionBudget = EvolutionBudget()
    deploy: bool = True
    plan: Plan = Plan()
    stop_when_converged: bool = True
    seed: Count = 0
    note: Text = ""


class StopEvolution(Request[Evolution], frozen=True, kw_only=True):
    """Cancel an evolution; with autonomous mode on for the agent, that is switched off too. Its genomes stay."""

    id: MaybeToken = ""
    agent: MaybeToken = ""
    note: Text = ""


class PauseEvolution(Request[Evolution], frozen=True, kw_only=True):
    """Finish what is being evaluated and wait."""

    id: MaybeToken = ""


class ResumeEvolution(Request[Evolution], frozen=True, kw_only=True):
    """Go on."""

    id: MaybeToken = ""


class EvolutionList(Reply, frozen=True, kw_only=True):
    """Evolutions, newest first."""

    evolutions: list[Evolution]


class ListEvolutions(Request[EvolutionList], frozen=True, kw_only=True):
    """Evolutions by agent and state."""

    agent: MaybeToken = ""
    state: EvolutionState | Literal[""] = ""
    limit: Page = 100


class Progress(Reply, frozen=True, kw_only=True):
    """An evolution and its generations, oldest first. ``convergence`` says in words where the search stands."""

    evolution: Evolution
    history: list[GenerationView]
    convergence: str
    stagnant: Count


class GetProgress(Request[Progress], frozen=True, kw_only=True):
    """Per generation history; of the newest evolution if no id is given."""

    id: MaybeToken = ""
    after: Count = 0
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000


class Evolved(Event, frozen=True, kw_only=True):
    """An evolution took a step. ``figures`` are those of the generation that was finished."""

    evolution: str
    agent: str
    step: Literal[
        "started", "generation", "migrated", "paused", "resumed", "champion", "experiment", "promoted", "discarded",
        "ended",
    ]  # fmt: skip
    at: float
    state: EvolutionState
    figures: GenerationView | None = None
    genome: str = ""
    reason: str = ""


_ONE = {"id": "v-1"}
_LOST = ("no-evolution",)

PROGRESS = Operation(
    "evolver", "progress", GetProgress, Progress, Port.EVOLUTION, "Per generation history",
    http=(Http("GET", "/api/evolution/progress"),), safe=True, errors=_LOST,
)  # fmt: skip
EVOLUTIONS = Operation(
    "evolver", "evolutions", ListEvolutions, EvolutionList, Port.EVOLUTION, "Evolutions, newest first",
    http=(Http("GET", "/api/evolution"),), safe=True,
)  # fmt: skip
START = Operation(
    "evolver", "start", StartEvolution, Evolution, Port.EVOLUTION, "Breed genomes of an agent",
    http=(Http("POST", "/api/evolution/start", status=202),), timeout_s=30.0,
    errors=("no-agent", "conflict", "bad-genome"), example={"agent": "sentiment", "generations": 35},
)  # fmt: skip
STOP = Operation(
    "evolver", "stop", StopEvolution, Evolution, Port.EVOLUTION, "Cancel an evolution, and autonomous mode with it",
    http=(Http("POST", "/api/evolution/stop"),), timeout_s=30.0, errors=_LOST, example=_ONE,
)  # fmt: skip
PAUSE = Operation(
    "evolver", "pause", PauseEvolution, Evolution, Port.EVOLUTION, "Let an evolution wait",
    http=(Http("POST", "/api/evolution/pause"),), timeout_s=30.0, errors=(*_LOST, "conflict"), example=_ONE,
)  # fmt: skip
RESUME = Operation(
    "evolver", "resume", ResumeEvolution, Evolution, Port.EVOLUTION, "Let an evolution go on",
    http=(Http("POST", "/api/evolution/resume"),), timeout_s=30.0, errors=(*_LOST, "conflict"), example=_ONE,
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (PROGRESS, EVOLUTIONS, START, STOP, PAUSE, RESUME)
EVENTS: tuple[EventType, ...] = (EventType(Evolved, "chimera.event.evolver.evolved", "an evolution took a step"),)
