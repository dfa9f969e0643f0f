"""The state that the scheduler's parts share, and the one way to change it: in the ledger and in the log at once."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import msgspec

from actors.queueing import states
from actors.queueing.admission import Capacity
from actors.queueing.ledger import Ledger, Task
from actors.queueing.records import Control, Entry, Moved, Status, pack
from actors.queueing.retry import backoff_s
from actors.queueing.stuck import Patience
from chimera.bus.contract import Bus
from chimera.clock import Clock
from subjects.event import TaskEnded, TaskRetrying, TaskStarted

from .alarm import Alarm
from .audience import Audience, Fact
from .figures import Figures
from .herald import Herald
from .journal import Group, Journal
from .lanes import Lanes
from .letters import LetterRules, Letters

LIVE = "chimera.live.scheduler"
"""Facts about tasks as they happen: core NATS, at most once. The log is the truth."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decides.

    Attributes:
        room: Most that is taken in.
        patience: When a running task counts as stuck.
        keep_finished: Final tasks kept at most.
        rescue: End attempts that give no sign of life, and try again.
        waiters: Callers that may wait for a task's end at once.
        letters: How dead letters are kept.
        hold_bytes: So large the log may become while the history, which is behind, still needs it.
    """

    room: Capacity = field(default_factory=Capacity)
    patience: Patience = field(default_factory=Patience)
    keep_finished: int = 20_000
    rescue: bool = True
    waiters: int = 384
    letters: LetterRules = field(default_factory=LetterRules)
    hold_bytes: int = 1 << 30


@dataclass(slots=True)
class Core:
    """Shared by the desk, the attempts and the clockwork.

    Attributes:
        ask: Asks an actor: how an attempt reaches its agent.
        ask_at: Asks the agents of one node.
        report: Writes to the event log.
        herald: Tells others.
        letters: The dead.
        figures: Measures.
        audience: Who watches tasks through the leader.
        pump: Rung when something may start.
        ticker: Rung when something is due earlier than thought.
        scopes: Running attempts, to be cancelled.
        ending: Tasks whose end is on its way into the log.
    """

    bus: Bus
    clock: Clock
    rng: random.Random
    journal: Journal
    ledger: Ledger
    policy: Policy
    node: str
    ask: Callable[..., Awaitable[Any]]
    ask_at: Callable[..., Awaitable[Any]]
    spawn: Callable[..., None]
    report: Callable[..., None]
    pump: Alarm
    ticker: Alarm
    herald: Herald
    audience: Audience
    figures: Figures
    letters: Letters
    lanes: Lanes = field(default_factory=Lanes)
    scopes: dict[str, anyio.CancelScope] = field(default_factory=dict[str, anyio.CancelScope])
    waiters: dict[str, list[anyio.Event]] = field(default_factory=dict[str, list[anyio.Event]])
    ending: dict[str, Group] = field(default_factory=dict[str, Group])
    disk_free: int | None = None
    store_free: int | None = None
    history_lag: int | None = None

    def record(self, entry: Entry, then: Callable[[], None] | None = None) -> Group:
        """Make ``entry`` so, here and now; ``then`` is called when it is stored."""
        packed = pack(entry)
        self.journal.check(packed)
        self.ledger.apply(entry)
        return self.journal.write(packed, then)

    def move(self, task: Task, status: Status) -> Group:
        """Give a task another status. When a final one is stored, whoever waits for it is told."""
        final = states.is_final(status.state)
        packed = pack(Moved(task.spec.id, status))
        self.ledger.move(task, status)
        if final:
            group = self.ending[task.spec.id] = self.journal.write(packed, lambda: self._ended(task, status))
            return group
        if status.state == "scheduled" and status.tries and status.tries[-1].number == status.attempt:
            return self.journal.write(packed, lambda: self._retrying(task, status))
        if status.state == "running":
            return self.journal.write(packed, lambda: self._started(task, status))
        return self.journal.write(packed)

    def lose(self, task: Task, why: str, *, event: str = "task-lost") -> None:
        """Nobody knows what becomes of the running attempt: again, uncounted, unless that happens too often."""
        spec = task.spec
        wait = backoff_s(spec, task.status.losses + 1, self.rng)
        self.move(task, states.lost(task.status, self.clock.time(), why, wait_s=wait))
        self.report(event, f"{spec.id}: {why}", level="warning", agent=spec.agent, attempt=task.status.attempt)
        self.ticker.ring()

    def control(self, control: Control) -> Group:
        """Pause, resume, drain, limit."""
        group = self.record(control)
        self.lanes.govern(control, self.clock.monotonic())
        self.pump.ring()
        return group

    def stop_attempt(self, task_id: str) -> None:
        """Nobody wants the running attempt's answer any more."""
        scope = self.scopes.get(task_id)
        if scope is not None:
            scope.cancel()

    def live(self, verb: str, fact: Fact) -> None:
        """State a fact to whoever listens."""
        self.herald.tell(f"{LIVE}.{verb}", fact)
        self.audience.tell(fact)

    async def settled(self, task_id: str) -> None:
        """Wait until the end of a task that has one is stored: before, nobody may be told of it.

        Raises:
            RestartingError: If it never will be.
        """
        while (group := self.ending.get(task_id)) is not None:
            await group.wait()

    async def ended(self, task_id: str, timeout_s: float) -> None:
        """Wait until a task is final, or the time is over, or too many wait."""
        if len(self.waiters) >= self.policy.waiters:
            return
        event = anyio.Event()
        self.waiters.setdefault(task_id, []).append(event)
        timer = self.clock.call_later(timeout_s, event.set)
        try:
            await event.wait()
        finally:
            timer.cancel()
            waiting = self.waiters.get(task_id, [])
            if event in waiting:
                waiting.remove(event)
            if not waiting:
                self.waiters.pop(task_id, None)

    def _started(self, task: Task, status: Status) -> None:
        spec = task.spec
        self.live("started", TaskStarted(id=spec.id, agent=spec.agent, attempt=status.attempt, at=status.since))

    def _retrying(self, task: Task, status: Status) -> None:
        last = status.tries[-1]
        self.figures.retried(task.spec.agent, last.outcome)
        reason = f"{last.outcome}: {last.detail}" if last.detail else last.outcome
        self.live("retrying", TaskRetrying(
            id=task.spec.id, agent=task.spec.agent, attempt=last.number, at=status.since, due_at=status.due,
            reason=reason,
        ))  # fmt: skip

    def _ended(self, task: Task, status: Status) -> None:
        self.figures.finished(task.spec.agent, status.state)
        self.ending.pop(task.spec.id, None)
        self.ledger.trim()
        for event in self.waiters.pop(task.spec.id, ()):
            event.set()
        state: Any = status.state
        fact = TaskEnded(
            id=task.spec.id, agent=task.spec.agent, state=state, attempt=status.attempt, at=status.since,
            reason=status.reason,
        )  # fmt: skip
        self.live("ended", fact)
        if task.spec.callback:
            output = msgspec.msgpack.decode(status.output) if status.output else None
            self.herald.tell(task.spec.callback, msgspec.structs.replace(fact, output=output))
        if status.state == "dead":
            self.letters.write(task.spec, status)
            self.report("task-dead", f"{task.spec.id}: {status.reason}", level="warning", agent=task.spec.agent)
