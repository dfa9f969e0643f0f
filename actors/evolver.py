"""The evolver actor: genomes bred on real agents, promoted only through the gate. Thin: see ``breeding``.

One instance leads, as with the optimizer. The genomes themselves are on every node's shelf, which any instance reads.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from actors.breeding.autopilot import Autopilot
from actors.breeding.breeder import Breeder
from actors.breeding.genebank import Genebank
from actors.breeding.log import LOG, MOST_BYTES, Led, Moved
from actors.breeding.ranch import Ranch
from actors.breeding.returning import WayBack
from actors.breeding.shelf import GenomeShelf
from actors.breeding.stand import Stand
from actors.execution.layers import Layered
from actors.refining.feed import Feed
from actors.refining.recorded import Recorded, Recorder
from chimera import handles
from chimera.bus.contract import Bus
from chimera.errors import ChimeraError, RestartingError
from chimera.journal import Journal
from chimera.leadership import Leadership, LogWriter
from chimera.ref import Ref
from chimera.store.contract import Store
from chimera.wire import encode
from subjects.autonomous import AutonomousStepped, AutonomousView, Autonomy, GetAutonomy, SetAutonomous
from subjects.event import TaskJudged, TaskProcessed
from subjects.evolution import (
    Evolution,
    EvolutionList,
    GetProgress,
    ListEvolutions,
    PauseEvolution,
    Progress,
    ResumeEvolution,
    StartEvolution,
    StopEvolution,
)
from subjects.evolver import (
    CheckEvolverHealth,
    ConfigurePopulation,
    Diversity,
    EvolverHealth,
    FitnessStatus,
    GetDiversity,
    GetFitness,
    GetPopulation,
    Population,
    PopulationConfig,
)
from subjects.genome import (
    DeployGenome,
    ExportGenomes,
    GenomeDetail,
    GenomeList,
    GenomePage,
    GetGenome,
    Imported,
    ImportGenomes,
    ListGenomes,
    PreviewReturn,
    Return,
    ReturnView,
    ValidateGenomes,
    Validation,
)

if TYPE_CHECKING:
    from chimera.node.parts import Parts

EVOLVED, STEPPED = "chimera.event.evolver.evolved", "chimera.event.evolver.stepped"
TAIL = 50_000
"""Outcomes read again at the start, so that there is something to measure genomes on."""


class Evolver(Layered, name="evolver", mailbox=1024, concurrency=64, layer="evolution"):
    """Breeds genomes of agents and hands the best to the gate.

    Args:
        bus: Where the log, the outcomes and the judgements are.
        store: Holds the genomes for who asks.
        version: Shown in its health.
        replicas: Copies of the log.
        most: Genomes kept in the store.
    """

    def __init__(
        self, *, bus: Bus, store: Store, version: str = "", replicas: int = 1, most: int = 200_000
    ) -> None:  # fmt: skip
        self._bus, self._store, self._version, self._replicas, self._most = bus, store, version, replicas, most

    @staticmethod
    def assemble(parts: Parts) -> dict[str, Any]:
        """The constructor's arguments on a node."""
        from chimera import __version__  # noqa: PLC0415 - only a node shows it

        return {
            "bus": parts.need("bus"), "store": parts.need("store"), "version": __version__,
            "most": parts.settings.evolution.genomes_max,
        }  # fmt: skip

    @staticmethod
    def projections(bus: Bus, store: Store) -> list[Any]:
        """What ``chimera rebuild`` makes again."""
        return list(GenomeShelf.projections(bus, store))

    async def on_start(self) -> None:
        """Read the log; lead, or watch who does."""
        ctx = self.ctx
        self._started = ctx.clock.monotonic()
        await self._bus.declare(LOG.spec(self._replicas, MOST_BYTES))
        self._shelf = GenomeShelf(
            bus=self._bus, store=self._store, clock=ctx.clock, rng=ctx.rng, report=ctx.event, most=self._most
        )
        ctx.spawn(self._shelf.run)
        self._leadership: Leadership[Any] = Leadership(
            ctx, self._bus, LOG, lambda epoch, node, at: Led(epoch=epoch, node=node, at=at)
        )
        await self._open(ours=True)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - whatever the reason, the same is to do
        """Let what was written be stored."""
        if self._leadership.leads:
            with anyio.move_on_after(2.0), suppress(RestartingError):
                await self._leadership.journal.barrier()
            await self._ranch.slots.close()

    async def on_down(self, ref: Ref, reason: str) -> None:
        """The leader, or its node, went away: lead, unless somebody was faster."""
        if ref.node == self._leadership.leader:
            self.ctx.event("leader-lost", f"{ref.node}: {reason}", level="warning")
            await self._open(gone=self._leadership.epoch)

    # -- evolutions ----------------------------------------------------------------------------------------------------

    @handles
    async def start(self, message: StartEvolution) -> Evolution:
        """Breed genomes of an agent."""
        return await self._breeder.start(message) if await self._speaks() else await self._pass_on(message, 30.0)

    @handles
    async def stop(self, message: StopEvolution) -> Evolution:
        """Cancel an evolution, and autonomous mode with it."""
        return await self._stand.stop(message) if await self._speaks() else await self._pass_on(message, 30.0)

    @handles
    async def pause(self, message: PauseEvolution) -> Evolution:
        """Let an evolution wait."""
        return await self._breeder.pause(message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def resume(self, message: ResumeEvolution) -> Evolution:
        """Let an evolution go on."""
        return await self._breeder.pause(message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def configure(self, message: ConfigurePopulation) -> PopulationConfig:
        """How populations are bred."""
        return await self._breeder.configure(message) if await self._speaks() else await self._pass_on(message)

    @handles(interleave=True)
    async def evolutions(self, message: ListEvolutions) -> EvolutionList:
        """Evolutions, newest first."""
        return self._breeder.listed(message) if await self._speaks() else await self._pass_on(message)

    @handles(interleave=True)
    async def progress(self, message: GetProgress) -> Progress:
        """Per generation history."""
        return self._breeder.progress(message) if await self._speaks() else await self._pass_on(message)

    @handles(interleave=True)
    async def population(self, message: GetPopulation) -> Population:
        """The population as it stands."""
        return self._stand.population(message) if await self._speaks() else await self._pass_on(message)

    @handles(interleave=True)
    async def diversity(self, message: GetDiversity) -> Diversity:
        """How different its genomes are."""
        return self._stand.diversity(message) if await self._speaks() else await self._pass_on(message)

    @handles(interleave=True)
    async def fitness(self, message: GetFitness) -> FitnessStatus:
        """Evaluations done and pending."""
        return self._ranch.status() if await self._speaks() else await self._pass_on(message)

    # -- genomes -------------------------------------------------------------------------------------------------------

    @handles(interleave=True)
    async def genomes(self, message: ListGenomes) -> GenomeList:
        """Stored genomes."""
        return await self._shelf.genomes(message)

    @handles(interleave=True)
    async def genome(self, message: GetGenome) -> GenomeDetail:
        """One genome with its lineage."""
        return await self._bank.detail(message)

    @handles(interleave=True)
    async def validate(self, message: ValidateGenomes) -> Validation:
        """Check every stored genome."""
        return await self._bank.validate(message)

    @handles(interleave=True)
    async def export(self, message: ExportGenomes) -> GenomePage:
        """A page of genome records."""
        return await self._bank.export(message)

    @handles
    async def restore(self, message: ImportGenomes) -> Imported:
        """Bring genome records back."""
        return await self._bank.restore(message) if await self._speaks() else await self._pass_on(message, 30.0)

    @handles
    async def deploy(self, message: DeployGenome) -> GenomeDetail:
        """Hand a genome to the gate."""
        return await self._bank.deploy(message)

    @handles(interleave=True)
    async def preview_rollback(self, message: PreviewReturn) -> ReturnView:
        """What a rollback would do."""
        return await self._way_back.preview(message)

    @handles
    async def rollback(self, message: Return) -> ReturnView:
        """Return to the previous release and its genome."""
        return await self._way_back.go(message) if await self._speaks() else await self._pass_on(message, 30.0)

    # -- autonomous mode -----------------------------------------------------------------------------------------------

    @handles(interleave=True)
    async def autonomy(self, message: GetAutonomy) -> Autonomy:
        """Where autonomous mode stands."""
        return self._autopilot.shown(message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def autonomous(self, message: SetAutonomous) -> AutonomousView:
        """Switch autonomous mode on or off."""
        return await self._stand.switch(message) if await self._speaks() else await self._pass_on(message, 30.0)

    # -- health --------------------------------------------------------------------------------------------------------

    @handles(interleave=True)
    async def health(self, _message: CheckEvolverHealth) -> EvolverHealth:
        """How the layer does, computed now."""
        leads = self._leadership.leads
        checks = {"bus": self._bus.statistics().state, "log": self._leadership.journal.trouble or "ok"}
        try:
            genomes, checks["store"] = await self._shelf.count(), "ok"
        except ChimeraError as error:
            genomes, checks["store"] = 0, error.detail
        bad = [name for name, word in checks.items() if word not in {"ok", "connected"}]
        running = self._breeder.book.running() if leads else []
        return EvolverHealth(
            status="warn" if bad else "pass", node=self.ctx.node, version=self._version, leads=leads,
            uptime_s=self.ctx.clock.monotonic() - self._started, running=sum(not fold.paused for fold in running),
            paused=sum(fold.paused for fold in running), genomes=genomes, checks=checks,
            autonomous=[agent for agent, loop in self._autopilot.loops.items() if loop.on] if leads else [],
        )  # fmt: skip

    # -- leading -------------------------------------------------------------------------------------------------------

    async def _speaks(self) -> bool:
        return await self._leadership.speaks()

    async def _pass_on(self, message: Any, timeout_s: float = 10.0) -> Any:
        return await self._leadership.pass_on(message, timeout_s)

    async def _open(self, *, ours: bool = False, gone: int = -1) -> None:
        if await self._leadership.open(self._make, _as_lead, ours=ours, gone=gone):
            await self._lead()

    def _make(self, journal: Journal[Any]) -> Any:
        ctx = self.ctx
        self._recorder = Recorder()
        self._feed = Feed(self._bus, ctx.clock, self._served, self._judged)
        writer = LogWriter(journal, LOG, self._apply)
        self._ranch = Ranch(bus=self._bus, ctx=ctx, recorder=self._recorder)
        self._breeder = Breeder(
            write=writer.write, ask=ctx.ask, clock=ctx.clock, report=ctx.event, tell=self._tell, spawn=ctx.spawn,
            prepare=self._ranch.prepare, drive=self._drive,
        )  # fmt: skip
        self._autopilot = Autopilot(
            breeder=self._breeder, write=writer.write, watch=self._ranch.watch, clock=ctx.clock, report=ctx.event,
            tell=self._tell,
        )  # fmt: skip
        self._ranch.serve(self._breeder)
        self._stand = Stand(self._breeder, self._autopilot)
        self._bank = Genebank(self._shelf, self._breeder, ask=ctx.ask, report=ctx.event)
        self._way_back = WayBack(ctx.ask, self._stand.halt)
        return self._apply

    def _drive(self, fold: Any) -> Any:
        return self._ranch.drive(fold, self._breeder.write)

    def _apply(self, entry: Any) -> None:
        if isinstance(entry, Moved):
            self._autopilot.apply(entry)
        else:
            self._breeder.book.apply(entry)

    async def _lead(self) -> None:
        await self._feed.begin(TAIL)
        for work in (self._leadership.journal.run, self._feed.run, self._ranch.evaluator.run, self._autopilot.run):
            self.ctx.spawn(work)
        self._breeder.resume()
        running = len(self._breeder.book.running())
        self.ctx.event("leader-took", f"epoch {self._leadership.epoch}: {running} evolutions run")

    def _served(self, seq: int, record: TaskProcessed, size: int) -> None:
        self._autopilot.served(self._recorder.take(seq, record, size))

    def _judged(self, seq: int, judged: TaskJudged, _size: int) -> None:
        task: Recorded | None = self._recorder.judge(seq, judged)
        if task is not None:
            self._autopilot.judged(task)

    async def _tell(self, fact: Any, id_: str) -> None:
        with suppress(ChimeraError):  # the log holds it; the fact is for those who listen
            subject = STEPPED if isinstance(fact, AutonomousStepped) else EVOLVED
            await self._bus.append(subject, encode(fact), msg_id=id_)


def _as_lead(entry: Any) -> Led | None:
    return entry if isinstance(entry, Led) else None
