"""A world to tune in: an agent whose quality is a known function of its genome, recorded tasks, a gate, a log."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from msgspec.structs import replace

from actors.refining.recorded import Recorder
from actors.refining.tunelog import TuneEntry, pack, unpack
from actors.refining.tuner import Tuner
from chimera.errors import ChimeraError, ConflictError, NoAgentError, NoExperimentError, RestartingError
from chimera.testing import EventRecorder, ManualClock
from subjects.agent import AgentView, Genes, Limits, Manifest, Parameter, Release, ShowAgent
from subjects.event import TaskJudged, TaskProcessed
from subjects.experiment import CreateExperiment, Decision, Evidence, Experiment, Interval, StopExperiment, Variant
from subjects.optimizer import AutoTune, GetTune, Tune, TuneBudget
from subjects.trial import Evaluate, Evaluation, Tried

MANIFEST = Manifest(
    name="echo", label="label", score="score",
    genome=[Parameter(name=name, low=0.0, high=1.0, default=0.5) for name in ("x", "y")],
)  # fmt: skip
BEST, PLACE = 0.9, (0.8, 0.3)
POOR: Genes = {"x": 0.05, "y": 0.95}


def gene(genome: Genes, name: str) -> float:
    """One of its numbers."""
    value = genome[name]
    assert isinstance(value, float)
    return value


def quality(genome: Genes) -> float:
    """The share of tasks that a genome gets right: 0.9 at its best place, falling with the square of the distance."""
    return max(0.0, BEST - 0.6 * sum((gene(genome, name) - at) ** 2 for name, at in zip("xy", PLACE, strict=True)))


class HastyClock(ManualClock):
    """Whoever sleeps wakes at once, and that much later."""

    async def sleep(self, delay: float) -> None:
        """Move on."""
        await self.advance(delay)


class World:
    """An agent and its recorded tasks; a task is right if its own fixed number is below the genome's quality."""

    def __init__(self, genome: Genes | None = None, tasks: int = 800) -> None:
        self.clock = HastyClock()
        self.recorder = Recorder()
        self.live = 1
        self.releases = {1: self.release(1, genome or POOR)}
        self.evaluations: list[Evaluate] = []
        self.trouble: Callable[[Evaluate], ChimeraError | None] = lambda _message: None
        self.beside: Callable[[Genes], Genes] = lambda _genome: {}
        self.flat = False
        self.crashes: Callable[[Genes], bool] = lambda _genome: False
        self._random = random.Random(7)  # noqa: S311 - a simulation
        self._seq = 0
        self.record(tasks)

    @staticmethod
    def release(number: int, genome: Genes) -> Release:
        """A release of the agent."""
        return Release(
            agent="echo", number=number, digest="0" * 64, manifest=MANIFEST, genome=genome, limits=Limits(),
            parent=None, created_at="", created_by="test",
        )  # fmt: skip

    def record(self, count: int) -> None:
        """Let so many more judged tasks have been served."""
        for _ in range(count):
            self._seq += 1
            job, level = f"j-{self._seq}", self._random.random()
            self.recorder.take(self._seq, TaskProcessed(
                job_id=job, agent="echo", release=1, variant="live", task="predict", outcome="ok", node="n",
                at=self.clock.time(), queue_ms=0.0, run_ms=1.0, cpu_ms=1.0, memory_bytes=0,
                input={"level": level}, output={"label": "right"},
            ), 100)  # fmt: skip
            judged = TaskJudged(job_id=job, agent="echo", release=1, at=self.clock.time(), label="right", score=0.0)
            self.recorder.judge(self._seq, judged)

    async def ask(self, message: Any) -> Any:
        """What the agent actor answers."""
        await anyio.lowlevel.checkpoint()
        if isinstance(message, ShowAgent):
            if message.name != "echo":
                raise NoAgentError
            releases = list(self.releases.values())
            return AgentView(
                name="echo", state="live", live=self.live, candidate=None, previous=None, releases=releases
            )
        assert isinstance(message, Evaluate)
        if (error := self.trouble(message)) is not None:
            raise error
        self.evaluations.append(message)
        assert message.release is not None
        genome = {**self.releases[message.release].genome, **message.genome}
        results = [self._tried(genome, float(task["level"])) for task in message.inputs]
        return Evaluation(
            agent="echo", release=message.release, checksum="0" * 64, node="n", results=results,
            failed=sum(one.outcome != "ok" for one in results),
        )  # fmt: skip

    def _tried(self, genome: Genes, level: float) -> Tried:
        if self.crashes(genome):
            return Tried(outcome="agent-trap", detail="unreachable")
        right = level < (0.5 if self.flat else quality(genome))
        return Tried(outcome="ok", output={"label": "right" if right else "wrong", **self.beside(genome)})

    @property
    def run(self) -> int:
        """Tasks that were run so far."""
        return sum(len(message.inputs) for message in self.evaluations)

    @property
    def recovered(self) -> float:
        """How much of the way from the first release to the best quality the live one has made."""
        first = quality(self.releases[1].genome)
        return (quality(self.releases[self.live].genome) - first) / (BEST - first)


@dataclass
class FakeGate:
    """Promotes what is truly better, after some looks; ``refuse`` discards everything."""

    world: World
    looks: int = 2
    refuse: bool = False
    harmed: int = 0
    stopped: list[StopExperiment] = field(default_factory=list[StopExperiment])
    created: dict[str, CreateExperiment] = field(default_factory=dict[str, CreateExperiment])
    creations: int = 0
    _left: dict[str, int] = field(default_factory=dict[str, int])
    _final: dict[str, Experiment] = field(default_factory=dict[str, Experiment])

    async def create(self, message: CreateExperiment) -> Experiment:
        """Begin one; its genome becomes a release."""
        self.creations += 1
        if any(self._running(id_) for id_ in self.created if id_ != message.id):
            raise ConflictError("another experiment is under way")
        if message.id not in self.created:
            live = self.world.releases[self.world.live].genome
            number = len(self.world.releases) + 1
            self.world.releases[number] = self.world.release(number, {**live, **message.genomes[0]})
            self.created[message.id] = message
            self._left[message.id] = self.looks
            self._final[message.id] = self._shown(message, number)
        return self.find(message.id).view()

    async def stop(self, message: StopExperiment) -> Experiment:
        """End one by hand."""
        self.stopped.append(message)
        self._left[message.id] = 0
        self._final[message.id] = replace(self._final[message.id], state="stopped", ended_at=self.world.clock.time())
        return self._final[message.id]

    def find(self, id_: str) -> FakeExperiment:
        """One, or the error."""
        if id_ not in self.created:
            raise NoExperimentError
        return FakeExperiment(self, id_)

    def finish(self, id_: str) -> None:
        """Let one come to its end."""
        self._left[id_] = 0

    def look(self, id_: str) -> Experiment:
        """It as it stands now; after the last look it is decided and in force."""
        shown = self._final[id_]
        if self._left[id_] > 0:
            self._left[id_] -= 1
            return replace(shown, state="running", decisions=[], harmed=self.harmed)
        if shown.state == "promoted":
            self.world.live = shown.variants[0].release
        return shown

    def _running(self, id_: str) -> bool:
        return self._left[id_] > 0

    def _shown(self, message: CreateExperiment, number: int) -> Experiment:
        world = self.world
        better = quality(world.releases[number].genome) > quality(world.releases[world.live].genome)
        promoted = better and not self.refuse
        evidence = Evidence(
            metric="correct", n_live=0, n_candidate=0, live=None, candidate=None, effect=None,
            interval=Interval(low=None, high=None, confidence=0.95), e_better=1.0, e_worse=1.0, test="fake",
        )  # fmt: skip
        decision = Decision(
            number=1, seq=1, at=world.clock.time(), verdict="promote" if promoted else "roll-back", release=number,
            reason="better" if promoted else "worse", level=0.05, e_value=1.0,
        )  # fmt: skip
        return Experiment(
            id=message.id, agent="echo", state="promoted" if promoted else "rolled-back", incumbent=world.live,
            proposer=message.proposer, note=message.note, started_at=0.0, ended_at=1.0, plan=message.plan, level=0.05,
            variants=[Variant(release=number, stage="done", share=0.0, primary=evidence, guardrails=[])],
            sample_ratio_e=1.0, messages=0, harmed=self.harmed, decisions=[decision],
        )  # fmt: skip


@dataclass
class FakeExperiment:
    """Shows itself."""

    gate: FakeGate
    id: str

    def view(self) -> Experiment:
        """As it stands."""
        return self.gate.look(self.id)


class CrashingLog:
    """Keeps entries as bytes; after ``left`` of them the process is gone, before or after the next one is stored."""

    def __init__(self, left: int | None = None, *, stored: bool = True) -> None:
        self.data: list[bytes] = []
        self.left, self._stored = left, stored

    @property
    def entries(self) -> list[TuneEntry]:
        """What is stored, decoded again."""
        return [unpack(data) for data in self.data]

    async def write(self, entry: TuneEntry) -> None:
        """Store it, or crash."""
        await anyio.lowlevel.checkpoint()
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                if self.left == -1 and self._stored:
                    self.data.append(pack(entry))
                raise RestartingError("gone")
        self.data.append(pack(entry))


class Life:
    """One life of a tuner: from reading the log until everything has ended or the log has crashed."""

    def __init__(self, world: World, gate: FakeGate, log: CrashingLog) -> None:
        self.world, self.gate, self.log = world, gate, log
        self.events = EventRecorder()
        self.facts: dict[str, Any] = {}
        self.crashed = False
        self._group: Any = None
        self.tuner = Tuner(
            log=log, ask=world.ask, gate=gate, recorder=world.recorder, clock=world.clock, report=self._report,
            tell=self._tell, spawn=self._spawn,
        )  # fmt: skip

    def _report(self, name: str, message: str, *, level: str = "info", **fields: Any) -> None:
        self.events(name, "refinement", message, level, fields)

    async def _tell(self, fact: Any, id_: str) -> None:
        assert id_ not in self.facts, "a fact's id is its own"
        self.facts[id_] = fact

    def _spawn(self, function: Callable[..., Any], *args: Any) -> None:
        self._group.start_soon(self._guarded, function, args)

    async def _guarded(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            await function(*args)
        except RestartingError:
            self.crashed = True

    async def live(self, act: Callable[[Tuner], Any] | None = None) -> None:
        """Read the log, go on, do ``act``, and wait for the end."""
        for entry in self.log.entries:
            self.tuner.apply(entry)
        with anyio.fail_after(120):
            async with anyio.create_task_group() as self._group:
                self.tuner.resume()
                if act is not None:
                    try:
                        await act(self.tuner)
                    except RestartingError:
                        self.crashed = True


def request(**fields: Any) -> AutoTune:
    """A request for the fake agent; random points, for their libraries load fast and they are as reproducible."""
    budget = TuneBudget(**{"trials": 24, **fields.pop("budget", {})})
    return replace(AutoTune(agent="echo", id="t", algorithm="random", budget=budget), **fields)


async def tuned(
    world: World, gate: FakeGate, message: AutoTune, log: CrashingLog | None = None
) -> tuple[Tune, CrashingLog]:
    """The tune after as many lives as it takes."""
    log = log or CrashingLog()
    while True:
        life = Life(world, gate, log)
        await life.live(lambda tuner: tuner.auto_tune(message))
        if not life.crashed:
            return await life.tuner.tune(GetTune(id=message.id)), log
        log.left = None
