"""Entries of an evolution's log as they are written, and those who are asked beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from msgspec.structs import replace

from actors.breeding.fold import EvolutionFold
from actors.breeding.log import Began, Bred, Championed, Measured
from actors.evolving.record import DataWindow, GenomeRecord, seal
from chimera.errors import ChimeraError, NoExperimentError
from subjects.agent import AgentView, Candidate, Limits, Manifest, Parameter, Release
from subjects.evolution import Evolution, GenerationView, Objective, StartEvolution, Window
from subjects.evolver import PopulationConfig
from subjects.experiment import Decision, Evidence, Experiment, Interval, Plan, Variant
from tests.support.evolution import generation

MANIFEST = Manifest(
    name="echo", label="label", score="score", genome=[Parameter(name="x", low=0.0, high=1.0, default=0.5)]
)
WINDOW = Window(source="supplied", first=0, last=0, train=80, validation=40, digest="d" * 64)


def release(number: int = 1, x: float = 0.5, note: str = "") -> Release:
    """A release of the agent."""
    return Release(
        agent="echo", number=number, digest="0" * 64, manifest=MANIFEST, genome={"x": x}, limits=Limits(), parent=None,
        created_at="", created_by="test", note=note,
    )  # fmt: skip


def view(live: int = 1, previous: int | None = None, candidate: int | None = None, *more: Release) -> AgentView:
    """The agent."""
    return AgentView(
        name="echo", state="live", live=live, previous=previous,
        candidate=None if candidate is None else Candidate(release=candidate, share=0.1),
        releases=[release(), *more],
    )  # fmt: skip


def began(id_: str = "v-1", at: float = 100.0, algorithm: str = "cmaes", **request: Any) -> Began:
    """The first entry."""
    request.setdefault("objectives", [Objective()])
    config: Any = PopulationConfig(population_size=4, algorithm=algorithm)  # pyright: ignore[reportArgumentType] - a name
    return Began(
        id=id_, at=at, request=StartEvolution(agent="echo", id=id_, generations=3, **request), release=release(),
        config=config, why="asked for", seed=1, window=WINDOW, islands=[""],
    )  # fmt: skip


def record(number: int, fitness: float | None = None, run: str = "v-1", **fields: Any) -> GenomeRecord:
    """A genome: generation and gene by its number, fitness a tenth of that."""
    plain: dict[str, Any] = {
        "fitness": number / 10 if fitness is None else fitness, "tasks": 10, "cpu_s": 0.5, "generation": number // 4,
        "genes": {"x": number / 100},
    }  # fmt: skip
    return seal(GenomeRecord(
        id=f"{run}-{number}", run=run, number=number, agent="echo", release=1, operator="drawn", seed=1,
        window=DataWindow(first=0, last=0, count=80, digest="d" * 64), at=100.0, **{**plain, **fields},
    ))  # fmt: skip


def bred(number: int, run: str = "v-1", **fields: Any) -> Bred:
    """The end of a generation."""
    figures: GenerationView = generation(number)
    plain = Bred(
        id=run, at=100.0, figures=figures, digests=[b""], losses=[[[-n / 10] for n in range(4)]], size=4,
        mutation_rate=0.1, immigrants=0, migrated=False, stagnant=0,
    )  # fmt: skip
    return replace(plain, **fields)


def trained(run: str = "v-1") -> Measured:
    """The live genome's figure."""
    return Measured(id=run, at=100.0, part="train", value=0.25, tasks=80, cpu_s=1.0)


def championed(number: int = 3, *, better: bool = True) -> Championed:
    """The champion."""
    return Championed(
        id="v-1", at=100.0, genome=f"v-1-{number}", value=0.8, incumbent=0.5, low=0.1, better=better, reason="better"
    )


def folded(*entries: Any, first: Began | None = None) -> EvolutionFold:
    """An evolution after these."""
    fold = EvolutionFold(first or began())
    take(fold, *entries)
    return fold


def take(fold: EvolutionFold, *entries: Any) -> None:
    """More entries."""
    for entry in entries:
        if isinstance(entry, GenomeRecord):
            fold.record(entry)
        else:
            fold.apply(entry)


class Asked:
    """Answers by the type of what is asked, and notes it; an answer may be an error, or be made from the question."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.seen: list[Any] = []

    async def __call__(self, message: Any) -> Any:
        """The answer."""
        await anyio.lowlevel.checkpoint()
        self.seen.append(message)
        answer = self.answers.get(type(message).__name__, NoExperimentError())
        if isinstance(answer, ChimeraError):
            raise answer
        return answer(message) if callable(answer) else answer

    def of(self, kind: type[Any]) -> list[Any]:
        """Questions of a kind."""
        return [one for one in self.seen if isinstance(one, kind)]


def never() -> Callable[[], Awaitable[None]]:
    """A pause that is none."""

    async def pause() -> None:
        await anyio.lowlevel.checkpoint()

    return pause


def experiment(id_: str = "v-1", **fields: Any) -> Experiment:
    """An experiment under way; others by their fields."""
    nothing = Evidence(
        metric="correct", n_live=0, n_candidate=0, live=None, candidate=None, effect=None,
        interval=Interval(low=None, high=None, confidence=0.95), e_better=1.0, e_worse=1.0, test="told",
    )  # fmt: skip
    plain = Experiment(
        id=id_, agent="echo", state="running", incumbent=1, proposer="evolver", note="", started_at=100.0,
        ended_at=None, plan=Plan(), level=0.05, sample_ratio_e=1.0, messages=0, harmed=0, decisions=[],
        variants=[Variant(release=2, stage="split", share=0.1, primary=nothing, guardrails=[])],
    )  # fmt: skip
    return replace(plain, **fields)


def decision(release: int = 2) -> Decision:
    """A promotion."""
    return Decision(
        number=1, seq=1, at=150.0, verdict="promote", release=release, reason="better", level=0.05, e_value=20.0
    )


def shown(fold: EvolutionFold, now: float = 100.0) -> Evolution:
    """As it is told."""
    return fold.show(now)
