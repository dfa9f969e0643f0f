"""Experiments: how a candidate release is compared with the live one, and how the gate decides.

A person, the optimizer or the evolver proposes; only the gate promotes. Every decision can be recomputed from the log.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from ._message import Event, Reply, Request
from ._operation import EventType, Http, Operation, Port
from ._types import Count, Page, ReleaseNumber, Share, Token
from .agent import Genes, Text
from .task import MaybeToken, Seconds

Mode = Literal["replay", "shadow", "split"]
"""``replay``: recorded tasks on both. ``shadow``: live tasks on both, the user sees the live one. ``split``: A/B."""

MetricKind = Literal["proportion", "mean", "quantile"]
ExperimentState = Literal["running", "promoted", "rolled-back", "inconclusive", "stopped", "failed"]
"""The last five are final: ``inconclusive`` ran out of time or messages, ``stopped`` was ended by a person."""

Verdict = Literal["watch", "promote", "roll-back", "give-up"]
Alpha = Annotated[float, Meta(gt=0, lt=0.5, description="an error probability")]
ExperimentId = Token


class Metric(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One number per message, and which way is better.

    Attributes:
        name: ``correct`` (judged right), ``score_error`` (distance to the judged score), ``failed`` (no answer),
            ``slow`` (run longer than ``threshold`` ms), ``run_ms``, ``cpu_ms`` (cost), or ``output.<field>``.
        kind: ``proportion`` for 0 or 1, ``mean`` for numbers within ``low`` and ``high``, ``quantile`` for latency.
        better: Which direction is better.
        low: Least value; observations are clipped, and the clipped ones counted.
        high: Greatest value.
        quantile: Which quantile, for ``quantile``.
        threshold: For ``slow``, in ms.
    """

    name: Annotated[
        str, Meta(pattern=r"^(correct|score_error|failed|slow|run_ms|cpu_ms|output\.[A-Za-z0-9_.-]{1,64})$(?!\n)")
    ]
    kind: MetricKind = "proportion"
    better: Literal["higher", "lower"] = "higher"
    low: float = 0.0
    high: float = 1.0
    quantile: Annotated[float, Meta(gt=0, lt=1)] = 0.95
    threshold: Annotated[float, Meta(gt=0, le=600_000)] = 100.0


class Guardrail(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric that may get worse by ``bound`` at most, in the metric's own unit; more, and the candidate goes back."""

    metric: Metric
    bound: Annotated[float, Meta(ge=0)] = 0.0
    alpha: Alpha = 0.01


FAILED = Metric(name="failed", better="lower")
SLOW = Metric(name="slow", better="lower")
CORRECT = Metric(name="correct")
GUARDRAILS = [Guardrail(metric=FAILED, bound=0.01, alpha=0.005), Guardrail(metric=SLOW, bound=0.05, alpha=0.005)]
"""Used where an experiment names none."""


class Plan(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the candidate is tried and when the gate may decide.

    Attributes:
        stages: In this order; the evidence of disjoint stages multiplies. ``split`` sends live traffic to it.
        primary: What must get better. Where tasks were judged by scores and none by a label, that ``correct`` can't be:
            it is ``score_error`` then, and the experiment's plan says so.
        guardrails: What must not get worse.
        budget: ``ledger`` draws the promotion's level from the loop's one error budget; ``fixed`` takes ``alpha``.
        alpha: Level of the promotion under ``fixed``, and of "the candidate is worse".
        ramp: Shares of traffic in the split stage, each held for ``step_messages`` of the candidate's messages.
        step_messages: See ``ramp``.
        min_messages: No promotion before so many paired messages, or so many of the candidate's in a split.
        max_messages: Then the stage ends without a decision.
        max_s: Then the experiment ends without a decision.
        sample_ratio_alpha: Level of the sample-ratio check.
        covariate: Reduce variance by the message's length or the incumbent's figure, where the metric is a mean.
        approve: Wait for a person before the promotion; rollback never waits.
    """

    stages: Annotated[list[Mode], Meta(min_length=1, max_length=3)] = field(default_factory=lambda: ["replay", "split"])
    primary: Metric = CORRECT
    guardrails: Annotated[list[Guardrail], Meta(max_length=8)] = field(default_factory=lambda: list(GUARDRAILS))
    budget: Literal["ledger", "fixed"] = "ledger"
    alpha: Alpha = 0.025
    ramp: Annotated[list[Share], Meta(min_length=1, max_length=16)] = field(default_factory=lambda: [0.05, 0.2, 0.5])
    step_messages: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    min_messages: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    max_messages: Annotated[int, Meta(ge=1, le=10_000_000)] = 20_000
    max_s: Seconds = 86_400.0
    sample_ratio_alpha: Alpha = 0.001
    covariate: Literal["", "input_bytes"] = ""
    approve: bool = False


class Interval(Reply, frozen=True, kw_only=True):
    """A confidence sequence's present interval: true at every look at once with probability ``confidence``."""

    low: float | None
    high: float | None
    confidence: float


class Evidence(Reply, frozen=True, kw_only=True):
    """What one metric says of a candidate so far.

    Attributes:
        metric: Its name.
        n_live: Messages of the live release that count.
        n_candidate: Messages of the candidate that count; equal to ``n_live`` for paired stages.
        live: Present estimate for the live release.
        candidate: Present estimate for the candidate.
        effect: Candidate minus live.
        interval: Confidence sequence of the effect.
        e_better: e-value against "no better".
        e_worse: e-value against "no worse than the bound".
        test: The test's name with its source.
    """

    metric: str
    n_live: Count
    n_candidate: Count
    live: float | None
    candidate: float | None
    effect: float | None
    interval: Interval
    e_better: float
    e_worse: float
    test: str


FOUND_RATE = 0.05
"""Share of the metrics named in ``better``, and of those in ``worse``, that are false in expectation at most."""


class Variant(Reply, frozen=True, kw_only=True):
    """One candidate of an experiment, with its figures in the present stage.

    ``e_total`` is the e-value for "better" over all stages so far; ``reason`` says why it is out, if it is. ``better``
    and ``worse`` (by more than its bound) name the metrics of which that is shown, with all of them looked at together,
    at any moment (e-BH at 5 %, Wang and Ramdas 2022); they decide nothing.
    """

    release: int
    stage: Mode | Literal["done"]
    share: Share
    primary: Evidence
    guardrails: list[Evidence]
    e_total: float = 1.0
    reason: str = ""
    better: list[str] = []
    worse: list[str] = []


class Decision(Reply, frozen=True, kw_only=True):
    """What the gate decided at one moment, and the figures that made it.

    ``number`` counts an experiment's decisions; ``seq`` is the log entry after which it was made.
    """

    number: Count
    seq: Count
    at: float
    verdict: Verdict
    release: int | None
    reason: str
    level: float
    e_value: float
    by: str = "gate"


class Experiment(Reply, frozen=True, kw_only=True):
    """An experiment as it stands.

    Attributes:
        id: Its id.
        agent: The agent.
        state: See ``ExperimentState``.
        incumbent: The release that was live at the start.
        proposer: Who proposed the candidate.
        variants: The candidates.
        plan: How it is tried.
        level: What the primary metric's e-value must reach the inverse of.
        sample_ratio_e: e-value against the intended split of traffic.
        e_any: e-value for "at least one of the variants is better": their mean, valid though they share messages.
        messages: Messages that count, of all variants.
        harmed: Messages that a candidate answered worse than the live release would have, or failed.
        decisions: Every change of state, oldest first.
        forecast_messages: Expected messages until a decision if the present effect is true; ``None`` if unknown.
        forecast_s: The same in seconds at the present rate.
    """

    id: str
    agent: str
    state: ExperimentState
    incumbent: int
    proposer: str
    note: str
    started_at: float
    ended_at: float | None
    variants: list[Variant]
    plan: Plan
    level: float
    sample_ratio_e: float
    messages: Count
    harmed: Count
    decisions: list[Decision]
    waits_for_approval: bool = False
    e_any: float = 1.0
    forecast_messages: Count | None = None
    forecast_s: float | None = None


class Budget(Reply, frozen=True, kw_only=True):
    """The loop's error budget: of all automatic promotions at most ``rate`` in expectation are no improvement."""

    rate: float
    spending: str
    tests: Count
    promotions: Count
    next_level: float
    method: str


class ExperimentList(Reply, frozen=True, kw_only=True):
    """Experiments, newest first, and the error budget."""

    experiments: list[Experiment]
    budget: Budget


class Experiments(Request[ExperimentList], frozen=True, kw_only=True):
    """Experiments by filter; empty fields do not filter."""

    agent: MaybeToken = ""
    state: ExperimentState | Literal[""] = ""
    limit: Page = 100


class CreateExperiment(Request[Experiment], frozen=True, kw_only=True):
    """Put one or several candidates on trial, by release number or as genomes that become releases.

    A second request with the same ``id`` and content is the same experiment. One experiment per agent at a time.
    """

    agent: Token
    id: MaybeToken = ""
    candidates: Annotated[list[ReleaseNumber], Meta(max_length=4)] = []
    genomes: Annotated[list[Genes], Meta(max_length=4)] = []
    plan: Plan = Plan()
    proposer: Token = "operator"
    note: Text = ""


class GetExperiment(Request[Experiment], frozen=True, kw_only=True):
    """One experiment."""

    id: ExperimentId


class StopExperiment(Request[Experiment], frozen=True, kw_only=True):
    """End an experiment by hand: without a change, or against the gate's evidence. Recorded with the name and note."""

    id: ExperimentId
    act: Literal["stop", "promote", "roll-back", "approve"] = "stop"
    by: Token = "operator"
    note: Text = ""


class Step(Reply, frozen=True, kw_only=True):
    """One decision as it was made, and as it comes out when it is made again from the log."""

    recorded: Decision
    recomputed: Decision
    same: bool
    evidence: list[Evidence]


class Explanation(Reply, frozen=True, kw_only=True):
    """Why an experiment went as it did. ``exact`` = every decision was recomputed to the last digit."""

    id: str
    agent: str
    state: ExperimentState
    steps: list[Step]
    exact: bool
    words: list[str]


class Explain(Request[Explanation], frozen=True, kw_only=True):
    """Make every decision of an experiment again, from its log."""

    id: ExperimentId


class Forecast(Reply, frozen=True, kw_only=True):
    """What a comparison costs before it starts: messages and time until a decision, by simulation.

    ``power`` is the share of simulated experiments that found the effect within the plan's limits.
    """

    effect: float
    power: float
    messages_p50: Count | None
    messages_p90: Count | None
    seconds_p50: float | None
    simulations: Count
    assumptions: str


class ForecastExperiment(Request[Forecast], frozen=True, kw_only=True):
    """Power and duration of a plan for a true effect, from the agent's recorded figures."""

    agent: Token
    plan: Plan = Plan()
    effect: Annotated[float, Meta(gt=0)] = 0.02


class Decided(Event, frozen=True, kw_only=True):
    """The gate decided. ``evidence`` is what it saw."""

    experiment: str
    agent: str
    decision: Decision
    evidence: list[Evidence]
    state: ExperimentState


_ERRORS = ("no-agent", "no-release", "bad-genome", "conflict")
_SHOWN = {"id": "e-1"}

EXPERIMENTS = Operation(
    "optimizer", "experiments", Experiments, ExperimentList, Port.REFINEMENT, "Experiments and the error budget",
    http=(Http("GET", "/api/experiments"),), safe=True,
)  # fmt: skip
CREATE_EXPERIMENT = Operation(
    "optimizer", "create_experiment", CreateExperiment, Experiment, Port.REFINEMENT, "Put a candidate on trial",
    http=(Http("POST", "/api/experiments", status=201),), timeout_s=30.0, errors=_ERRORS,
    example={"agent": "sentiment", "genomes": [{"capitals_increment": 0.8}]},
)  # fmt: skip
EXPERIMENT = Operation(
    "optimizer", "experiment", GetExperiment, Experiment, Port.REFINEMENT, "One experiment: n, effect, evidence",
    http=(Http("GET", "/api/experiments/{id}"),), safe=True, errors=("no-experiment",), example=_SHOWN,
)  # fmt: skip
STOP_EXPERIMENT = Operation(
    "optimizer", "stop_experiment", StopExperiment, Experiment, Port.REFINEMENT, "Stop or override an experiment",
    http=(Http("POST", "/api/experiments/{id}/stop"),), timeout_s=30.0, errors=("no-experiment", "conflict"),
    example=_SHOWN,
)  # fmt: skip
EXPLAIN = Operation(
    "optimizer", "explain", Explain, Explanation, Port.REFINEMENT, "Make an experiment's decisions again from the log",
    http=(Http("GET", "/api/experiments/{id}/explain"),), safe=True, timeout_s=30.0, errors=("no-experiment",),
    example=_SHOWN,
)  # fmt: skip
FORECAST = Operation(
    "optimizer", "forecast", ForecastExperiment, Forecast, Port.REFINEMENT, "Power and duration before the start",
    http=(Http("POST", "/api/experiments/forecast"),), safe=True, timeout_s=30.0, errors=("no-agent",),
    example={"agent": "sentiment", "effect": 0.02},
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    EXPERIMENTS, CREATE_EXPERIMENT, FORECAST, EXPERIMENT, STOP_EXPERIMENT, EXPLAIN,
)  # fmt: skip
EVENTS: tuple[EventType, ...] = (
    EventType(Decided, "chimera.event.optimizer.decided", "the gate decided on an experiment"),
)
