"""Trials beside live traffic: run recorded or supplied tasks on any release or genome of an agent."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from ._message import Reply, Request
from ._operation import Http, Operation, Port
from ._types import Count, DeadlineMs, Document, Milliseconds, ReleaseNumber, Token
from .agent import Genes, Limits
from .event import Outcome

MOST_INPUTS = 1000
"""Tasks in one evaluation."""

MOST_GENOMES = 64
"""Genomes in one evaluation."""


class Tried(Reply, frozen=True, kw_only=True):
    """What became of one task of a trial. ``output`` is ``None`` after an error, which ``detail`` describes."""

    outcome: Outcome
    output: Document | None = None
    run_ms: Milliseconds = 0.0
    cpu_ms: Milliseconds = 0.0
    detail: str = ""


class Evaluation(Reply, frozen=True, kw_only=True):
    """One result per input, in order. ``checksum`` is the sha256 of module digest, genome and limits together.

    For a deterministic agent the same checksum and input give the same output, on every node and at any time.
    """

    agent: str
    release: int
    checksum: str
    node: str
    results: list[Tried]
    failed: Count


class Evaluate(Request[Evaluation], frozen=True, kw_only=True):
    """Run tasks on a release, or on a change of it, with capacity that live traffic leaves free.

    Nothing of it counts as traffic: no record, no stored answer, no breaker, no share.

    Attributes:
        name: The agent.
        release: Whose module, genome and limits are taken; the live one's by default.
        genome: Genes to change on top of that.
        limits: Limits instead of the release's; the operator's caps hold.
        task: Which of the agent's tasks.
        inputs: What the task works on, one run each.
    """

    name: Token
    release: ReleaseNumber | None = None
    genome: Genes = {}
    limits: Limits | None = None
    task: Token = "predict"
    inputs: Annotated[list[Document], Meta(min_length=1, max_length=MOST_INPUTS)]
    deadline_ms: DeadlineMs | None = None


class Failed(Reply, frozen=True, kw_only=True):
    """A task of a trial that did not succeed: its place among the inputs, and why."""

    place: Count
    outcome: Outcome
    detail: str = ""


class GenomeRun(Reply, frozen=True, kw_only=True):
    """What one genome made of the inputs, in columns, in the inputs' order.

    Attributes:
        checksum: As in ``Evaluation``.
        tasks: Inputs that were run; fewer than there are only if the genome was given up, or could not be started.
        outputs: Per field asked for a value per task; ``None`` where the answer has none, is too complex, or failed.
        run_ms: Per task, if times were asked for; so is ``cpu_ms``.
        failures: Tasks that failed.
        cpu_s: Guests' CPU time, all tasks together.
        refused: Why the genome could not be started at all.
    """

    checksum: str
    tasks: Count
    outputs: list[list[bool | float | int | str | None]] = []
    run_ms: list[float] = []
    cpu_ms: list[float] = []
    failures: list[Failed] = []
    cpu_s: float = 0.0
    refused: str = ""


class GenomesEvaluation(Reply, frozen=True, kw_only=True):
    """One run per genome, in order, and what the node could take besides.

    Attributes:
        workers: Worker processes of the node: so many evaluations run at once.
        under_way: Evaluations on the node when this one ended, itself included.
    """

    agent: str
    release: int
    node: str
    runs: list[GenomeRun]
    workers: Count
    under_way: Count


class EvaluateGenomes(Request[GenomesEvaluation], frozen=True, kw_only=True):
    """Run the same tasks on many genomes, with capacity that live traffic leaves free; a few figures of each come back.

    Each genome is loaded on one worker and nowhere else. As with ``Evaluate`` nothing of it counts as traffic.

    Attributes:
        name: The agent.
        release: Whose module, genome and limits are taken; the live one's by default.
        genomes: Genes to change on top of that, for one run each.
        limits: Limits instead of the release's, for the genome at the same place; empty = the release's for all.
        task: Which of the agent's tasks.
        inputs: What the task works on.
        fields: Of the output; nothing else of it is kept.
        times: Whether times per task are wanted.
        give_up: The rest of a genome's inputs is not run after so many tasks that met a limit; 0 = never.
    """

    name: Token
    release: ReleaseNumber | None = None
    genomes: Annotated[list[Genes], Meta(min_length=1, max_length=MOST_GENOMES)]
    limits: Annotated[list[Limits | None], Meta(max_length=MOST_GENOMES)] = []
    task: Token = "predict"
    inputs: Annotated[list[Document], Meta(min_length=1, max_length=MOST_INPUTS)]
    fields: Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=16)] = []
    times: bool = False
    give_up: Count = 0
    deadline_ms: DeadlineMs | None = None


EVALUATE = Operation(
    "agent", "evaluate", Evaluate, Evaluation, Port.AGENT, "Run tasks on any release or genome, beside live traffic",
    http=(Http("POST", "/api/agents/{name}/evaluate"),), open=True, timeout_s=60.0,
    errors=("no-agent", "no-release", "bad-genome", "bad-module", "overloaded"),
    example={"name": "sentiment", "inputs": [{"text": "I love this, it works great!"}]},
)  # fmt: skip

EVALUATE_GENOMES = Operation(
    "agent", "evaluate_genomes", EvaluateGenomes, GenomesEvaluation, Port.AGENT,
    "Run the same tasks on many genomes, beside live traffic",
    http=(Http("POST", "/api/agents/{name}/evaluate-genomes"),), open=True, timeout_s=60.0,
    errors=("no-agent", "no-release", "bad-module", "overloaded"),
    example={
        "name": "sentiment", "genomes": [{}, {"capitals_increment": 0.8}], "fields": ["compound"],
        "inputs": [{"text": "I love this, it works great!"}],
    },
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (EVALUATE, EVALUATE_GENOMES)
