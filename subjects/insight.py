"""Patterns, anomalies, baselines, benchmarks and the ways between layers: what the optimizer sees in the figures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Reply, Request
from ._operation import Http, Operation, Port
from ._types import Count, Document, Page, Share
from .optimizer import LayerPair
from .task import MaybeToken, Seconds, UnixTime, Word


class Accuracy(Reply, frozen=True, kw_only=True):
    """How well the detectors find what was put in on purpose: measured on labelled injections, when and how many.

    ``baseline_*`` are a windowed Gaussian's figures on the same series.
    """

    precision: Share
    recall: Share
    vus_pr: Share
    delay_points: float | None
    false_alarms_per_day: float
    baseline_vus_pr: Share
    injections: Count
    seed: Count
    measured_at: float


class Pattern(Reply, frozen=True, kw_only=True):
    """One finding in a series. ``words`` says it to a person; ``figures`` holds its numbers with their units."""

    kind: Literal["trend", "seasonality", "change-point", "correlation"]
    series: str
    confidence: Share
    since: float
    until: float
    words: str
    figures: Document


class PatternList(Reply, frozen=True, kw_only=True):
    """Patterns, surest first, and how far they can be trusted. ``accuracy`` is ``None`` before the first self-check."""

    patterns: list[Pattern]
    series: Count
    accuracy: Accuracy | None


class GetPatterns(Request[PatternList], frozen=True, kw_only=True):
    """Trend, seasonality, change points and correlations between series."""

    agent: MaybeToken = ""
    kind: Literal["", "trend", "seasonality", "change-point", "correlation"] = ""
    limit: Page = 100


class Anomaly(Reply, frozen=True, kw_only=True):
    """A figure that is not what the series' past and time of day let expect."""

    series: str
    agent: str
    kind: Literal["point", "level", "drift"]
    at: float
    value: float
    expected: float | None
    score: float
    confidence: Share
    words: str


class AnomalyList(Reply, frozen=True, kw_only=True):
    """Anomalies, newest first."""

    anomalies: list[Anomaly]
    accuracy: Accuracy | None


class GetAnomalies(Request[AnomalyList], frozen=True, kw_only=True):
    """Anomalies and drift with confidence."""

    agent: MaybeToken = ""
    since: UnixTime = 0.0
    limit: Page = 100


class Figures(Reply, frozen=True, kw_only=True):
    """An agent's figures over a window. Latencies in ms; rates are shares; ``None`` = no data."""

    agent: str
    since: float
    until: float
    tasks: Count
    per_s: float
    availability: float | None
    error_rate: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    cpu_ms: float | None
    accuracy: float | None


class Comparison(Reply, frozen=True, kw_only=True):
    """One figure then and now; ``low`` and ``high`` bound the change at 95 %. ``verdict`` follows from them."""

    agent: str
    figure: str
    before: float | None
    now: float | None
    low: float | None
    high: float | None
    verdict: Literal["better", "worse", "same", "unknown"]


class Baseline(Reply, frozen=True, kw_only=True):
    """The stored baseline, today's figures, and both side by side. ``updated`` = today's were stored by this call.

    On the preview ``next`` names the request that would store them.
    """

    stored_at: float | None
    baseline: list[Figures]
    now: list[Figures]
    comparison: list[Comparison]
    updated: bool
    next: str = ""


class PreviewBaseline(Request[Baseline], frozen=True, kw_only=True):
    """What updating the baseline would replace; changes nothing."""

    window_s: Seconds = 3600.0


class UpdateBaseline(Request[Baseline], frozen=True, kw_only=True):
    """Store the figures of the last ``window_s`` as the baseline."""

    window_s: Seconds = 3600.0
    note: Word = ""


class Benchmark(Reply, frozen=True, kw_only=True):
    """One run of the shipped workload on this box. ``machine`` names CPU, cores and versions."""

    id: str
    at: float
    agent: str
    tasks: Count
    failed: Count
    concurrency: Count
    seconds: float
    per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms_per_task: float | None
    release: int
    machine: Document


class BenchmarkList(Reply, frozen=True, kw_only=True):
    """Stored runs, newest first; ``ratio`` compares the newest with the one before it on the same machine."""

    runs: list[Benchmark]
    ratio: Document
    ran: bool
    next: str = ""


class ListBenchmarks(Request[BenchmarkList], frozen=True, kw_only=True):
    """Stored runs, and what the next would do; runs nothing."""

    limit: Page = 20


class RunBenchmark(Request[BenchmarkList], frozen=True, kw_only=True):
    """Run the shipped workload on this box now, store it, and compare it."""

    tasks: Annotated[int, Meta(ge=10, le=20_000)] = 500
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 16
    agent: MaybeToken = ""


class Monitor(Reply, frozen=True, kw_only=True):
    """Every pair of layers with measured round trips; ``layers`` says which run at all."""

    layers: dict[str, bool]
    pairs: list[LayerPair]
    target_ms: float
    within_target: bool | None


class CheckEvolver(Request[LayerPair], frozen=True, kw_only=True):
    """A real round trip to the evolver."""


class GetMonitor(Request[Monitor], frozen=True, kw_only=True):
    """Latencies of every pair of layers, measured."""


class Change(Reply, frozen=True, kw_only=True):
    """One setting: before, after, and the measurement that speaks for it; not ``applied`` if no better or refused."""

    setting: str
    before: float
    after: float
    because: str
    applied: bool


class Verified(Reply, frozen=True, kw_only=True):
    """How a change came out that was measured again: it stays, or it went back (``worse``, or too little measured)."""

    at: float
    changes: list[Change]
    verdict: Literal["kept", "worse", "unmeasured"]
    evidence: str


class IntegrationOptimized(Reply, frozen=True, kw_only=True):
    """What was changed between the layers, from which measurements.

    A change is on trial first: it is measured again, and goes back by itself unless it holds. ``on_trial`` names what
    is not changed meanwhile, ``verified`` how the latest ones ended, newest first.
    """

    changes: list[Change]
    monitor: Monitor
    on_trial: list[str] = []
    verified: list[Verified] = []


class OptimizeIntegration(Request[IntegrationOptimized], frozen=True, kw_only=True):
    """Set timeouts, breaker and batching from measured round trips, on trial. ``apply`` false shows what would be."""

    apply: bool = True


class Enhanced(Reply, frozen=True, kw_only=True):
    """Monitoring is raised until ``until``; then it falls back by itself."""

    until: float
    log_level: str
    sample_s: float
    previous_log_level: str
    previous_sample_s: float


class EnhanceMonitoring(Request[Enhanced], frozen=True, kw_only=True):
    """Raise sampling and log detail for a bounded time; ``seconds`` 0 ends it now."""

    seconds: Annotated[float, Meta(ge=0, le=86_400)] = 600.0
    log_level: Literal["DEBUG", "INFO"] = "DEBUG"


PATTERNS = Operation(
    "optimizer", "patterns", GetPatterns, PatternList, Port.REFINEMENT, "Trend, seasonality, changes, correlations",
    http=(Http("GET", "/api/patterns"),), safe=True, timeout_s=10.0,
)  # fmt: skip
ANOMALIES = Operation(
    "optimizer", "anomalies", GetAnomalies, AnomalyList, Port.REFINEMENT, "Anomalies and drift with confidence",
    http=(Http("GET", "/api/anomalies"),), safe=True,
)  # fmt: skip
BASELINE = Operation(
    "optimizer", "baseline", PreviewBaseline, Baseline, Port.REFINEMENT, "Old and new baseline side by side: preview",
    http=(Http("GET", "/api/optimization/baseline/update"), Http("GET", "/api/optimization/baseline")), safe=True,
)  # fmt: skip
UPDATE_BASELINE = Operation(
    "optimizer", "update_baseline", UpdateBaseline, Baseline, Port.REFINEMENT, "Store today's figures as the baseline",
    http=(Http("POST", "/api/optimization/baseline/update"),),
)  # fmt: skip
BENCHMARKS = Operation(
    "optimizer", "benchmarks", ListBenchmarks, BenchmarkList, Port.REFINEMENT, "Stored benchmark runs: preview",
    http=(Http("GET", "/api/benchmarking/run"), Http("GET", "/api/benchmarking")), safe=True,
)  # fmt: skip
RUN_BENCHMARK = Operation(
    "optimizer", "run_benchmark", RunBenchmark, BenchmarkList, Port.REFINEMENT, "Run the shipped workload, compare it",
    http=(Http("POST", "/api/benchmarking/run"),), timeout_s=120.0, errors=("no-agent", "overloaded", "conflict"),
    example={"tasks": 20, "concurrency": 4},
)  # fmt: skip
CHECK_EVOLVER = Operation(
    "optimizer", "check_evolver", CheckEvolver, LayerPair, Port.REFINEMENT, "A measured round trip to the evolver",
    http=(Http("GET", "/api/integration/layer7"),), safe=True, errors=("layer-not-running",),
)  # fmt: skip
MONITOR = Operation(
    "optimizer", "monitor", GetMonitor, Monitor, Port.REFINEMENT, "Latencies of every pair of layers, measured",
    http=(Http("GET", "/api/integration/monitor"),), safe=True, timeout_s=10.0,
)  # fmt: skip
OPTIMIZE_INTEGRATION = Operation(
    "optimizer", "optimize_integration", OptimizeIntegration, IntegrationOptimized, Port.REFINEMENT,
    "Set timeouts, breaker and batching from measurements",
    http=(Http("POST", "/api/integration/optimize"),), timeout_s=30.0,
)  # fmt: skip
ENHANCE_MONITORING = Operation(
    "optimizer", "enhance_monitoring", EnhanceMonitoring, Enhanced, Port.REFINEMENT,
    "Raise sampling and log detail for a bounded time",
    http=(Http("POST", "/api/monitoring/enhanced"),), example={"seconds": 60},
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    PATTERNS, ANOMALIES, BASELINE, UPDATE_BASELINE, BENCHMARKS, RUN_BENCHMARK, CHECK_EVOLVER, MONITOR,
    OPTIMIZE_INTEGRATION, ENHANCE_MONITORING,
)  # fmt: skip
