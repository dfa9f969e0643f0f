"""Port 8000, ``chimera.agent.*``: run tasks in sandboxed agents, and change agents by immutable releases."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Reply, Request
from ._operation import Http, Operation, Port
from ._types import Count, DeadlineMs, Digest, Document, Milliseconds, ReleaseNumber, Share, Token

Base64Bytes = Annotated[bytes, Meta(max_length=8 << 20, description="bytes, base64 in JSON")]
Text = Annotated[str, Meta(max_length=2000)]
Genes = dict[str, bool | float | int | str | list[float]]
"""Parameter name to value, as the manifest declares them; a vector parameter takes a list of numbers."""


class Timings(Reply, frozen=True, kw_only=True):
    """Where a task's time went, in milliseconds: waiting, running in the guest, and both with everything between."""

    queue_ms: Milliseconds
    run_ms: Milliseconds
    total_ms: Milliseconds


class Prediction(Reply, frozen=True, kw_only=True):
    """The agent's answer, the release that served it, and its timings.

    ``replayed`` is true when the same ``job_id`` with the same body was answered before: this is the stored answer.
    """

    job_id: str
    agent: str
    release: int
    output: Document
    timings: Timings
    node: str
    replayed: bool = False


class Predict(Request[Prediction], frozen=True, kw_only=True):
    """Run one task now. The same ``job_id`` and body within the window give the stored answer."""

    job_id: Token
    input: Document
    agent: Token = "sentiment"
    task: Token = "predict"
    deadline_ms: DeadlineMs | None = None
    key: Annotated[str, Meta(max_length=256, description="sticky assignment to live or candidate; default job_id")] = ""


class FeedbackTaken(Reply, frozen=True, kw_only=True):
    """The judged task and what the agent's accuracy over recent feedback is now; ``None`` before any label."""

    job_id: str
    agent: str
    release: int
    correct: bool | None
    accuracy: float | None
    judged: Count


class Feedback(Request[FeedbackTaken], frozen=True, kw_only=True):
    """Tell what the right answer of an earlier task was: its label, or a score, or both."""

    job_id: Token
    label: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    score: Annotated[float, Meta(ge=-1e9, le=1e9)] | None = None


class Candidate(Reply, frozen=True, kw_only=True):
    """The release on trial and its share of traffic."""

    release: int
    share: Share


class BreakerState(Reply, frozen=True, kw_only=True):
    """A circuit breaker: closed lets through, open refuses, half-open lets one probe through."""

    state: Literal["closed", "open", "half-open"]
    failures: Count
    retry_after_s: float = 0.0


class AgentHealth(Reply, frozen=True, kw_only=True):
    """One agent as it runs on this node. Percentiles and rates cover the last ``window`` tasks."""

    name: str
    release: int
    candidate: Candidate | None
    previous: int | None
    instances: Count
    in_flight: Count
    queued: Count
    tasks_total: Count
    errors_total: Count
    window: Count
    p50_ms: float | None
    p95_ms: float | None
    error_rate: float | None
    accuracy: float | None
    breaker: BreakerState


class AgentList(Reply, frozen=True, kw_only=True):
    """Every agent of the answering node."""

    node: str
    agents: list[AgentHealth]


class ListAgents(Request[AgentList], frozen=True, kw_only=True):
    """One row per agent."""


class Health(Reply, frozen=True, kw_only=True):
    """How the execution layer does: ``pass``, ``warn`` (some agent's breaker is open) or ``fail``."""

    status: Literal["pass", "warn", "fail"]
    node: str
    version: str
    uptime_s: float
    agents: list[str]
    in_flight: Count
    workers: Count
    checks: dict[str, str]


class CheckHealth(Request[Health], frozen=True, kw_only=True):
    """Status, live agents, in flight, node."""


class LayerCheck(Reply, frozen=True, kw_only=True):
    """A measured round trip to another layer."""

    layer: str
    reachable: bool
    latency_ms: float
    breaker: BreakerState


class CheckOptimizer(Request[LayerCheck], frozen=True, kw_only=True):
    """A real round trip to the optimizer."""


class Batching(Reply, frozen=True, kw_only=True):
    """Batch settings in force: a batch leaves when full or when a worker is free; the timeout is a ceiling."""

    batch_size: int
    batch_timeout_ms: float
    previous_batch_size: int
    previous_batch_timeout_ms: float


class ConfigureBatching(Request[Batching], frozen=True, kw_only=True):
    """Set batching; applied at once and kept across restarts."""

    batch_size: Annotated[int, Meta(ge=1, le=1024)]
    batch_timeout_ms: Annotated[float, Meta(ge=0, le=10_000)]


class Optimized(Reply, frozen=True, kw_only=True):
    """What the optimizer proposed and what became of it."""

    proposal: Document
    applied: bool
    reason: str


class Optimize(Request[Optimized], frozen=True, kw_only=True):
    """Ask the optimizer for better execution settings and apply them through the release gate."""

    agent: Token = "sentiment"


class Limits(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one task of a guest may use. Every limit has its own error.

    Attributes:
        cpu_ms: CPU time of the worker thread spent inside the guest.
        wall_ms: Wall time; the worker is killed at twice this.
        memory_bytes: Linear memory of one instance.
        output_bytes: Bytes of one answer.
        log_bytes: Bytes of log a task may write; the rest is dropped and counted.
        log_lines: Log lines a task may write.
    """

    cpu_ms: Annotated[float, Meta(gt=0, le=600_000)] = 1_000.0
    wall_ms: Annotated[float, Meta(gt=0, le=600_000)] = 5_000.0
    memory_bytes: Annotated[int, Meta(ge=65_536, le=4 << 30)] = 16 << 20
    output_bytes: Annotated[int, Meta(ge=16, le=16 << 20)] = 1 << 20
    log_bytes: Annotated[int, Meta(ge=0, le=1 << 20)] = 16_384
    log_lines: Annotated[int, Meta(ge=0, le=10_000)] = 100


class Parameter(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One gene: its name, type, bounds and default. A vector parameter has ``size`` genes with the same bounds.

    ``choices`` belongs to ``categorical``; ``low`` and ``high`` to ``real`` and ``integer``. ``when`` makes it
    conditional: it counts only while each named parameter has the given value.
    """

    name: Token
    type: Literal["real", "integer", "categorical", "boolean"] = "real"
    low: float | None = None
    high: float | None = None
    default: bool | float | int | str = 0.0
    size: Annotated[int, Meta(ge=1, le=4096)] = 1
    choices: list[str] = []
    unit: str = ""
    description: str = ""
    when: dict[str, bool | float | int | str] = {}


class Manifest(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent says about itself. The module's digest is not here: a release holds it.

    Attributes:
        name: The agent's name, a subject token.
        version: Version of the module's source, SemVer.
        abi: The guest ABI.
        description: One line for people.
        tasks: Exports that are tasks; empty = whatever the module exports as such.
        label: Field of the output that feedback's label is compared with.
        score: Field of the output that feedback's score is compared with.
        genome: Parameters in the order in which the guest receives them.
        limits: Limits asked for; the operator's settings cap them.
        grants: Host functions asked for: ``clock``, ``random``, ``emit:<pattern>``, ``wasi``.
        placement: ``worker`` (default) or ``inline`` (only if the operator allows it).
        reuse: Tasks served by one instance before a fresh one; 1 = fresh per task.
        deterministic: No clock, no randomness, canonical NaNs: what replay and paired statistics need.
        descriptors: Output fields that describe behaviour, for quality-diversity search.
    """

    name: Token
    version: Annotated[str, Meta(pattern=r"^\d+\.\d+\.\d+$")] = "0.1.0"
    abi: Literal["chimera-v1"] = "chimera-v1"
    description: Text = ""
    tasks: list[Token] = []
    label: str = ""
    score: str = ""
    genome: list[Parameter] = []
    limits: Limits = Limits()
    grants: list[Text] = []
    placement: Literal["worker", "inline"] = "worker"
    reuse: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    deterministic: bool = True
    descriptors: list[str] = []


class Release(Reply, frozen=True, kw_only=True):
    """An immutable release: (module, manifest, genome, limits), numbered, with its parent.

    ``genome`` holds every parameter of the manifest, defaults filled in. ``digest`` is the module's sha256.
    """

    agent: str
    number: int
    digest: Digest
    manifest: Manifest
    genome: Genes
    limits: Limits
    parent: int | None
    created_at: str
    created_by: str
    note: str = ""


class AgentView(Reply, frozen=True, kw_only=True):
    """An agent: which release is live, which is on trial, which stays warm, and all there are."""

    name: str
    state: Literal["live", "retired"]
    live: int
    candidate: Candidate | None
    previous: int | None
    releases: list[Release]


class RegisterAgent(Request[AgentView], frozen=True, kw_only=True):
    """Add an agent: module and manifest become release 1, live at once. The module is checked first."""

    module: Base64Bytes
    manifest: Manifest
    genome: Genes = {}
    note: Text = ""


class ShowAgent(Request[AgentView], frozen=True, kw_only=True):
    """One agent with its releases."""

    name: Token


class Deploy(Request[AgentView], frozen=True, kw_only=True):
    """Make a new release from the live one, changing what is given; or go to an existing ``release``.

    ``share`` 1 swaps at once, the replaced release stays warm; less makes it the candidate with that share of traffic.
    ``expect_live`` and ``expect_candidate`` (0 = none) refuse the act if the agent is not as the caller thinks.
    """

    name: Token
    release: ReleaseNumber | None = None
    module: Base64Bytes | None = None
    manifest: Manifest | None = None
    genome: Genes | None = None
    limits: Limits | None = None
    share: Share = 1.0
    expect_live: Count | None = None
    expect_candidate: Count | None = None
    by: Token = "operator"
    note: Text = ""


class Rollback(Request[AgentView], frozen=True, kw_only=True):
    """Drop the candidate if there is one, else return to the previous release."""

    name: Token
    expect_live: Count | None = None
    expect_candidate: Count | None = None
    by: Token = "operator"
    note: Text = ""


class Retire(Request[AgentView], frozen=True, kw_only=True):
    """Stop serving an agent. Its releases stay on record."""

    name: Token


_AGENT_ERRORS = ("no-agent", "agent-error", "agent-trap", "agent-limit", "agent-contract", "breaker-open", "overloaded")
_RELEASE_ERRORS = ("no-agent", "no-release", "bad-module", "bad-genome", "conflict")
_HELLO = {"job_id": "health-check", "input": {"text": "I love this, it works great!"}}

PREDICT = Operation(
    "agent", "predict", Predict, Prediction, Port.AGENT, "Run one task in a sandboxed agent now",
    http=(Http("POST", "/predict"),), open=True, timeout_s=10.0, errors=(*_AGENT_ERRORS, "conflict"), example=_HELLO,
)  # fmt: skip
FEEDBACK = Operation(
    "agent", "feedback", Feedback, FeedbackTaken, Port.AGENT, "Say what the right answer of a task was",
    http=(Http("POST", "/api/feedback"),), open=True, errors=("no-job",),
    example={"job_id": "health-check", "label": "positive"},
)  # fmt: skip
HEALTH = Operation(
    "agent", "health", CheckHealth, Health, Port.AGENT, "Status, live agents, in flight, node", safe=True,
)  # fmt: skip
LIST = Operation(
    "agent", "list", ListAgents, AgentList, Port.AGENT, "One row per agent",
    http=(Http("GET", "/health/agents"), Http("GET", "/api/agents")), safe=True,
)  # fmt: skip
CHECK_OPTIMIZER = Operation(
    "agent", "check_optimizer", CheckOptimizer, LayerCheck, Port.AGENT, "A measured round trip to the optimizer",
    http=(Http("GET", "/api/integration/layer5"),), safe=True, errors=("layer-not-running",),
)  # fmt: skip
CONFIGURE_BATCHING = Operation(
    "agent", "configure_batching", ConfigureBatching, Batching, Port.AGENT, "Set batching, at once and for good",
    http=(Http("POST", "/api/config/batching"),), example={"batch_size": 32, "batch_timeout_ms": 100},
)  # fmt: skip
OPTIMIZE = Operation(
    "agent", "optimize", Optimize, Optimized, Port.AGENT, "Ask the optimizer for better execution settings",
    http=(Http("POST", "/api/config/optimize"),), timeout_s=30.0, errors=("layer-not-running", "no-agent"),
)  # fmt: skip
REGISTER = Operation(
    "agent", "register", RegisterAgent, AgentView, Port.AGENT, "Add an agent: module and manifest",
    http=(Http("POST", "/api/agents", status=201),), timeout_s=30.0, errors=_RELEASE_ERRORS,
    example={"module": "AGFzbQEAAAA=", "manifest": {"name": "echo"}},
)  # fmt: skip
SHOW = Operation(
    "agent", "show", ShowAgent, AgentView, Port.AGENT, "One agent with its releases",
    http=(Http("GET", "/api/agents/{name}"),), safe=True, errors=("no-agent",), example={"name": "sentiment"},
)  # fmt: skip
DEPLOY = Operation(
    "agent", "deploy", Deploy, AgentView, Port.AGENT, "Make a release and send traffic to it",
    http=(Http("POST", "/api/agents/{name}/deploy"),), timeout_s=30.0, errors=_RELEASE_ERRORS,
    example={"name": "sentiment", "genome": {"capitals_increment": 0.8}, "share": 0.1},
)  # fmt: skip
ROLLBACK = Operation(
    "agent", "rollback", Rollback, AgentView, Port.AGENT, "Return to the previous release",
    http=(Http("POST", "/api/agents/{name}/rollback"),), errors=_RELEASE_ERRORS, example={"name": "sentiment"},
)  # fmt: skip
RETIRE = Operation(
    "agent", "retire", Retire, AgentView, Port.AGENT, "Stop serving an agent",
    http=(Http("DELETE", "/api/agents/{name}"),), errors=("no-agent",), example={"name": "sentiment"},
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    PREDICT, FEEDBACK, HEALTH, LIST, CHECK_OPTIMIZER, CONFIGURE_BATCHING, OPTIMIZE,
    REGISTER, SHOW, DEPLOY, ROLLBACK, RETIRE,
)  # fmt: skip
