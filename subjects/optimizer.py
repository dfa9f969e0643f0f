"""Port 8002, ``chimera.optimizer.*``: Bayesian proposals, auto-tune, KPI ingestion and models.

Experiments stand in ``experiment``, patterns in ``insight``, reports in ``report``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Event, Reply, Request
from ._operation import EventType, Http, Operation, Port
from ._types import Count, DeadlineMs, Digest, Document, Share, Token
from .agent import BreakerState, Genes, Text
from .experiment import CORRECT, Metric, Plan
from .task import MaybeToken, Seconds

Algorithm = Literal["bayesian", "gp", "cmaes", "random"]
TuneState = Literal["running", "converged", "exhausted", "stopped", "failed"]
"""``converged``: see ``convergence_threshold``. ``exhausted``: a budget was used up first."""


class Settings(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How proposals are made.

    Attributes:
        algorithm: ``bayesian`` (TPE), ``gp`` (Gaussian process), ``cmaes`` or ``random``.
        convergence_threshold: Converged when the best value improved by less than this, relative, over enough trials
            and its confidence sequence is narrower than this or than what the data can tell.
    """

    algorithm: Algorithm = "bayesian"
    convergence_threshold: Annotated[float, Meta(gt=0, lt=1)] = 0.001


class Configure(Request[Settings], frozen=True, kw_only=True):
    """Set how proposals are made; applied to the next trial and kept across restarts."""

    algorithm: Algorithm | None = None
    convergence_threshold: Annotated[float, Meta(gt=0, lt=1)] | None = None


class Trial(Reply, frozen=True, kw_only=True):
    """One point that was tried. ``value`` is the objective (higher is better), ``None`` while open or failed."""

    number: Count
    state: Literal["open", "told", "failed", "expired"]
    genome: Genes
    value: float | None = None
    half_width: float | None = None
    messages: Count = 0
    reason: str = ""


class TuneBudget(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one auto-tune may use.

    Attributes:
        trials: Points tried.
        replayed: Tasks run on trial points beside live traffic.
        live_share: Most of live traffic that a candidate may get.
        harmed: Live messages answered worse by a candidate, or failed, before it stops for good.
        seconds: Duration.
        promotions: Changes of the live release.
    """

    trials: Annotated[int, Meta(ge=1, le=10_000)] = 60
    replayed: Annotated[int, Meta(ge=1, le=100_000_000)] = 200_000
    live_share: Share = 0.5
    harmed: Annotated[int, Meta(ge=0, le=1_000_000)] = 200
    seconds: Seconds = 3_600.0
    promotions: Annotated[int, Meta(ge=1, le=1000)] = 10


class Tune(Reply, frozen=True, kw_only=True):
    """An auto-tune as it stands: every trial, what is best, the experiment under way, and what was used."""

    id: str
    agent: str
    state: TuneState
    algorithm: Algorithm
    threshold: float
    step: Literal["propose", "replay", "gate", "done"]
    metric: str
    started_at: float
    ended_at: float | None
    trials: list[Trial]
    best: Trial | None
    start_value: float | None
    experiments: list[str]
    promoted: list[int]
    budget: TuneBudget
    used_replayed: Count
    used_harmed: Count
    improvement: float | None
    reason: str = ""


class AutoTune(Request[Tune], frozen=True, kw_only=True):
    """Start the closed loop: propose, replay, gate, promote or discard, again, until converged or told to stop.

    One per agent at a time: a second request gives the running one back. ``plan`` is that of each experiment; where
    it names no primary metric, that is ``metric``; where tasks were judged by scores and none by a label,
    ``correct`` is ``score_error``. ``parameters`` are the genes to search; empty for all, or for all
    but the vectors where they are more than twenty.
    """

    agent: Token = "sentiment"
    id: MaybeToken = ""
    metric: Metric = CORRECT
    budget: TuneBudget = TuneBudget()
    plan: Plan = Plan()
    algorithm: Algorithm | None = None
    parameters: Annotated[list[Token], Meta(max_length=256)] = []
    seed: Count = 0


class GetTune(Request[Tune], frozen=True, kw_only=True):
    """One auto-tune."""

    id: Token


class StopTune(Request[Tune], frozen=True, kw_only=True):
    """Stop an auto-tune. The live release stays; its candidate goes back."""

    id: Token
    note: Text = ""


class AgentOptimization(Reply, frozen=True, kw_only=True):
    """One agent's optimization: algorithm, trials, best so far, convergence, last decision and when."""

    agent: str
    algorithm: Algorithm
    trials: Count
    open: Count
    best: float | None
    start: float | None
    converged: bool
    improvement: float | None
    half_width: float | None
    tune: str
    experiment: str
    last_decision: str
    last_decision_at: float | None
    decision_ms_p50: float | None
    decision_ms_p99: float | None


class OptimizationStatus(Reply, frozen=True, kw_only=True):
    """Per agent; ``tunes`` are the auto-tunes, newest first, without their trials."""

    settings: Settings
    agents: list[AgentOptimization]
    tunes: list[Tune]


class GetStatus(Request[OptimizationStatus], frozen=True, kw_only=True):
    """Per agent: algorithm, trials, best so far, convergence, last decision and its time."""

    agent: MaybeToken = ""


class Proposal(Reply, frozen=True, kw_only=True):
    """A genome worth a trial, or an empty one with the reason why there is none.

    ``expected`` is the objective there (higher is better) by the agent's surrogate model; ``None`` without one.
    """

    agent: str
    genome: Genes
    number: Count | None
    algorithm: Algorithm
    expected: float | None
    reason: str


class Propose(Request[Proposal], frozen=True, kw_only=True):
    """Propose a genome from the agent's recorded trials. Nothing is deployed."""

    agent: Token = "sentiment"
    deadline_ms: DeadlineMs | None = None


class OptimizerHealth(Reply, frozen=True, kw_only=True):
    """How the layer does; ``checks`` names what is wrong."""

    status: Literal["pass", "warn", "fail"]
    node: str
    version: str
    uptime_s: float
    leads: bool
    experiments_running: Count
    tunes_running: Count
    checks: dict[str, str]


class CheckOptimizerHealth(Request[OptimizerHealth], frozen=True, kw_only=True):
    """Status, what runs, and what is wrong."""


class KpiHealth(Reply, frozen=True, kw_only=True):
    """KPI ingestion: what came, how far behind it is, and what was refused and why.

    ``lag_messages`` counts messages of the stream not yet ingested; ``lag_s`` is the age of the oldest of them.
    """

    status: Literal["pass", "warn", "fail"]
    ingested: Count
    rate_per_s: float
    lag_messages: Count
    lag_s: float
    late: Count
    duplicates: Count
    rejected: dict[str, int]
    series: Count
    series_limit: Count
    position: Count


class CheckKpi(Request[KpiHealth], frozen=True, kw_only=True):
    """KPI ingestion rate, lag, rejected."""


class ModelView(Reply, frozen=True, kw_only=True):
    """A version of a model. ``error`` was measured on data held out of the training; ``unit`` says in what."""

    name: str
    kind: str
    version: Count
    live: bool
    trained_at: float
    age_s: float
    window_from: float
    window_to: float
    rows: Count
    error: float | None
    baseline_error: float | None
    unit: str
    digest: Digest
    size_bytes: Count
    drifted: bool
    note: str = ""


class ModelsHealth(Reply, frozen=True, kw_only=True):
    """Every live model, and with ``all`` every stored version; ``corrupt`` names those whose checksum is wrong."""

    status: Literal["pass", "warn", "fail"]
    models: list[ModelView]
    corrupt: list[str]


class CheckModels(Request[ModelsHealth], frozen=True, kw_only=True):
    """Model versions with age, error and last training; each checksum is verified now."""

    all: bool = False


class RestoreModels(Request[ModelsHealth], frozen=True, kw_only=True):
    """Make a stored version live again, after verifying its checksum; without ``version`` the one before the live one.

    Without ``name``: every model whose live version is corrupt or missing goes back to its newest sound version.
    """

    name: MaybeToken = ""
    version: Annotated[int, Meta(ge=1)] | None = None


class StoredModel(Reply, frozen=True, kw_only=True):
    """One version as it is stored: ``data`` holds its own checksum, and goes back with ``store_model``."""

    name: str
    version: Count
    live: bool
    digest: Digest
    note: str
    data: bytes


class BackUpModel(Request[StoredModel], frozen=True, kw_only=True):
    """A version's bytes, verified; without ``version`` the live one's."""

    name: Token
    version: Annotated[int, Meta(ge=1)] | None = None


class StoreModel(Request[ModelsHealth], frozen=True, kw_only=True):
    """Store a model from a backup as a new version, after verifying its checksum; what is stored already is not again.

    ``live`` also puts it in use.
    """

    data: Annotated[bytes, Meta(min_length=1, max_length=700_000)]
    live: bool = False


class TrainModels(Request[ModelsHealth], frozen=True, kw_only=True):
    """Train models now from what was ingested; a model that is worse on held-out data is stored but not made live."""

    name: MaybeToken = ""


class LayerPair(Reply, frozen=True, kw_only=True):
    """A measured pair of layers: round trips in ms over the last checks, and the breaker between them."""

    source: str
    target: str
    reachable: bool
    checks: Count
    failures: Count
    p50_ms: float | None
    p95_ms: float | None
    breaker: BreakerState


class TuneEvent(Event, frozen=True, kw_only=True):
    """An auto-tune took a step."""

    tune: str
    agent: str
    step: Literal["started", "proposed", "told", "experiment", "promoted", "discarded", "ended"]
    at: float
    trial: int | None = None
    value: float | None = None
    genome: Document | None = None
    reason: str = ""


_AGENT = {"agent": "sentiment"}

HEALTH = Operation(
    "optimizer", "health", CheckOptimizerHealth, OptimizerHealth, Port.REFINEMENT, "Status of the refinement layer",
    safe=True,
)  # fmt: skip
MODELS = Operation(
    "optimizer", "models", CheckModels, ModelsHealth, Port.REFINEMENT, "Model versions, age, error, last training",
    http=(Http("GET", "/health/models"), Http("GET", "/api/models")), safe=True,
)  # fmt: skip
RESTORE_MODELS = Operation(
    "optimizer", "restore_models", RestoreModels, ModelsHealth, Port.REFINEMENT, "Go back to a stored model version",
    http=(Http("POST", "/api/models/restore"),), timeout_s=30.0, errors=("no-model", "corrupt"),
)  # fmt: skip
BACK_UP_MODEL = Operation(
    "optimizer", "back_up_model", BackUpModel, StoredModel, Port.REFINEMENT, "A stored model version, for a backup",
    http=(Http("GET", "/api/models/{name}"),), safe=True, errors=("no-model", "corrupt"),
    example={"name": "sentiment-latency"},
)  # fmt: skip
STORE_MODEL = Operation(
    "optimizer", "store_model", StoreModel, ModelsHealth, Port.REFINEMENT, "Store a model version from a backup",
    http=(Http("POST", "/api/models"),), timeout_s=30.0, errors=("corrupt",), example={"data": "AAAA"},
)  # fmt: skip
TRAIN_MODELS = Operation(
    "optimizer", "train_models", TrainModels, ModelsHealth, Port.REFINEMENT, "Train models from what was ingested",
    http=(Http("POST", "/api/models/train"),), timeout_s=60.0, errors=("no-model",),
)  # fmt: skip
KPI = Operation(
    "optimizer", "kpi", CheckKpi, KpiHealth, Port.REFINEMENT, "KPI ingestion rate, lag, rejected",
    http=(Http("GET", "/health/kpi"),), safe=True,
)  # fmt: skip
STATUS = Operation(
    "optimizer", "status", GetStatus, OptimizationStatus, Port.REFINEMENT, "Trials, best, convergence, last decision",
    http=(Http("GET", "/api/optimization/status"),), safe=True,
)  # fmt: skip
CONFIGURE = Operation(
    "optimizer", "configure", Configure, Settings, Port.REFINEMENT, "Algorithm and convergence threshold",
    http=(Http("POST", "/api/config/optimization"),),
    example={"algorithm": "bayesian", "convergence_threshold": 0.001},
)  # fmt: skip
PROPOSE = Operation(
    "optimizer", "propose", Propose, Proposal, Port.REFINEMENT, "A genome worth a trial; nothing is deployed",
    http=(Http("POST", "/api/optimization/propose"),), safe=True, timeout_s=10.0, errors=("no-agent",), example=_AGENT,
)  # fmt: skip
AUTO_TUNE = Operation(
    "optimizer", "auto_tune", AutoTune, Tune, Port.REFINEMENT, "Start the closed loop on an agent",
    http=(Http("POST", "/api/optimization/auto-tune", status=202),), timeout_s=30.0,
    errors=("no-agent", "conflict", "bad-genome"),
    example=_AGENT,
)  # fmt: skip
TUNE = Operation(
    "optimizer", "tune", GetTune, Tune, Port.REFINEMENT, "One auto-tune",
    http=(Http("GET", "/api/optimization/auto-tune/{id}"),), safe=True, errors=("no-tune",), example={"id": "t-1"},
)  # fmt: skip
STOP_TUNE = Operation(
    "optimizer", "stop_tune", StopTune, Tune, Port.REFINEMENT, "Stop an auto-tune",
    http=(Http("POST", "/api/optimization/auto-tune/{id}/stop"),), timeout_s=30.0, errors=("no-tune",),
    example={"id": "t-1"},
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    HEALTH, MODELS, RESTORE_MODELS, BACK_UP_MODEL, STORE_MODEL, TRAIN_MODELS, KPI,
    STATUS, CONFIGURE, PROPOSE, AUTO_TUNE, TUNE, STOP_TUNE,
)  # fmt: skip
EVENTS: tuple[EventType, ...] = (EventType(TuneEvent, "chimera.event.optimizer.tuned", "an auto-tune took a step"),)
