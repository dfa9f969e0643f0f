"""A running actor: its mailbox, its turns, and the same address across restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from subjects import Message

from .actor import Actor, HandlerSpec
from .errors import ChimeraError, CycleError, NotRunningError, OverloadedError, UnavailableError, flatten
from .instance import Beside, Instance
from .mailbox import Mailbox
from .turn import Turn

if TYPE_CHECKING:
    from .ref import Ref
    from .system import System

ABORT_S = 1.0
"""How long the clean-up of cancelled turns is waited for before the instance is told to stop."""


class State(StrEnum):
    """Where a cell is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(slots=True)
class VerbStatistics:
    """Counters of one handler since the node started; times in seconds."""

    requests: int = 0
    errors: int = 0
    busy_s: float = 0.0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class CellStatistics:
    """How full a mailbox is, and counters."""

    waiting: int
    running: int
    capacity: int
    restarts: int
    refused: int
    shed: int
    crashes: int


class Cell:
    """One actor behind one address. Created once; restarts put a new instance into it.

    No task belongs to it while it has nothing to do: an idle actor is a few hundred bytes.
    """

    __slots__ = (
        "_changed", "_exit", "_make", "_turn_s", "address", "cause", "crashes", "exposed", "instance", "key", "kind",
        "mailbox", "refused", "remote_watched", "restarts", "shed", "state", "system", "turns", "verbs", "watchers",
    )  # fmt: skip

    def __init__(
        self, system: System, make: Callable[[], Actor], kind: type[Actor], *, key: str, exposed: bool
    ) -> None:
        self.system = system
        self.kind = kind
        self.key = key
        self.exposed = exposed
        name = f"{kind.actor_name}/{key}" if key else kind.actor_name
        self.address = f"{name}@{system.node}"
        self.state = State.STARTING
        self.restarts = self.refused = self.shed = self.crashes = 0
        self.cause = ""
        self.instance: Instance | None = None
        self.mailbox: Mailbox | None = None
        self.remote_watched = False
        self.watchers: set[tuple[Cell, Ref]] | None = None
        self.verbs: dict[str, VerbStatistics] = {}
        self.turns: set[Turn] = set()
        self._make = make
        self._exit: Callable[[BaseException | None], None] | None = None
        self._changed: asyncio.Event | None = None
        self._turn_s = 0.001

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self, on_exit: Callable[[BaseException | None], None]) -> None:
        """Make a fresh instance, run ``on_start``, then take up the mailbox.

        Raises:
            Exception: Whatever making it or ``on_start`` raises.
            NotRunningError: If it was stopped meanwhile.
        """
        self._exit = on_exit
        self.state = State.STARTING
        self.instance = instance = Instance(self, self._make())
        await instance.open()
        if self.state is not State.STARTING:  # a start that outlasted its stop: nobody else closes it now
            await instance.close("stopped", ABORT_S)
            raise NotRunningError(f"{self.address} was stopped while it started")
        self.state = State.RUNNING
        instance.begin()

    async def restart(self, on_exit: Callable[[BaseException | None], None]) -> None:
        """A new instance behind the same mailbox and address."""
        self.restarts += 1
        await self.start(on_exit)

    async def reset(self, reason: str, timeout_s: float) -> None:
        """End the present instance; messages wait in the mailbox for the next.

        Turns that run beside a crashed one run out by themselves. An instance that did not fail finishes its turns
        first, within ``timeout_s``.
        """
        if self.state in (State.DRAINING, State.STOPPED):
            return
        healthy, self.state = self.state is State.RUNNING, State.RESTARTING
        if healthy:
            await self.until(lambda: not self.turns, timeout_s)
            self._abort_turns("restarted")
        await self._retire(reason, timeout_s)

    async def stop(self, reason: str, timeout_s: float) -> None:
        """Take nothing new, finish what waits within ``timeout_s``, then end; ``on_stop`` may take as long again."""
        if self.state is State.STOPPED:
            return
        healthy, self.state = self.state is State.RUNNING, State.DRAINING
        if healthy:
            await self.until(self._is_idle, timeout_s)
        await self.end(reason, timeout_s)

    async def end(self, reason: str, timeout_s: float = 1.0) -> None:
        """End now: running turns are cancelled, waiting ones answered ``not-running``, watchers told."""
        self.state = State.STOPPED
        self._abort_turns("stopped")
        for turn in self.mailbox.empty() if self.mailbox is not None else ():
            turn.abort(NotRunningError(f"{self.address} was stopped before it took this up"))
        await self.until(lambda: not self.turns, min(timeout_s, ABORT_S))
        await self._retire(reason, timeout_s)
        self.system.cell_ended(self, reason)

    def fail(self, instance: Instance, error: BaseException) -> None:
        """An instance crashed: take no more messages up and let the supervisor decide."""
        if instance is not self.instance:
            return
        self.cause = flatten(error)
        if self.state is State.STARTING:
            instance.failure = error
            return
        if self.state not in (State.RUNNING, State.DRAINING):
            return
        self.crashes += 1
        self.system.emit("actor-crashed", self.kind, self.cause, level="error", error=error, actor=self.address)
        if self.state is State.DRAINING:
            self.state = State.STOPPED  # what still waits must not meet broken state; nobody restarts it now
            self.changed()
            return
        self.state = State.RESTARTING
        if self._exit is not None:
            self._exit(error)

    async def _retire(self, reason: str, timeout_s: float) -> None:
        instance, self.instance = self.instance, None
        if instance is not None:
            await instance.close(reason, timeout_s)

    def _abort_turns(self, verb: str) -> None:
        for turn in list(self.turns):
            turn.abort(UnavailableError(f"{self.address} was {verb} while it worked on this"))

    def _is_idle(self) -> bool:
        beside = self.instance.beside if self.instance is not None else 0
        return self.state is State.STOPPED or not (self.turns or self.mailbox or beside)

    # -- mailbox ------------------------------------------------------------------------------------------------------

    def spec_for(self, message: Message) -> HandlerSpec:
        """The handler for this message's type.

        Raises:
            NotRunningError: If the actor does not take such messages.
        """
        spec = self.kind.handlers.get(type(message))
        if spec is None:
            raise NotRunningError(f"{self.address} does not take {type(message).__name__}")
        return spec

    def put(self, turn: Turn) -> None:
        """Take a message into the mailbox.

        Raises:
            NotRunningError: If the actor has stopped.
            CycleError: If this very instance already waits for the asker.
            OverloadedError: If the mailbox is full.
        """
        kind, state, instance = self.kind, self.state, self.instance
        if state is State.DRAINING or state is State.STOPPED:
            raise NotRunningError(f"{self.address} has stopped")
        if turn.spec.interleave and state is State.RUNNING and instance is not None:
            if instance.beside >= kind.mailbox:
                self._refuse(instance.beside)
            turn.cell = self
            self.system.workers.run(Beside(instance, turn))
            return
        if turn.chain and kind.concurrency == 1 and self.address in turn.chain:
            raise CycleError(" -> ".join([*turn.chain, self.address]))
        mailbox = self.mailbox
        if mailbox is None:
            mailbox = self.mailbox = Mailbox(kind.mailbox)
        if not mailbox.put(turn):
            self._refuse(len(mailbox))
        turn.cell = self
        if state is State.RUNNING and instance is not None and instance.active < kind.concurrency:
            instance.active += 1
            self.system.workers.run(instance)

    def _refuse(self, waiting: int) -> None:
        self.refused += 1
        after = max(0.01, round(waiting * self._turn_s / self.kind.concurrency, 3))
        raise OverloadedError(f"{self.address} has {waiting} messages waiting", retry_after_s=after)

    def statistics(self) -> CellStatistics:
        """How full it is, and counters."""
        return CellStatistics(
            waiting=len(self.mailbox or ()), running=len(self.turns), capacity=self.kind.mailbox,
            restarts=self.restarts, refused=self.refused, shed=self.shed, crashes=self.crashes,
        )  # fmt: skip

    # -- turns --------------------------------------------------------------------------------------------------------

    def serves(self, instance: Instance) -> bool:
        """Whether this instance may take up the next message."""
        return self.instance is instance and (self.state is State.RUNNING or self.state is State.DRAINING)

    def finished(self, turn: Turn, busy_s: float) -> None:
        """A turn that ran is over: forget and count it."""
        self.turns.discard(turn)
        if turn.sink is not None and turn.deadline is not None:
            self.system.deadlines.discard(turn.deadline, turn)
        found = self.verbs.get(turn.spec.verb) or self._statistics(turn)
        found.requests += 1
        found.busy_s += busy_s
        self._turn_s += 0.05 * (busy_s - self._turn_s)
        if self._changed is not None:
            self._changed.set()

    def aborted(self, turn: Turn, error: ChimeraError, *, stage: str) -> None:
        """A turn ended from outside: count it, and answer an asker elsewhere."""
        self.count_error(turn, error)
        if stage != "running":
            self.shed += 1
            if stage == "queued" and self.mailbox is not None:
                self.mailbox.died()
        if turn.sink is not None:
            if turn.deadline is not None:
                self.system.deadlines.discard(turn.deadline, turn)
            self.system.start_soon(turn.sink.error, error)

    def count_error(self, turn: Turn, error: ChimeraError) -> None:
        """Note that a turn was answered with an error."""
        statistics = self._statistics(turn)
        statistics.errors += 1
        statistics.last_error = error.detail[:200]

    def _statistics(self, turn: Turn) -> VerbStatistics:
        return self.verbs.setdefault(turn.spec.verb, VerbStatistics())

    # -- waiting and watching ------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """A turn or background work ended: whoever waits in ``until`` looks again."""
        if self._changed is not None:
            self._changed.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait for ``condition``, at most ``timeout_s``, shielded from cancellation."""
        if condition():
            return
        with self.system.patience.bound(timeout_s):
            while not condition():
                event = self._changed = self._changed or asyncio.Event()
                event.clear()
                await event.wait()

    def notify_down(self, ref: Ref, reason: str) -> None:
        """Tell this actor that one it watches has ended, beside its mailbox."""
        if self.instance is not None and self.state in (State.STARTING, State.RUNNING):
            self.instance.take_down(ref, reason)
