"""What happens because time passes: retries, deadlines, schedules, rescues, housekeeping."""

from __future__ import annotations

from contextlib import suppress

from actors.queueing import states
from actors.queueing.ledger import Task
from actors.queueing.records import New, pack
from actors.queueing.retry import backoff_s
from actors.queueing.stuck import Running, signals
from chimera.errors import ChimeraError, RestartingError

from .archive import Archive
from .core import Core
from .disk import Disk
from .plans import Plans

_TICK_S = 1.0
_HOUSEKEEPING_S = 5.0
_SLICE = 200
COMPACT_MESSAGES = 1000
"""Messages that are left alone; beyond them the log is rewritten when it is four times what is needed."""


class Clockwork:
    """Runs beside the attempts.

    Args:
        core: Shared state.
        plans: The schedules.
        archive: Knows what the history has seen of the log.
        disk: Where the log is, if that is on this machine.
    """

    def __init__(self, core: Core, plans: Plans, archive: Archive, disk: Disk | None) -> None:
        self._core, self._plans, self._archive, self._disk = core, plans, archive, disk
        self._held, self._seen = False, 0
        self._kept_at = 0.0
        self._offset = core.clock.time() - core.clock.monotonic()

    async def run(self) -> None:
        """Tick for ever."""
        while True:
            self.tick()
            if self._core.clock.monotonic() - self._kept_at >= _HOUSEKEEPING_S:
                self._kept_at = self._core.clock.monotonic()
                await self._keep_house()
            await self._core.ticker.wait(self._patience())

    def tick(self) -> None:
        """Do what is due."""
        core, now = self._core, self._core.clock.time()
        self._follow_clock()
        for task in core.ledger.due(now):  # not as a list: a task can be due twice, and be final the second time
            self._look_at(task, now)
        self._plans.fire(now)
        if core.policy.rescue:
            self._rescue_all()
        for lane in core.lanes:
            if change := lane.adapted():
                core.report(
                    "scheduling-optimization", f"{lane.agent}: {change}", agent=lane.agent, limit=lane.aimd.limit
                )
        core.pump.ring()

    def _rescue_all(self) -> None:
        """Not while nothing can be heard: who is silent then may well be alive."""
        core, now = self._core, self._core.clock.monotonic()
        deaf = core.journal.trouble or core.bus.statistics().state != "connected"
        for task in list(core.ledger.running.values()):
            if deaf:
                task.beat_at = now
            else:
                self._rescue(task)

    def _follow_clock(self) -> None:
        """An administrator or NTP may set the wall clock, by which due times are kept."""
        offset = self._core.clock.time() - self._core.clock.monotonic()
        if offset < self._offset - _TICK_S:
            self._core.ledger.bound_pauses(self._core.clock.time())
        self._offset = offset

    def _patience(self) -> float:
        alarms = [at for at in (self._core.ledger.next_alarm(), self._plans.next_at()) if at is not None]
        left = min(alarms, default=float("inf")) - self._core.clock.time()
        return min(_TICK_S, max(0.001, left))

    def _look_at(self, task: Task, now: float) -> None:
        core, spec, status = self._core, task.spec, task.status
        if spec.deadline and spec.deadline <= now:
            core.move(task, states.expired(status, now))
            core.stop_attempt(spec.id)
        elif status.state == "scheduled" and status.due <= now:
            core.ledger.move(task, states.queued(status, now))  # needs no record: reading the log does it again

    def _rescue(self, task: Task) -> None:
        """A silent attempt is ended and fenced; the ask's own deadline ends one that is over its limit."""
        core, now = self._core, self._core.clock.monotonic()
        since = now - (core.clock.time() - task.status.since)
        view = Running(since, task.spec.limit_s, task.beat_at, task.moved_at)
        found = {
            signal: reason for signal, reason in signals(view, now, core.policy.patience) if signal != "over-limit"
        }
        if not found:
            return
        if "no-heartbeat" in found:
            core.lose(task, found["no-heartbeat"], event="task-stuck")
            core.stop_attempt(task.spec.id)
            return
        wait = backoff_s(task.spec, task.status.used, core.rng)
        why = found["no-progress"]
        status = states.failed(task.status, task.spec, core.clock.time(), "stuck", why, wait_s=wait, again=True)
        core.report("task-stuck", f"{task.spec.id}: {why}", level="warning", agent=task.spec.agent)
        core.move(task, status)
        core.stop_attempt(task.spec.id)

    async def _keep_house(self) -> None:
        core = self._core
        with suppress(RestartingError):  # the writer says it
            await core.journal.confirm()
        core.ledger.forget(core.clock.time())
        if self._disk is not None:
            core.disk_free = self._disk.free()
            with suppress(ChimeraError):
                core.store_free = await self._disk.store_free(core.bus)
        with suppress(ChimeraError):
            seen = await self._archive.projected()
            core.history_lag = None if seen is None else max(0, core.journal.last_seq - seen)
        if core.journal.messages > COMPACT_MESSAGES + len(core.ledger.tasks) // 4:
            try:
                needed = await self._needed()
                if needed - core.journal.first_seq > core.journal.messages // 2:
                    await self.compact(needed)
            except ChimeraError as error:
                core.report("data-access", f"the log could not be compacted: {error.detail}", level="warning")

    async def _needed(self) -> int:
        """From which message on the history still needs the log; it is left alone up to a bound."""
        core, journal, most = self._core, self._core.journal, self._core.policy.hold_bytes
        try:
            seen = await self._archive.projected()
        except ChimeraError:
            seen = self._seen
        self._seen = journal.last_seq if seen is None else seen
        behind = journal.last_seq - self._seen
        over = journal.bytes > most and behind > journal.messages // 2
        if over and not self._held:
            why = f"the store is {behind} messages behind, the log has {journal.bytes} bytes: history will be missing"
            core.report("log-compacted", why, level="error", behind=behind)
        self._held = over
        return journal.last_seq + 1 if over else self._seen + 1

    async def compact(self, needed: int | None = None) -> None:
        """Write all that lives again, wait until it is stored, then purge everything before it, up to ``needed``."""
        core = self._core
        cut = core.journal.last_seq + 1
        cut = cut if needed is None else min(cut, needed)
        for entry in core.ledger.entries():
            core.journal.write(pack(entry))
        names = list(core.ledger.tasks)
        for start in range(0, len(names), _SLICE):
            for name in names[start : start + _SLICE]:
                if (task := core.ledger.tasks.get(name)) is not None:
                    core.journal.write(pack(New(task.spec, task.status)))
            await core.journal.barrier()
        await core.journal.barrier()
        await core.journal.purge(cut)
        core.report("log-compacted", f"{core.journal.messages} messages are left", tasks=len(names))
