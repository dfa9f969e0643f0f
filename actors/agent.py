"""The agent actor: runs tasks in sandboxed agents, changes agents by immutable releases. Thin: see ``execution``."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from actors.execution.acts import Acts
from actors.execution.batching import BatchPolicy
from actors.execution.guestlog import GuestLog
from actors.execution.guests import GuestPool
from actors.execution.judging import Judge
from actors.execution.layers import Layered
from actors.execution.measure import AgentMeter, MetricsMeter, NoMeter
from actors.execution.outcomes import Outbox
from actors.execution.projection import AgentProjection, AgentsPart
from actors.execution.proposals import experiment_of
from actors.execution.releases import ReleaseBook
from actors.execution.runtime import Fleet, Surroundings
from actors.execution.settings import Serving
from actors.execution.slots import Slots
from actors.execution.tasks import TaskRunner
from actors.execution.trials import TrialRunner
from actors.execution.views import agent_row, layer_health
from actors.execution.window import AnswerWindow
from chimera import handles
from chimera.bus.contract import Bus, StreamSpec
from chimera.errors import ChimeraError, DeadlineError
from chimera.sandbox.contract import Sandbox
from chimera.store.contract import Store
from chimera.wire import encode
from subjects.agent import (
    OPTIMIZE,
    PREDICT,
    AgentList,
    AgentView,
    Batching,
    CheckHealth,
    CheckOptimizer,
    ConfigureBatching,
    Deploy,
    Feedback,
    FeedbackTaken,
    Health,
    LayerCheck,
    ListAgents,
    Manifest,
    Optimize,
    Optimized,
    Predict,
    Prediction,
    RegisterAgent,
    Retire,
    Rollback,
    ShowAgent,
)
from subjects.control import BEAT, Beat
from subjects.trial import (
    EVALUATE,
    EVALUATE_GENOMES,
    Evaluate,
    EvaluateGenomes,
    Evaluation,
    GenomesEvaluation,
)

if TYPE_CHECKING:
    from chimera.node.parts import Parts

BATCHING_SETTING = "agent.batching"
SHIPPED = "edge.guests:shipped"
"""What gives the agents that ship with the program; a name, because the rooms do not import each other."""
_SYNC_S = 10.0
_BEAT_S, _BEAT_JOBS = 3.0, 1000
_DONE_S = 30.0


class Agent(Layered, name="agent", mailbox=1024, concurrency=256, layer="execution"):
    """Serves every agent of the book on this node.

    Args:
        sandbox: Where guests run.
        bus: The book, the records and the facts are there.
        store: Projections and settings.
        serving: What the operator decides.
        meter: Takes measurements.
        shipped: Agents that came with the program; entered unless a person decided otherwise.
    """

    def __init__(
        self,
        *,
        sandbox: Sandbox,
        bus: Bus,
        store: Store,
        serving: Serving | None = None,
        meter: AgentMeter | None = None,
        shipped: Sequence[tuple[Manifest, bytes]] = (),
    ) -> None:
        self._sandbox = sandbox
        self._bus = bus
        self._store = store
        self._serving = serving or Serving()
        self._meter: AgentMeter = meter or NoMeter()
        self._shipped = shipped
        self._batching = BatchPolicy(
            size=self._serving.batch_size, timeout_s=self._serving.batch_timeout_ms / 1e3, queue=self._serving.queue
        )

    @staticmethod
    def assemble(parts: Parts) -> dict[str, Any]:
        """The constructor's arguments on a node."""
        from chimera.node.tree import load_object  # noqa: PLC0415 - only a node has a tree

        guests = load_object(SHIPPED, "the shipped agents")()
        return {
            "sandbox": parts.need("sandbox"),
            "bus": parts.need("bus"),
            "store": parts.need("store"),
            "serving": Serving.of(parts.settings.agent, parts.settings.sandbox),
            "meter": MetricsMeter(parts.metrics),
            "shipped": [(guest.manifest, guest.module) for guest in guests],
        }

    @staticmethod
    def projections(bus: Bus, store: Store) -> list[AgentsPart]:
        """What ``chimera rebuild`` makes again."""
        return [AgentsPart(bus, store)]

    async def on_start(self) -> None:
        """Declare the streams, open the book, enter what was shipped, load every live agent."""
        self._wire()
        for spec in self._streams():
            await self._bus.declare(spec)
        await self._restore_batching()
        await self._book.open()
        self.ctx.spawn(self._book.follow, self._moved)
        with anyio.move_on_after(_SYNC_S):
            await self._book.synced.wait()
        if not self._book.synced.is_set():
            raise DeadlineError(f"the release book was not read within {_SYNC_S:g} s", stage="running")
        self.ctx.spawn(self._projection.run)
        await self._acts.ship(self._shipped)
        await self._load_all()
        for outbox in self._outboxes.values():
            self.ctx.spawn(outbox.run, self._serving.flush_s)
        self.ctx.spawn(self._beat)
        self.ctx.spawn(self._slots.follow, self._busy)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - whatever the reason, the same is to do
        """Send what the outboxes hold, then unload."""
        if hasattr(self, "_outboxes"):
            await self._slots.close()
            for outbox in self._outboxes.values():
                await outbox.stop(self._serving.stop_s / len(self._outboxes))
            await self._pool.close()

    @handles
    async def predict(self, message: Predict) -> Prediction:
        """Run one task, or give its stored answer."""
        runtime = self._fleet.find(message.agent)
        return await self._tasks.predict(message, runtime, self._deadline(message.deadline_ms))

    @handles
    async def feedback(self, message: Feedback) -> FeedbackTaken:
        """Compare a right answer with the one given."""
        return await self._judge.take(message)

    @handles
    async def health(self, _message: CheckHealth) -> Health:
        """How the layer does, computed now."""
        return layer_health(
            node=self.ctx.node, uptime_s=self._now() - self._started, now=self._now(), runtimes=self._fleet.runtimes(),
            sandbox=self._sandbox.statistics(), bus_state=self._bus.statistics().state, store=await self._store_check(),
            outboxes=self._outboxes, unreadable=self._book.unreadable,
        )  # fmt: skip

    @handles
    async def list_agents(self, _message: ListAgents) -> AgentList:
        """One row per agent, computed now."""
        workers, now = self._sandbox.statistics().workers, self._now()
        rows = [agent_row(runtime, workers, now) for runtime in self._fleet.runtimes()]
        return AgentList(node=self.ctx.node, agents=rows)

    @handles
    async def check_optimizer(self, _message: CheckOptimizer) -> LayerCheck:
        """A measured round trip to the optimizer."""
        return await self.way_to("optimizer").check(self._patience())

    @handles
    async def configure_batching(self, message: ConfigureBatching) -> Batching:
        """Keep the new settings, then put them in force for every batch from now on."""
        before = (self._batching.size, self._batching.timeout_s * 1e3)
        await self._store.set_setting(BATCHING_SETTING, msgspec.to_builtins(message))
        self._batching.size, self._batching.timeout_s = message.batch_size, message.batch_timeout_ms / 1e3
        self.ctx.event(
            "batching-changed", f"batches of {message.batch_size} after {message.batch_timeout_ms:g} ms",
            batch_size=message.batch_size, batch_timeout_ms=message.batch_timeout_ms,
        )  # fmt: skip
        return Batching(
            batch_size=message.batch_size, batch_timeout_ms=message.batch_timeout_ms,
            previous_batch_size=before[0], previous_batch_timeout_ms=before[1],
        )  # fmt: skip

    @handles
    async def optimize(self, message: Optimize) -> Optimized:
        """Ask the optimizer for a proposal, and have the gate try it."""
        self._fleet.find(message.agent)
        patience = min(OPTIMIZE.timeout_s, self.ctx.remaining() or OPTIMIZE.timeout_s)
        proposal = await self.way_to("optimizer").ask("propose", {"agent": message.agent}, patience)
        experiment = experiment_of(message.agent, proposal)
        if experiment is None:
            return Optimized(proposal=proposal, applied=False, reason="the optimizer proposes no change")
        begun = await self.way_to("optimizer").ask("create_experiment", msgspec.to_builtins(experiment), patience)
        variants: list[dict[str, Any]] = begun["variants"]
        reason = f"experiment {begun['id']} tries release {variants[0]['release']} against {begun['incumbent']}"
        return Optimized(proposal=proposal, applied=True, reason=reason)

    @handles
    async def evaluate(self, message: Evaluate) -> Evaluation:
        """Run tasks on any release or genome, beside live traffic."""
        limit = EVALUATE.timeout_s if message.deadline_ms is None else message.deadline_ms / 1e3
        return await self._trials.evaluate(message, self._now() + min(limit, self.ctx.remaining() or limit))

    @handles
    async def evaluate_genomes(self, message: EvaluateGenomes) -> GenomesEvaluation:
        """Run the same tasks on many genomes, beside live traffic."""
        limit = EVALUATE_GENOMES.timeout_s if message.deadline_ms is None else message.deadline_ms / 1e3
        until = self._now() + min(limit, self.ctx.remaining() or limit)
        return await self._trials.evaluate_genomes(message, until)

    @handles
    async def register(self, message: RegisterAgent) -> AgentView:
        """Add an agent."""
        return await self._acts.register(message)

    @handles
    async def show(self, message: ShowAgent) -> AgentView:
        """One agent with its releases."""
        return await self._acts.show(message.name)

    @handles
    async def deploy(self, message: Deploy) -> AgentView:
        """Make a release and send traffic to it."""
        return await self._acts.deploy(message)

    @handles
    async def rollback(self, message: Rollback) -> AgentView:
        """Return to the release before."""
        return await self._acts.rollback(message)

    @handles
    async def retire(self, message: Retire) -> AgentView:
        """Stop serving an agent."""
        return await self._acts.retire(message)

    def _wire(self) -> None:
        """Connect the parts; only now is there a context with the node's name and clock."""
        serving, clock, bus, ctx = self._serving, self.ctx.clock, self._bus, self.ctx
        self._now = clock.monotonic
        self._started = self._now()
        epoch = f"{ctx.node}.{int(clock.time() * 1000):x}.{uuid.uuid4().hex[:8]}"
        self._outboxes = {name: self._outbox(f"{epoch}.{name}") for name in ("kpi", "events")}
        self._book = ReleaseBook(bus, time=clock.time, new_id=lambda: uuid.uuid4().hex)
        self._pool = GuestPool(self._sandbox, self._book.module, serving.grants)
        around = Surroundings(self._book, self._pool, serving, self._batching, self._now, ctx.spawn)
        self._fleet = Fleet(around, ctx.event)
        self._projection = AgentProjection(self._store, clock.sleep, ctx.event)
        self._acts = Acts(
            book=self._book, fleet=self._fleet, pool=self._pool, serving=serving, bus=bus, projection=self._projection,
            facts=self._outboxes["events"], time=clock.time, report=ctx.event,
        )  # fmt: skip
        self._tasks = TaskRunner(
            node=ctx.node, clock=clock, window=AnswerWindow(serving.window, self._now), outbox=self._outboxes["kpi"],
            meter=self._meter, bus=bus, report=ctx.event, record_inputs=serving.record_inputs,
            log=GuestLog(ctx.event, self._now, serving.log_lines_per_s),
        )  # fmt: skip
        self._trials = TrialRunner(
            node=ctx.node, book=self._book, pool=self._pool, serving=serving, now=self._now,
        )  # fmt: skip
        self._slots = Slots(ask=ctx.ask, spawn=ctx.spawn, clock=clock, node=ctx.node, layer="execution")
        self._judge = Judge(tasks=self._tasks, book=self._book, fleet=self._fleet, store=self._store, bus=bus,
                            time=clock.time, new_id=lambda: uuid.uuid4().hex)  # fmt: skip

    async def _beat(self) -> None:
        """Say every few seconds what is worked on: from this loop, which guests in their processes can't block."""
        while True:
            await self.ctx.clock.sleep(_BEAT_S)
            jobs, done = self._tasks.running(), self._tasks.answered(_DONE_S, _BEAT_JOBS)
            for start in range(0, max(len(jobs), len(done)), _BEAT_JOBS):
                part = slice(start, start + _BEAT_JOBS)
                with suppress(ChimeraError):  # a missed beat is made up for by the next
                    await self._bus.publish(BEAT, encode(Beat(node=self.ctx.node, jobs=jobs[part], done=done[part])))

    def _busy(self) -> float:
        """Workers that run tasks now; what is tried beside them is accounted for by whoever tries it."""
        workers = self._sandbox.statistics()
        return float(min(workers.workers - workers.idle, len(self._tasks.running())))

    def _outbox(self, prefix: str) -> Outbox:
        def lost(count: int, why: str) -> None:
            self.ctx.event("anomaly-detected", f"{count} records were lost: {why}", level="error", lost=count)

        return Outbox(self._bus, prefix=prefix, limit=self._serving.outbox, sleep=self.ctx.clock.sleep, on_loss=lost)

    def _streams(self) -> tuple[StreamSpec, ...]:
        own = self._serving
        return (
            StreamSpec(
                "EVENTS", ("chimera.event.>",), max_age_s=own.events_max_age_s, max_bytes=own.events_max_bytes,
                replicas=own.replicas,
            ),
            StreamSpec(
                "KPI", ("chimera.kpi.>",), max_age_s=own.kpi_max_age_s, max_bytes=own.kpi_max_bytes,
                replicas=own.replicas,
            ),
        )  # fmt: skip

    async def _load_all(self) -> None:
        async with anyio.create_task_group() as group:
            for name in self._book.names():
                group.start_soon(self._fleet.follow, name)
        for runtime in self._fleet.runtimes():
            record = self._book.cached(runtime.name)
            if record is not None:
                await self._projection.save(record.view())

    def _moved(self, name: str) -> None:
        if self._book.synced.is_set():
            self._fleet.changed(name)

    async def _restore_batching(self) -> None:
        try:
            kept = await self._store.setting(BATCHING_SETTING)
            if kept is not None:
                chosen = msgspec.convert(kept, ConfigureBatching)
                self._batching.size, self._batching.timeout_s = chosen.batch_size, chosen.batch_timeout_ms / 1e3
        except (ChimeraError, msgspec.ValidationError) as error:
            self.ctx.event("data-access", f"the batch settings kept can't be read: {error}", level="warning")

    async def _store_check(self) -> str:
        try:
            return await self._store.check()
        except ChimeraError as error:
            return error.detail

    def _deadline(self, deadline_ms: int | None) -> float:
        """Monotonic seconds when nobody waits any more: the least of the turn's, the message's and the operation's."""
        now = self._now()
        limit = now + (PREDICT.timeout_s if deadline_ms is None else deadline_ms / 1e3)
        turn = self.ctx.deadline
        return limit if turn is None or turn > limit else turn

    def _patience(self) -> float:
        return min(2.0, self.ctx.remaining() or 2.0)
