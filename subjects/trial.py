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


EVALUATE = Operation(
    "agent", "evaluate", Evaluate, Evaluation, Port.AGENT, "Run tasks on any release or genome, beside live traffic",
    http=(Http("POST", "/api/agents/{name}/evaluate"),), open=True, timeout_s=60.0,
    errors=("no-agent", "no-release", "bad-genome", "bad-module", "overloaded"),
    example={"name": "sentiment", "inputs": [{"text": "I love this, it works great!"}]},
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (EVALUATE,)
