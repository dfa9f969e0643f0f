"""What evolutions are made of: their tasks, algorithm and islands at the start, and the means to measure genomes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio.to_thread
from msgspec.structs import replace

from actors.evolving import pagmo
from actors.evolving.codec import Codec
from actors.evolving.engines import Name, check, choose
from actors.execution.slots import Slot, Slots
from actors.refining.recorded import Recorder
from actors.refining.tuneround import searched
from actors.tuning.knobs import execution_parameters
from chimera.bus.contract import Bus
from chimera.context import Context
from chimera.errors import BadMessageError, CorruptError
from subjects.agent import AgentView, Manifest, Parameter, Release, ShowAgent
from subjects.evolution import Descriptor, Objective, StartEvolution
from subjects.evolver import FitnessStatus, PopulationConfig
from subjects.trial import EvaluateGenomes, GenomesEvaluation

from .aims import needs, usual
from .breeder import Breeder
from .caseload import CaseSplit, of_recorder, of_request, pack_split, unpack_split
from .crew import agents_on
from .drift import DriftWatch
from .drive import Drive
from .evaluator import Evaluator
from .fold import EvolutionFold
from .log import Began
from .measuring import Measuring, columns_of
from .yardstick import Yardstick

BUCKET = "EVOLUTION_CASES"
MOST_BYTES = 256 << 20
SAMPLE = 4
"""Training tasks for each one that a genome is measured on: elites are measured on all of them."""

REFERENCE = 500
"""Newest tasks that drift is judged against."""

PAGMO = ("steady", "nsga2", "gaco", "map-elites")
"""Algorithms that need pygmo, or its operators."""

PRIORITY = 20
"""Of its processors: whoever serves comes first."""

_SEARCHED_LIMITS = ("cpu_ms", "wall_ms")


class Ranch:
    """Prepares evolutions and drives them.

    Args:
        bus: Keeps the tasks of evolutions under way.
        ctx: The actor's context.
        recorder: Holds what was recorded.
    """

    def __init__(self, *, bus: Bus, ctx: Context, recorder: Recorder) -> None:
        self._bus, self._ctx, self._recorder = bus, ctx, recorder
        self.slots = Slots(ask=ctx.ask, spawn=ctx.spawn, clock=ctx.clock, node=ctx.node, layer="evolution")
        self.evaluator = Evaluator(ask=self._ask, find=agents_on(bus), clock=ctx.clock, hold=self._lease)
        self._breeder: Breeder | None = None

    def serve(self, breeder: Breeder) -> None:
        """From now on drive this one's evolutions."""
        self._breeder = breeder

    def _lease(self, node: str, cpus: float) -> AbstractAsyncContextManager[Slot]:
        return self.slots.hold(cpus=cpus, priority=PRIORITY, node=node)

    async def _ask(self, message: EvaluateGenomes, node: str, timeout_s: float) -> GenomesEvaluation:
        return await self._ctx.ref("agent", node=node).ask(message, timeout_s=timeout_s)

    async def prepare(self, message: StartEvolution, release: Release, config: PopulationConfig, id_: str) -> Began:
        """The first entry of an evolution: its tasks are kept, and every choice is made.

        Raises:
            BadGenomeError: If nothing of the genome can be searched, or not what is named.
            BadMessageError: If there are too few tasks, or the algorithm can't do what is asked of it.
        """
        config, manifest = merged(message, config), release.manifest
        aims = message.objectives or [await anyio.to_thread.run_sync(self._usual, message, manifest)]
        message = replace(message, objectives=aims)
        axes = _axes(message, release)
        codec = codec_of(message, release)
        for start in message.start:
            codec.encode({**release.genome, **start})
        name, why = _algorithm(message, config, codec, axes)
        Yardstick(aims, axes if name == "map-elites" else [], manifest)  # raises now rather than later
        cases = await anyio.to_thread.run_sync(self._cases, message, config)
        window = cases.window
        await (await self._bus.objects(BUCKET, max_bytes=MOST_BYTES)).put(window.digest, pack_split(cases))
        return Began(
            id=id_, at=self._ctx.clock.time(), request=replace(message, id=id_, cases=[]), release=release,
            config=replace(config, algorithm=name), why=why, seed=message.seed or _seed(id_), window=window,
            islands=await self._islands(config), descriptors=axes if name == "map-elites" else [],
        )  # fmt: skip

    def drive(self, fold: EvolutionFold, write: Any) -> Drive:
        """What drives an evolution."""
        ctx = self._ctx
        return Drive(fold, write=write, ask=ctx.ask, clock=ctx.clock, open_measuring=self.measuring)

    async def measuring(self, fold: EvolutionFold) -> Measuring:
        """What measures an evolution's genomes, on the tasks that it began with.

        Raises:
            CorruptError: If those are not there any more.
        """
        began = fold.began
        objects = await self._bus.objects(BUCKET, max_bytes=MOST_BYTES)
        data = await objects.get(began.window.digest)
        if data is None:
            raise CorruptError(f"the tasks of evolution '{fold.id}' are not there any more")
        cases = await anyio.to_thread.run_sync(unpack_split, data, began.window.digest)
        if began.config.algorithm in PAGMO:
            await anyio.to_thread.run_sync(pagmo.load)

        async def forget() -> None:
            await objects.delete(began.window.digest)

        return Measuring(
            began=began, codec=codec_of(began.request, began.release), evaluator=self.evaluator, cases=cases,
            tasks=fold.config.tasks, forget=forget,
        )  # fmt: skip

    async def watch(self, agent: str) -> DriftWatch | None:
        """What watches an agent for drift, judged against what is recorded by now."""
        view: AgentView = await self._ctx.ask(ShowAgent(name=agent))
        live = next(release for release in view.releases if release.number == view.live)
        loop = self._breeder.book.evolutions if self._breeder else {}
        newest = next((fold for fold in reversed(loop.values()) if fold.agent == agent), None)
        tasks = list(self._recorder.tasks(agent))[-REFERENCE:]
        judged = [task for task in tasks if task.is_judged]
        if newest or not judged:
            aim = newest.began.request.objectives[0] if newest else Objective()
        else:
            aim = usual(judged, live.manifest)
        return DriftWatch(tasks, live.manifest, aim.metric)

    def status(self) -> FitnessStatus:
        """What evaluations did since this instance began to lead."""
        return self.evaluator.status([fold.id for fold in self._breeder.book.running()] if self._breeder else [])

    # -- choices -------------------------------------------------------------------------------------------------------

    def _usual(self, message: StartEvolution, manifest: Manifest) -> Objective:
        return usual(message.cases or self._recorder.tasks(message.agent, part="tune"), manifest)

    def _cases(self, message: StartEvolution, config: PopulationConfig) -> CaseSplit:
        most, wanted = SAMPLE * config.tasks, needs(message.objectives)
        if message.cases:
            return of_request(message.cases, most=most, needs=wanted)
        return of_recorder(self._recorder, message.agent, most=most, needs=wanted)

    async def _islands(self, config: PopulationConfig) -> list[str]:
        if config.islands == 1:
            return [""]
        nodes = sorted(await agents_on(self._bus)() or [])
        count = config.islands or max(1, len(nodes))
        return [nodes[place % len(nodes)] for place in range(count)] if nodes else [""] * count


def merged(message: StartEvolution, config: PopulationConfig) -> PopulationConfig:
    """The configured way, with what the request says."""
    return PopulationConfig(
        population_size=message.population_size or config.population_size,
        mutation_rate=message.mutation_rate or config.mutation_rate, algorithm=message.algorithm or config.algorithm,
        islands=config.islands if message.islands is None else message.islands, migrate_every=config.migrate_every,
        tasks=message.tasks or config.tasks,
    )  # fmt: skip


def codec_of(message: StartEvolution, release: Release) -> Codec:
    """Genomes of a release as vectors.

    Raises:
        BadGenomeError: If nothing can be searched, or not what is named.
    """
    manifest = release.manifest
    settings: list[Parameter] = []
    tune = searched(manifest, release.genome, message.parameters)
    if message.settings:
        settings = execution_parameters({name: getattr(release.limits, name) for name in _SEARCHED_LIMITS})
        tune = [*tune, *(f"settings.{one.name}" for one in settings)]
    return Codec.of(manifest.genome, release.genome, tune=tune, settings=settings)


def _axes(message: StartEvolution, release: Release) -> list[Descriptor]:
    if message.descriptors or message.algorithm != "map-elites":
        return list(message.descriptors)
    names: Sequence[str] = release.manifest.descriptors[:2]
    if not names:
        raise BadMessageError("map-elites needs descriptors, and the manifest names none", hint="name them")
    return [Descriptor(name=name, low=-1.0 if name == release.manifest.score else 0.0) for name in names]


def _algorithm(
    message: StartEvolution, config: PopulationConfig, codec: Codec, axes: Sequence[Descriptor]
) -> tuple[Name, str]:
    """The engine and why it.

    Raises:
        BadMessageError: If the one that is named can't do what is asked of it.
    """
    objectives, constraints, _ = columns_of(message.objectives, axes)
    size = config.population_size
    if config.algorithm == "auto":
        choice = choose(codec.box, objectives, constraints, size=size, axes=len(axes))
        return choice.name, choice.why
    name: Name = config.algorithm
    fault = check(name, codec.box, objectives, constraints, size=size, axes=len(axes))
    if fault:
        raise BadMessageError(f"algorithm: {fault}")
    return name, "asked for"


def _seed(id_: str) -> int:
    return int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=6).digest(), "big")
