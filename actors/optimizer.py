"""The optimizer actor: experiments and the gate, auto-tune, and what the figures tell. Thin: see ``refining``.

One instance leads, as with the scheduler: who, is written in the loop's log itself, by the same compare-and-set that
fences every append. The others watch it, pass on what they are asked, and one takes over when it goes.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from actors.execution.slots import Slots
from actors.gating import records as gating
from actors.refining.explaining import explain
from actors.refining.faces import Faces
from actors.refining.feed import EVENTS, KPI, Feed
from actors.refining.gatekeeper import Gatekeeper
from actors.refining.laboratory import Laboratory
from actors.refining.lessons import model_name
from actors.refining.loop_log import LOG, MOST_BYTES, Led, LoopLog
from actors.refining.planner import Planner
from actors.refining.primary import Primary
from actors.refining.recorded import Recorder
from actors.refining.room import Materials, Room
from actors.refining.surrogates import WHAT, expected_at, surrogate_of
from actors.refining.tuner import Tuner
from actors.tuning import Point, Space
from actors.tuning.proposing import warm_up
from chimera import handles
from chimera.bus.contract import Bus
from chimera.errors import ChimeraError, RestartingError
from chimera.journal import Journal
from chimera.ref import Ref
from chimera.wire import encode
from subjects import Request
from subjects.event import TaskJudged, TaskProcessed
from subjects.experiment import (
    CreateExperiment,
    Experiment,
    ExperimentList,
    Experiments,
    Explain,
    Explanation,
    Forecast,
    ForecastExperiment,
    GetExperiment,
    StopExperiment,
)
from subjects.optimizer import (
    AutoTune,
    CheckOptimizerHealth,
    Configure,
    GetStatus,
    GetTune,
    OptimizationStatus,
    OptimizerHealth,
    Proposal,
    Propose,
    Settings,
    StopTune,
    Tune,
    TuneEvent,
)

if TYPE_CHECKING:
    from chimera.node.parts import Parts

R = TypeVar("R")
DECIDED, TUNED = "chimera.event.optimizer.decided", "chimera.event.optimizer.tuned"
TAIL = 50_000
"""Outcomes read again at the start, so that there is something to replay."""

WARM_AFTER_S = 5.0
"""When a leader loads what proposals need: after the start's own work, before anybody is likely to ask for one."""

_RETRY_S = 0.5


class Optimizer(Faces, name="optimizer", mailbox=1024, concurrency=128, layer="refinement"):
    """Changes live agents through one gate only, and says why.

    Args:
        bus: Where the log, the outcomes and the judgements are.
        made_of: What a node gives the parts beside the gate; ``None`` = there are none of them.
        version: Shown in its health.
        replicas: Copies of the log.
    """

    def __init__(
        self, *, bus: Bus, made_of: Materials | None = None, version: str = "", replicas: int = 1
    ) -> None:  # fmt: skip
        self._bus, self._made_of, self._version, self._replicas = bus, made_of, version, replicas
        self._leader = ""

    @staticmethod
    def assemble(parts: Parts) -> dict[str, Any]:
        """The constructor's arguments on a node."""
        from chimera import __version__  # noqa: PLC0415 - only a node shows it

        return {"bus": parts.need("bus"), "made_of": Materials.of(parts), "version": __version__}

    async def on_start(self) -> None:
        """Read the log; lead, or watch who does."""
        self._started = self.ctx.clock.monotonic()
        await self._bus.declare(LOG.spec(self._replicas, MOST_BYTES))
        if self._made_of is not None:
            self._room = Room(self._bus, self._made_of, self.ctx, experiments=self.experiments, tunes=self.status)
            await self._room.open()
        await self._open(ours=True)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - whatever the reason, the same is to do
        """Let what was written be stored."""
        if hasattr(self, "_room"):
            await self._room.close()
        if self._leads:
            with anyio.move_on_after(2.0), suppress(RestartingError):
                await self._journal.barrier()
            await self._slots.close()

    async def on_down(self, ref: Ref, reason: str) -> None:
        """The leader, or its node, went away: lead, unless somebody was faster."""
        if ref.node == self._leader:
            self.ctx.event("leader-lost", f"{ref.node}: {reason}", level="warning")
            await self._open(gone=self._led.epoch)

    # -- experiments ---------------------------------------------------------------------------------------------------

    @handles
    async def experiments(self, message: Experiments) -> ExperimentList:
        """Experiments and the error budget."""
        return self._gate.listed(message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def create_experiment(self, message: CreateExperiment) -> Experiment:
        """Put a candidate on trial."""
        return await self._gate.create(message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def experiment(self, message: GetExperiment) -> Experiment:
        """One experiment."""
        return self._gate.find(message.id).view() if await self._speaks() else await self._pass_on(message)

    @handles
    async def stop_experiment(self, message: StopExperiment) -> Experiment:
        """Stop or override an experiment."""
        if not await self._speaks():
            return await self._pass_on(message)
        stopped = await self._gate.stop(message)
        self._laboratory.ring(message.id)
        return stopped

    @handles
    async def explain(self, message: Explain) -> Explanation:
        """Make an experiment's decisions again, from the log."""
        return await explain(self._bus, message.id)

    @handles(interleave=True)
    async def forecast(self, message: ForecastExperiment) -> Forecast:
        """Power and duration of a plan before it starts."""
        return await self._planner.forecast(message) if await self._speaks() else await self._pass_on(message)

    # -- proposals -----------------------------------------------------------------------------------------------------

    @handles
    async def status(self, message: GetStatus) -> OptimizationStatus:
        """Per agent: trials, best, convergence, last decision."""
        return await self._tuner.status(message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def configure(self, message: Configure) -> Settings:
        """How proposals are made."""
        return await self._tuner.configure(message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def propose(self, message: Propose) -> Proposal:
        """A genome worth a trial."""
        return await self._tuner.propose(message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def auto_tune(self, message: AutoTune) -> Tune:
        """Start the closed loop on an agent."""
        return await self._tuner.auto_tune(message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def tune(self, message: GetTune) -> Tune:
        """One auto-tune."""
        return await self._tuner.tune(message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def stop_tune(self, message: StopTune) -> Tune:
        """Stop an auto-tune."""
        return await self._tuner.stop_tune(message) if await self._speaks() else await self._pass_on(message)

    # -- health --------------------------------------------------------------------------------------------------------

    @handles(interleave=True)
    async def health(self, _message: CheckOptimizerHealth) -> OptimizerHealth:
        """How the layer does, computed now."""
        checks = {"bus": self._bus.statistics().state, "log": self._journal.trouble or "ok"}
        bad = [name for name, word in checks.items() if word not in {"ok", "connected"}]
        return OptimizerHealth(
            status="warn" if bad else "pass", node=self.ctx.node, version=self._version, leads=self._leads,
            uptime_s=self.ctx.clock.monotonic() - self._started, checks=checks,
            tunes_running=len(self._tuner.book.running()) if self._leads else 0,
            experiments_running=len(self._gate.running()) if self._leads else 0,
        )  # fmt: skip

    # -- leading -------------------------------------------------------------------------------------------------------

    @property
    def _leads(self) -> bool:
        return self._leader == self.ctx.node

    async def _speaks(self) -> bool:
        """True if this instance leads, and has made sure of it just now or a moment ago."""
        if self._leads:
            await self._journal.confirm()
        return self._leads

    async def _open(self, *, ours: bool = False, gone: int = -1) -> None:
        """Read the log and take the lead, unless it has a leader that is not the epoch ``gone``."""
        free = {"", self.ctx.node if ours else ""}
        while True:
            self._make()
            self._led = Led(epoch=0, node="", at=0.0)
            async for entry in self._journal.replay():
                self._apply(entry)
            if self._led.node not in free and self._led.epoch != gone:
                self._leader = self._led.node
                await self.ctx.watch(self.ctx.ref("optimizer", node=self._leader))
                return
            led = Led(epoch=self._led.epoch + 1, node=self.ctx.node, at=self.ctx.clock.time())
            if await self._journal.take_lead(led):
                self._led = led
                await self._lead()
                return

    def _make(self) -> None:
        ctx, clock = self.ctx, self.ctx.clock
        self._journal: Journal[Any] = Journal(self._bus, clock, LOG)
        self._recorder = Recorder()
        self._feed = Feed(self._bus, clock, self._served, self._judged)
        log = LoopLog(self._journal, self._apply)
        self._gate = Gatekeeper(
            log=log, ask=ctx.ask, positions=self._positions, clock=clock, report=ctx.event,
            tell=self._tell, primary=Primary(self._recorder),
        )  # fmt: skip
        self._laboratory = Laboratory(
            gate=self._gate, recorder=self._recorder, ask=ctx.ask, clock=clock, report=ctx.event, spawn=ctx.spawn
        )

        self._slots = Slots(ask=ctx.ask, spawn=ctx.spawn, clock=clock, node=ctx.node, layer="refinement")
        self._planner = Planner(self._recorder, self._gate, ctx.ask)
        self._tuner = Tuner(
            log=log, ask=ctx.ask, gate=self._gate, recorder=self._recorder, clock=clock, report=ctx.event,
            tell=self._tell, spawn=ctx.spawn, expects=self._expects, hold=partial(self._slots.hold, cpus=1.0),
        )  # fmt: skip

    def _apply(self, entry: Any) -> None:
        if isinstance(entry, Led):
            self._led = entry
        elif isinstance(entry, gating.Entry):
            self._gate.apply(entry)
        else:
            self._tuner.apply(entry)

    async def _lead(self) -> None:
        self._leader = self.ctx.node
        running = self._gate.running()
        cursors = [trial.cursor for trial in running]
        oldest = self._tuner.oldest()
        if oldest is not None:
            cursors.append(oldest)
        await self._feed.begin(
            TAIL, min((kpi for kpi, _ in cursors), default=None), min((events for _, events in cursors), default=None)
        )
        self.ctx.spawn(self._journal.run)
        self.ctx.spawn(self._feed.run)
        self._gate.on_change = self._laboratory.begin
        for trial in running:
            self._laboratory.begin(trial)
        self._tuner.resume()
        self.ctx.spawn(self._warm)
        self.ctx.event("leader-took", f"epoch {self._led.epoch}: {len(running)} experiments run", epoch=self._led.epoch)

    async def _warm(self) -> None:
        await self.ctx.clock.sleep(WARM_AFTER_S)
        await anyio.to_thread.run_sync(warm_up, abandon_on_cancel=True)

    def _positions(self) -> tuple[int, int]:
        return self._feed.position[KPI], self._feed.position[EVENTS]

    def _served(self, seq: int, record: TaskProcessed, size: int) -> None:
        task = self._recorder.take(seq, record, size)
        self._laboratory.served(task)

    def _judged(self, seq: int, judged: TaskJudged, _size: int) -> None:
        task = self._recorder.judge(seq, judged)
        if task is not None:
            self._laboratory.judged(task)

    async def _tell(self, fact: Any, id_: str) -> None:
        with suppress(ChimeraError):  # the log holds it; the fact is for those who listen
            await self._bus.append(TUNED if isinstance(fact, TuneEvent) else DECIDED, encode(fact), msg_id=id_)
        if isinstance(fact, TuneEvent) and fact.step == "ended" and self._made_of is not None:
            self.ctx.spawn(self._learn, fact.tune)

    async def _learn(self, tune: str) -> None:
        """Keep what a tune's trials say of its objective."""
        fold = self._tuner.book.find(tune)
        if not fold.rounds:
            return
        study, at, unit = fold.round.study, self.ctx.clock.time(), fold.request.metric.name
        with suppress(ChimeraError):  # the bus is away: the next tune teaches again
            await self._room.models.learn(
                model_name(fold.agent, WHAT), lambda: surrogate_of(fold.agent, study, at, unit), f"of auto-tune {tune}"
            )

    def _expects(self, agent: str, space: Space, point: Point) -> float | None:
        model = None if self._made_of is None else self._room.models.live(model_name(agent, WHAT))
        return None if model is None else expected_at(model, space, point)

    async def _pass_on(self, message: Request[R], timeout_s: float = 10.0) -> R:
        """Ask the leader.

        Raises:
            RestartingError: If there is none just now; nothing was done.
        """
        if not self._leader or self._leads:
            raise RestartingError(retry_after_s=_RETRY_S)
        try:
            return await self.ctx.ref("optimizer", node=self._leader).ask(message, timeout_s=timeout_s)
        except ChimeraError as error:
            if error.code == "not-running":
                raise RestartingError("the optimizer changes its leader", retry_after_s=_RETRY_S) from error
            raise
