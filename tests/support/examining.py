"""Nodes that answer examinations without an agent: a gene says how often it is right, always on the same cases."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import anyio

from actors.breeding.caseload import Caseload, CaseSplit, of_request
from actors.breeding.evaluator import Evaluator
from actors.breeding.examination import Candidate, Examination
from actors.breeding.yardstick import Yardstick
from chimera.errors import ChimeraError, NotRunningError
from chimera.testing import ManualClock
from subjects.agent import Limits, Manifest, Parameter, Release
from subjects.evolution import Case, Descriptor, Objective
from subjects.experiment import Metric
from subjects.trial import EvaluateGenomes, Failed, GenomeRun, GenomesEvaluation

MANIFEST = Manifest(
    name="echo", label="label", score="score",
    genome=[Parameter(name="skill", low=0.0, high=1.0, default=0.5), Parameter(name="crash", low=0.0, high=1.0)],
)  # fmt: skip
RELEASE = Release(
    agent="echo", number=3, digest="0" * 64, manifest=MANIFEST, genome={"skill": 0.5, "crash": 0.0}, limits=Limits(),
    parent=None, created_at="", created_by="a test",
)  # fmt: skip
CORRECT = Objective(metric=Metric(name="correct"))


def place_of(text: str) -> float:
    """Where a text lies between 0 and 1: a gene above it does what it says."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2.0**64


def cases_of(count: int) -> list[Case]:
    """Cases with a label and a score."""
    return [Case(input={"text": f"text {n}"}, label="up", score=float(n % 7)) for n in range(count)]


def split_of(count: int = 400, most: int = 1000) -> CaseSplit:
    """The same in two parts."""
    return of_request(cases_of(count), most=most)


def examination_of(
    caseload: Caseload, objectives: Sequence[Objective] = (CORRECT,), *, node: str = "",
    descriptors: Sequence[Descriptor] = (), release: Release = RELEASE,
) -> Examination:  # fmt: skip
    """An examination of the agent that the fake nodes run."""
    return Examination(release, caseload, Yardstick(objectives, descriptors, release.manifest), node)


def with_skill(*skills: float, crash: float = 0.0) -> list[Candidate]:
    """Genomes."""
    return [Candidate({"skill": skill, "crash": crash}) for skill in skills]


Hook = Callable[[str, EvaluateGenomes], Awaitable[None]]


@dataclass
class FakeNodes:
    """Nodes by name, and what each was asked. ``hook`` runs before an answer: it may wait, or raise."""

    names: list[str] = field(default_factory=lambda: ["one"])
    workers: int = 2
    checksum: str = ""
    asked: list[tuple[str, EvaluateGenomes]] = field(default_factory=list[tuple[str, EvaluateGenomes]])
    under_way: dict[str, int] = field(default_factory=dict[str, int])
    most_under_way: dict[str, int] = field(default_factory=dict[str, int])
    hook: Hook | None = None

    async def find(self) -> list[str]:
        """Who is there."""
        return list(self.names)

    async def ask(self, message: EvaluateGenomes, node: str, timeout_s: float) -> GenomesEvaluation:
        """A node's answer."""
        assert timeout_s > 0
        if node not in self.names:
            raise NotRunningError(f"{node} is not there")
        self.asked.append((node, message))
        self.under_way[node] = self.under_way.get(node, 0) + 1
        self.most_under_way[node] = max(self.most_under_way.get(node, 0), self.under_way[node])
        try:
            await anyio.lowlevel.checkpoint()
            if self.hook is not None:
                await self.hook(node, message)
        finally:
            self.under_way[node] -= 1
        runs = [self._run(message, dict(genes)) for genes in message.genomes]
        return GenomesEvaluation(
            agent=message.name, release=3, node=node, runs=runs, workers=self.workers, under_way=1
        )  # fmt: skip

    @property
    def tasks(self) -> int:
        """Tasks that were asked for in all."""
        return sum(len(message.genomes) * len(message.inputs) for _, message in self.asked)

    def _run(self, message: EvaluateGenomes, genes: dict[str, Any]) -> GenomeRun:
        skill, crash = genes.get("skill", 0.5), genes.get("crash", 0.0)
        places = [place_of(one["text"]) for one in message.inputs]
        failures = [
            Failed(place=n, outcome="agent-trap", detail="as its gene says") for n, x in enumerate(places) if x < crash
        ]
        values: dict[str, Any] = {
            "label": ["up" if x < skill else "down" for x in places], "score": [skill - x for x in places],
        }  # fmt: skip
        outputs = [values.get(name, [0.5] * len(places)) for name in message.fields]
        return GenomeRun(
            checksum=self.checksum, tasks=len(places), outputs=outputs, failures=failures, cpu_s=1e-4 * len(places),
            run_ms=[0.2] * len(places) if message.times else [], cpu_ms=[0.1] * len(places) if message.times else [],
        )  # fmt: skip


@asynccontextmanager
async def evaluating(nodes: FakeNodes, clock: ManualClock | None = None) -> AsyncGenerator[Evaluator]:
    """An evaluator at work."""
    evaluator = Evaluator(ask=nodes.ask, find=nodes.find, clock=clock or ManualClock())
    async with anyio.create_task_group() as group:
        group.start_soon(evaluator.run)
        yield evaluator
        group.cancel_scope.cancel()


def once(error: ChimeraError) -> Hook:
    """Fails the first request with this error."""
    left = [error]

    async def hook(_node: str, _message: EvaluateGenomes) -> None:
        if left:
            raise left.pop()

    return hook
