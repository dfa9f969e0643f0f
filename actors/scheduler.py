"""The scheduler actor: durable tasks, one leader among any number of instances. Thin: see ``scheduling``.

The first instance leads; the others watch it, pass on what they are asked, and one takes over when it goes. Who leads
is written in the log itself, by the same compare-and-set that fences every append, so no two can ever write.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio

from actors.execution.layers import Layered
from actors.queueing import states
from actors.queueing.ledger import Ledger
from actors.queueing.records import Took
from actors.scheduling.alarm import Alarm
from actors.scheduling.archive import Archive
from actors.scheduling.assembly import arguments_of
from actors.scheduling.attempts import Attempts
from actors.scheduling.audience import Audience
from actors.scheduling.clockwork import Clockwork
from actors.scheduling.core import Core, Policy
from actors.scheduling.desk import Desk
from actors.scheduling.disk import Disk
from actors.scheduling.figures import Figures
from actors.scheduling.health import health_of
from actors.scheduling.herald import Herald
from actors.scheduling.journal import STREAM, Journal, stream_spec
from actors.scheduling.letters import Letters
from actors.scheduling.plans import Plans
from actors.scheduling.views import (
    dead_page,
    fitting,
    progress_fact,
    queue_view,
    state_news,
    stuck_tasks,
    task_view,
)
from chimera import handles
from chimera.bus.contract import Bus, Delivery
from chimera.errors import ChimeraError, RestartingError
from chimera.metrics import Metrics
from chimera.ref import Ref
from chimera.store import Store
from chimera.wire import decode
from subjects import Request
from subjects.agent import Predict, Prediction
from subjects.control import BEAT, Beat
from subjects.dead import GetLetter, ListDead, Revive, Revived
from subjects.news import TaskNews, WatchTasks
from subjects.scheduler import (
    AgentLimits,
    CancelTask,
    CheckScheduler,
    Drain,
    GetQueue,
    GetTask,
    LimitAgent,
    ListSchedules,
    ListStuck,
    ListTasks,
    Noted,
    Pause,
    QueueView,
    ReportProgress,
    Resume,
    Schedule,
    SchedulePage,
    SchedulerHealth,
    ScheduleView,
    Standing,
    StuckPage,
    Submit,
    Submitted,
    Unschedule,
)
from subjects.task import TaskPage, TaskView

if TYPE_CHECKING:
    from chimera.node.guard import Guard
    from chimera.node.parts import Parts

R = TypeVar("R")
_RETRY_S = 0.5


class Scheduler(Layered, name="scheduler", mailbox=2048, concurrency=512, layer="scheduling"):
    """Keeps tasks and has them done.

    Args:
        bus: Where the log is.
        policy: What the operator decides.
        disk: Where the log is, if that is on this machine.
        replicas: Copies of the log.
        guard: Knows how far the log was.
        store: Has the history, which the historian writes.
        metrics: Where measurements go.
    """

    def __init__(
        self, *, bus: Bus, policy: Policy | None = None, disk: Disk | None = None, replicas: int = 1,
        store: Store | None = None, guard: Guard | None = None, metrics: Metrics | None = None,
    ) -> None:  # fmt: skip
        self._bus, self._policy, self._disk, self._replicas = bus, policy or Policy(), disk, replicas
        self._store, self._guard, self._figures = store, guard, Figures(metrics)
        self._leader = ""

    @staticmethod
    def assemble(parts: Parts) -> dict[str, Any]:
        """The constructor's arguments on a node."""
        return arguments_of(parts)

    async def on_start(self) -> None:
        """Read the log; lead, or watch who does."""
        self._started = self.ctx.clock.time()
        await self._bus.declare(stream_spec(self._replicas))
        await self._open(ours=True)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - whatever the reason, the same is to do
        """Let what was written be stored; attempts that run are taken over by whoever leads next."""
        self._figures.stop()
        if self._leader == self.ctx.node:
            await self._beats.unsubscribe()
            with anyio.move_on_after(2.0), suppress(RestartingError):
                await self._core.journal.barrier()

    async def on_down(self, ref: Ref, reason: str) -> None:
        """The leader, or its node, went away: lead, unless somebody was faster."""
        if ref.node == self._leader:
            self.ctx.event("leader-lost", f"{ref.node}: {reason}", level="warning")
            await self._open(gone=self._core.ledger.epoch)

    @handles
    async def submit(self, message: Submit) -> Submitted:
        """Store tasks."""
        return await self._desk.submit(message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def task(self, message: GetTask) -> TaskView:
        """One task, at once or at its end."""
        if not await self._speaks():
            return await self._pass_on(message, message.wait_ms / 1e3 + 5.0)
        if message.id not in self._core.ledger.tasks:
            return await self._archive.task(message)
        task = self._desk.find(message.id)
        if message.wait_ms and not states.is_final(task.status.state):
            await self._core.ended(message.id, message.wait_ms / 1e3)
        else:
            await self._core.journal.barrier()
        await self._core.journal.confirm()
        await self._core.settled(message.id)
        view = task_view(self._desk.find(message.id), self.ctx.clock.time(), whole=True)
        return await self._archive.with_changes(view, message)

    @handles
    async def tasks(self, message: ListTasks) -> TaskPage:
        """Tasks by filter."""
        if not await self._speaks():
            return await self._pass_on(message)
        return await self._archive.page(message, fitting(self._core, message))

    @handles
    async def cancel(self, message: CancelTask) -> TaskView:
        """Cancel a task."""
        if not await self._speaks():
            return await self._pass_on(message)
        return task_view(await self._desk.cancel(message.id), self.ctx.clock.time(), whole=True)

    @handles
    async def progress(self, message: ReportProgress) -> Noted:
        """A worker's heartbeat."""
        if not self._leads:
            return await self._pass_on(message)
        task, now = self._desk.find(message.id), self.ctx.clock.monotonic()
        if states.fences(task.status, message.attempt):
            return Noted(stop=True)
        task.beat_at, task.note = now, message.note or task.note
        if message.progress is not None and (task.progress is None or message.progress > task.progress):
            task.progress, task.moved_at = message.progress, now
        self._core.live("progressed", progress_fact(task, self.ctx.clock.time()))
        return Noted(stop=False)

    @handles(interleave=True)
    async def watch(self, message: WatchTasks) -> AsyncGenerator[TaskNews]:
        """News of tasks."""
        if await self._speaks():
            source = self._core.audience.listen(message, await self._watched(message.id))
        else:
            source = cast("AsyncGenerator[TaskNews]", self._leader_ref().stream(message))
        async with aclosing(source):
            async for news in source:
                yield news

    @handles
    async def queue(self, message: GetQueue) -> QueueView:
        """The queue."""
        return queue_view(self._core) if await self._speaks() else await self._pass_on(message)

    @handles
    async def stuck(self, message: ListStuck) -> StuckPage:
        """What does not get on."""
        return StuckPage(tasks=stuck_tasks(self._core)) if await self._speaks() else await self._pass_on(message)

    @handles
    async def dead(self, message: ListDead) -> TaskPage:
        """Dead letters."""
        return dead_page(self._core, message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def letter(self, message: GetLetter) -> TaskView:
        """One dead letter."""
        if not await self._speaks():
            return await self._pass_on(message)
        return task_view(self._desk.find_dead(message.id), self.ctx.clock.time(), whole=True)

    @handles
    async def revive(self, message: Revive) -> Revived:
        """Queue dead tasks again."""
        return Revived(ids=await self._desk.revive(message)) if await self._speaks() else await self._pass_on(message)

    @handles
    async def pause(self, message: Pause) -> Standing:
        """Start nothing new."""
        if not await self._speaks():
            return await self._pass_on(message)
        await self._desk.hold(message.agent, paused=True)
        return self._standing()

    @handles
    async def resume(self, message: Resume) -> Standing:
        """End a pause or a drain."""
        if not await self._speaks():
            return await self._pass_on(message)
        await self._desk.hold(message.agent, paused=False)
        return self._standing()

    @handles
    async def drain(self, message: Drain) -> Standing:
        """Take and start nothing new."""
        if not await self._speaks():
            return await self._pass_on(message)
        await self._desk.drain()
        return self._standing()

    @handles
    async def limit(self, message: LimitAgent) -> AgentLimits:
        """Limits of one agent."""
        if not await self._speaks():
            return await self._pass_on(message)
        await self._desk.limit(message)
        return AgentLimits(agent=message.agent, concurrency=message.concurrency, rate_per_s=message.rate_per_s or None)

    @handles
    async def schedule(self, message: Schedule) -> ScheduleView:
        """Make or replace a schedule."""
        return await self._plans.set(message) if await self._speaks() else await self._pass_on(message)

    @handles
    async def schedules(self, message: ListSchedules) -> SchedulePage:
        """All schedules."""
        return SchedulePage(schedules=self._plans.all()) if await self._speaks() else await self._pass_on(message)

    @handles
    async def unschedule(self, message: Unschedule) -> ScheduleView:
        """Remove a schedule."""
        return await self._plans.drop(message.id) if await self._speaks() else await self._pass_on(message)

    @handles
    async def health(self, message: CheckScheduler) -> SchedulerHealth:
        """How the scheduler does."""
        if not await self._speaks():
            return await self._pass_on(message)
        return health_of(self._core, leader=self._leader, alarms=self._guard.marks.texts if self._guard else {})

    # -- leading and following -----------------------------------------------------------------------------------------

    @property
    def _leads(self) -> bool:
        return self._leader == self.ctx.node

    async def _speaks(self) -> bool:
        """True if this instance leads and what it knows is of now: it may have slept while another took over."""
        if self._leads:
            await self._core.journal.confirm()
        return self._leads

    async def _open(self, *, ours: bool = False, gone: int = -1) -> None:
        """Read the log and take the lead, unless it has a leader that is not ``gone``.

        Args:
            ours: A leader of this node's own name is an earlier instance of this one.
            gone: The epoch of a leader who is known to be away; the node may have come back and lead anew.
        """
        free = {"", self.ctx.node if ours else ""}
        while True:
            self._make_core()
            core = self._core
            async for entry in core.journal.replay():
                core.ledger.restore(entry)
            self._hold_against_mark(core.ledger.epoch)
            if core.ledger.leader not in free and core.ledger.epoch != gone:
                self._leader = core.ledger.leader
                await self.ctx.watch(self.ctx.ref("scheduler", node=self._leader))
                return
            took = Took(core.ledger.epoch + 1, self.ctx.node, self.ctx.clock.time())
            if await core.journal.take_lead(took):
                core.ledger.restore(took)
                self._hold_against_mark(took.epoch)
                await self._lead()
                return

    def _hold_against_mark(self, epoch: int) -> None:
        """An older copy of the log that was written on is known by its epoch."""
        if self._guard is not None:
            self._guard.went_back(STREAM, epoch)

    def _make_core(self) -> None:
        ctx, clock, ledger = self.ctx, self.ctx.clock, Ledger(self._policy.keep_finished)
        letters = Letters(
            self._bus, clock, ledger, ctx.event, rules=self._policy.letters, replicas=self._replicas
        )  # fmt: skip
        self._core = Core(
            bus=self._bus, clock=clock, rng=ctx.rng, journal=Journal(self._bus, clock),
            ledger=ledger, policy=self._policy, node=ctx.node, ask=ctx.ask, ask_at=self._ask_at,
            spawn=ctx.spawn, report=ctx.event, pump=Alarm(clock), ticker=Alarm(clock),
            herald=Herald(self._bus, clock, ctx.event), audience=Audience(clock), letters=letters,
            figures=self._figures,
        )  # fmt: skip
        self._archive = Archive(self._store, ledger, clock)
        self._desk = Desk(self._core)
        self._plans = Plans(self._core, self._desk)

    async def _lead(self) -> None:
        core, clock = self._core, self.ctx.clock
        core.letters.note()
        core.ledger.settle(clock.time())
        core.lanes.govern(core.ledger.control, clock.monotonic())
        self._figures.lead(core)
        self._attempts = attempts = Attempts(core)
        orphans = list(core.ledger.running.values())
        for task in orphans:
            attempts.adoption.take(task)
        self._beats = await self._bus.subscribe(BEAT, self._on_beat)
        self._leader, core.audience.epoch = self.ctx.node, core.ledger.epoch
        self._clockwork = Clockwork(core, self._plans, self._archive, self._disk)
        for work in (core.journal.run, core.herald.run, core.letters.run, attempts.run, self._clockwork.run):
            self.ctx.spawn(work)
        self.ctx.event(
            "leader-took", f"epoch {core.ledger.epoch}: {core.ledger.unfinished} unfinished tasks, {len(orphans)} run",
            epoch=core.ledger.epoch, unfinished=core.ledger.unfinished,
        )  # fmt: skip

    def _on_beat(self, delivery: Delivery) -> None:
        """An agent's node says which jobs it works on."""
        now, beat = self.ctx.clock.monotonic(), decode(delivery.data, Beat)
        self._attempts.adoption.heard(beat.node, [*beat.jobs, *beat.done])
        for job in beat.jobs:
            task_id, _, attempt = job.rpartition("-")
            task = self._core.ledger.running.get(task_id)
            if task is not None and str(task.status.attempt) == attempt:
                task.beat_at = now

    async def _watched(self, task_id: str) -> TaskNews | None:
        if not task_id:
            return None
        await self._core.settled(task_id)
        return state_news(self._desk.find(task_id), self._core.audience.seq(), self.ctx.clock.time())

    async def _pass_on(self, message: Request[R], timeout_s: float = 10.0) -> R:
        """Ask the leader.

        Raises:
            RestartingError: If there is none just now; nothing was done.
        """
        try:
            return await self._leader_ref().ask(message, timeout_s=timeout_s)
        except ChimeraError as error:
            if error.code == "not-running":
                raise RestartingError("the scheduler changes its leader", retry_after_s=_RETRY_S) from error
            raise

    async def _ask_at(self, node: str, message: Predict, *, timeout_s: float, leave: Callable[[], bool]) -> Prediction:
        return await self.ctx.ref("agent", node=node).ask(message, timeout_s=timeout_s, leave=leave)

    def _leader_ref(self) -> Ref:
        if not self._leader:
            raise RestartingError(retry_after_s=_RETRY_S)
        return self.ctx.ref("scheduler", node=self._leader)

    def _standing(self) -> Standing:
        control = self._core.ledger.control
        return Standing(
            paused=control.paused, agents=list(control.agents), draining=control.draining,
            in_flight=len(self._core.ledger.running),
        )  # fmt: skip
