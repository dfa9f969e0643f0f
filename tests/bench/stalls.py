"""How long the steps of an evolution keep a node's event loop from turning: a thousand genomes, and a full shelf."""

from __future__ import annotations

import random
import sys
import tempfile
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel

from actors.breeding.log import LOG, pack
from actors.breeding.shelf import GenomeShelf
from actors.breeding.shelving import GenomeProjection
from actors.evolver import Evolver
from chimera import Actor, System, SystemClock, handles
from chimera.bus.contract import StreamSpec
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.interpreter import calm
from chimera.journal import join
from chimera.store import open_store
from subjects.agent import AgentList, AgentView, Limits, ListAgents, Manifest, Parameter, Release, ShowAgent
from subjects.evolution import Case, Evolution, GetProgress, Objective, Progress, StartEvolution
from subjects.experiment import Metric
from subjects.genome import ValidateGenomes
from subjects.trial import EvaluateGenomes, GenomeRun, GenomesEvaluation
from tests.bench.figures import Benchmark, Figure, Rounds, Trial
from tests.bench.stall_watch import StallWatch, watched
from tests.support.genomes import SCHEMAS, genome

AGENT, GENES, SIZE = "echo", 16, 1000
BOUND_S = 0.02
MANIFEST = Manifest(
    name=AGENT, score="score", descriptors=["score", "cpu_ms"],
    genome=[Parameter(name=f"g{number}", low=0.0, high=1.0, default=0.5) for number in range(GENES)],
)  # fmt: skip
CASES = [Case(input={"text": f"text {number}"}, score=(number % 7) / 7) for number in range(1400)]
ERROR = Objective(metric=Metric(name="score_error", kind="mean", better="lower", low=0.0, high=2.0))
COST = Objective(metric=Metric(name="cpu_ms", kind="mean", better="lower", low=0.0, high=100.0))


class Oracle(Actor, name="agent", concurrency=8):
    """An agent that answers at once: what is measured is the evolver."""

    def __init__(self) -> None:
        self._release = Release(
            agent=AGENT, number=1, digest="0" * 64, manifest=MANIFEST, limits=Limits(), parent=None, created_at="",
            created_by="bench", genome={f"g{number}": 0.5 for number in range(GENES)},
        )  # fmt: skip

    @handles
    async def show(self, message: ShowAgent) -> AgentView:
        """The one agent."""
        return AgentView(
            name=message.name, state="live", live=1, candidate=None, previous=None, releases=[self._release]
        )

    @handles
    async def list_agents(self, _message: ListAgents) -> AgentList:
        """It alone."""
        return AgentList(agents=[], node="bench")

    @handles
    async def evaluate_genomes(self, message: EvaluateGenomes) -> GenomesEvaluation:
        """Scores that depend on the genes."""
        count = len(message.inputs)
        times = [0.1] * count if message.times else []
        runs: list[GenomeRun] = []
        for genes in message.genomes:
            worth = sum(cast("float", value) for value in genes.values()) / GENES
            scores: Any = [[(place % 7) / 7 * worth for place in range(count)] for _ in message.fields]
            runs.append(
                GenomeRun(checksum="", tasks=count, outputs=scores, run_ms=times, cpu_ms=times, cpu_s=1e-3 * count)
            )
            await anyio.lowlevel.checkpoint()
        return GenomesEvaluation(agent=AGENT, release=1, node="bench", runs=runs, workers=2, under_way=1)


WAYS = ("cmaes", "nsga2", "steady", "map-elites")


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """The longest time without a turn of the loop, in each kind of work."""
    count, stored = (1, 10_000) if quick else (3, 100_000)
    ways: dict[str, Callable[[], Trial]] = {
        name: partial(anyio.run, partial(_evolved, name, 3 if quick else 6)) for name in WAYS
    }
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(_filled, Path(folder), stored)
        ways["validate"] = partial(anyio.run, partial(_validated, Path(folder)))
        rounds = Rounds(ways, count)
    return [
        figure
        for name, words in (
            *((name, f"longest stall of the loop: {name}, {SIZE:,} genomes") for name in WAYS),
            ("validate", f"longest stall of the loop: validation of {stored:,} genomes"),
        )
        for figure in (
            rounds.figure(words, _of(name, "cpu_ms"), BOUND_S * 1e3, unit="ms", holds="<="),
            rounds.figure("  by the clock, other processes included", _of(name, "wall_ms"), unit="ms", holds="<="),
        )
    ]  # fmt: skip


def _of(way: str, key: str) -> Callable[[Any], float]:
    return lambda trials: trials[way][key]


async def _evolved(algorithm: str, generations: int) -> Trial:
    """Stalls while a population is bred, from the request to the champion."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store("", Path(folder))
        async with store, MemoryBus(MemoryHub(), name="bench") as bus, System(bus, node="bench") as system:
            for stream, subject in (("KPI", "chimera.kpi.>"), ("EVENTS", "chimera.event.>")):
                await bus.declare(StreamSpec(stream, (subject,)))
            await system.spawn(Oracle)
            await system.spawn(Evolver, bus=bus, store=store)
            request = StartEvolution(
                agent=AGENT, id="v-1", generations=generations, population_size=SIZE, cases=CASES, tasks=256, seed=1,
                algorithm=cast("Any", algorithm), objectives=[ERROR, COST] if algorithm == "nsga2" else [ERROR],
                stop_when_converged=False, deploy=False,
            )  # fmt: skip
            calm()
            async with watched() as watch:
                await system.ask(request, timeout_s=60.0)
                ended = await _end(system)
            assert ended.state == "exhausted", ended.reason
            return figures_of(watch)


async def _end(system: System) -> Evolution:
    with anyio.fail_after(300):
        while True:
            told: Progress = await system.ask(GetProgress(id="v-1", limit=1), timeout_s=60.0)
            if told.evolution.ended_at is not None:
                return told.evolution
            await anyio.sleep(0.2)


async def _filled(folder: Path, count: int) -> None:
    """A store with so many genomes."""
    async with open_store("", folder) as store, MemoryBus(MemoryHub()) as bus:
        await bus.declare(LOG.spec())
        projection = GenomeProjection(store)
        for begin in range(0, count, 500):
            records = [genome(number, run="v-1") for number in range(begin, begin + 500)]
            await bus.append(LOG.subject, join([pack(one) for one in records]), msg_id=uuid.uuid4().hex)
        async with bus.read(LOG.stream) as messages:
            async for message in messages:
                await projection.save([message])


async def _validated(folder: Path) -> Trial:
    """Stalls while every stored genome is checked."""
    async with open_store("", folder) as store, MemoryBus(MemoryHub(), name="bench") as bus:
        await bus.declare(LOG.spec())
        shelf = GenomeShelf(
            bus=bus, store=store, clock=SystemClock(), rng=random.Random(1),  # noqa: S311 - pauses
            report=lambda *_words, **_fields: None,
        )  # fmt: skip
        calm()
        async with watched() as watch:
            found = await shelf.validate(ValidateGenomes(), SCHEMAS)
        assert found.checked
        return {**figures_of(watch), "seconds": found.seconds}


def figures_of(watch: StallWatch) -> Trial:
    """Milliseconds; what stalls the loop beyond the bound is said."""
    for where, spent in watch.stalls.items():
        if spent > BOUND_S:
            print(f"  {spent * 1e3:.0f} ms: {where}", file=sys.stderr)
    return {"cpu_ms": watch.cpu_s * 1e3, "wall_ms": watch.wall_s * 1e3}


BENCHMARK = Benchmark("stalls", "how long evolution keeps a node's event loop from turning", measure)
