"""A running actor: its mailbox, its turns, and the same address across restarts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import anyio

from subjects import Message

from .actor import Actor, HandlerSpec
from .context import Context
from .errors import (
    ChimeraError,
    CrashedError,
    CycleError,
    NotRunningError,
    OverloadedError,
    UnavailableError,
    flatten,
)
from .turn import Turn, current_turn

if TYPE_CHECKING:
    from .ref import Ref
    from .system import System


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

    A task exists only while there is something to do: an idle actor is a few hundred bytes.
    """

    __slots__ = (
        "_actor", "_backgrounds", "_exit", "_idle", "_make", "_queue", "_turn_s", "active", "address", "cause",
        "crashes", "exposed", "key", "kind", "refused", "remote_watched", "restarts", "shed", "state", "system",
        "turns", "verbs", "watchers",
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
        self.active = self.restarts = self.refused = self.shed = self.crashes = 0
        self.cause = ""
        self.remote_watched = False
        self.watchers: set[Cell] | None = None
        self.verbs: dict[str, VerbStatistics] = {}
        self.turns: set[Turn] = set()
        self._make = make
        self._actor: Actor | None = None
        self._queue: deque[Turn] | None = None
        self._backgrounds: set[anyio.CancelScope] | None = None
        self._exit: Callable[[BaseException | None], None] | None = None
        self._idle: asyncio.Event | None = None
        self._turn_s = 0.001

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self, on_exit: Callable[[BaseException | None], None]) -> None:
        """Make a fresh instance, run ``on_start``, then take up the mailbox."""
        self._exit = on_exit
        actor = self._make()
        actor.ctx = Context(self)
        self._actor = actor
        if type(actor).on_start is not Actor.on_start:
            await actor.on_start()
        self.state = State.RUNNING
        self._take_up()

    async def restart(self, on_exit: Callable[[BaseException | None], None]) -> None:
        """A new instance behind the same mailbox and address. Turns of the old one run out beside it."""
        self.restarts += 1
        await self.start(on_exit)

    async def retire_instance(self, reason: str, timeout_s: float) -> None:
        """Stop the present instance's background work and run its ``on_stop``; the mailbox stays."""
        actor, self._actor = self._actor, None
        for scope in self._backgrounds or ():
            scope.cancel()
        if actor is None or type(actor).on_stop is Actor.on_stop:
            return
        with anyio.move_on_after(timeout_s, shield=True):
            try:
                await actor.on_stop(reason)
            except Exception as error:  # noqa: BLE001 - stopping goes on whatever a hook does
                self.system.emit("actor-stop-failed", self.kind, flatten(error), level="warning", actor=self.address)

    def suspend(self) -> None:
        """Take no more messages up until the next ``restart``; they wait in the mailbox."""
        if self.state in (State.STARTING, State.RUNNING):
            self.state = State.RESTARTING

    async def stop(self, reason: str, timeout_s: float) -> None:
        """Take nothing new, finish what waits within ``timeout_s``, then end."""
        if self.state is State.STOPPED:
            return
        was_running, self.state = self.state is State.RUNNING, State.DRAINING
        if was_running and (self.active or self._queue):
            self._idle = asyncio.Event()
            with anyio.move_on_after(timeout_s, shield=True):
                await self._idle.wait()
        await self.end(reason, timeout_s)

    async def end(self, reason: str, timeout_s: float = 1.0) -> None:
        """End now: running turns are cancelled, waiting ones answered ``not-running``, watchers told."""
        self.state = State.STOPPED
        for turn in list(self.turns):
            turn.abort(UnavailableError(f"{self.address} was stopped while it worked on this"))
        await self.retire_instance(reason, timeout_s)
        for turn in self._queue or ():
            turn.abort(NotRunningError(f"{self.address} was stopped before it took this up"))
        self._queue = None
        self.system.cell_ended(self, reason)

    def fail(self, error: BaseException) -> None:
        """The instance crashed: stop taking messages up and let the supervisor decide."""
        if self.state is not State.RUNNING or self._exit is None:
            return
        self.state = State.RESTARTING
        self.crashes += 1
        self.cause = flatten(error)
        self.system.emit("actor-crashed", self.kind, self.cause, level="error", error=error, actor=self.address)
        self._exit(error)

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
        kind = self.kind
        if self.state in (State.DRAINING, State.STOPPED):
            raise NotRunningError(f"{self.address} has stopped")
        if turn.chain and kind.concurrency == 1 and not turn.spec.interleave and self.address in turn.chain:
            raise CycleError(" -> ".join([*turn.chain, self.address]))
        queue = self._queue
        if queue is None:
            queue = self._queue = deque()
        if len(queue) >= kind.mailbox:
            self._refuse()
        turn.cell = self
        if turn.spec.interleave and self.state is State.RUNNING:
            if len(self.turns) >= kind.mailbox + kind.concurrency:
                self._refuse()
            self.system.start_soon(self._interleaved, turn)
            return
        queue.append(turn)
        if self.active < kind.concurrency and self.state is State.RUNNING:
            self.active += 1
            self.system.start_soon(self._drain)

    def _refuse(self) -> None:
        self.refused += 1
        waiting = len(self._queue or ())
        after = max(0.01, round(waiting * self._turn_s / self.kind.concurrency, 3))
        raise OverloadedError(f"{self.address} has {waiting} messages waiting", retry_after_s=after)

    def statistics(self) -> CellStatistics:
        """How full it is, and counters."""
        queue = self._queue
        return CellStatistics(
            waiting=len(queue) if queue else 0, running=len(self.turns), capacity=self.kind.mailbox,
            restarts=self.restarts, refused=self.refused, shed=self.shed, crashes=self.crashes,
        )  # fmt: skip

    # -- turns --------------------------------------------------------------------------------------------------------

    def _take_up(self) -> None:
        free = self.kind.concurrency - self.active
        for _ in range(min(free, len(self._queue or ()))):
            self.active += 1
            self.system.start_soon(self._drain)

    async def _drain(self) -> None:
        try:
            queue = self._queue
            while queue and self.state in (State.RUNNING, State.DRAINING):
                turn = queue.popleft()
                if turn.stage == "queued":
                    await self._run(turn)
        finally:
            self.active -= 1
            if self._idle is not None and not self.active and not self._queue:
                self._idle.set()

    async def _interleaved(self, turn: Turn) -> None:
        if turn.stage == "queued":
            await self._run(turn)

    async def _run(self, turn: Turn) -> None:
        clock = self.system.clock
        if turn.deadline is not None and clock.monotonic() >= turn.deadline:
            self.shed += 1
            turn.expire()
            return
        turn.stage = "running"
        turn.task = asyncio.current_task()
        self.turns.add(turn)
        current_turn.set(turn)
        started = time.perf_counter()
        try:
            await self._handle(turn)
        finally:
            self.turns.discard(turn)
            if turn.sink is not None and turn.deadline is not None:
                self.system.deadlines.discard(turn.deadline, turn)
            self._count(turn, time.perf_counter() - started)

    async def _handle(self, turn: Turn) -> None:
        spec = turn.spec
        handler = getattr(self._actor, spec.method)
        try:
            if spec.streams:
                await self._stream(turn, handler)
                return
            result = await handler(turn.message)
        except asyncio.CancelledError:
            self._cancelled(turn)
        except ChimeraError as error:
            await self._answer_error(turn, error)
        except Exception as error:  # noqa: BLE001 - this is the supervisor's boundary: any failure is a crash
            crash = CrashedError(f"{self.address} failed in {spec.method}: {flatten(error)}")
            await self._answer_error(turn, crash)
            self.fail(error)
        else:
            await self._answer(turn, result)

    def _cancelled(self, turn: Turn) -> None:
        """Swallow a cancellation that ``Turn.abort`` asked for; pass on any other."""
        task = asyncio.current_task()
        if turn.stage == "done" and task is not None:
            task.uncancel()
            return
        turn.task = None
        turn.abort(UnavailableError(f"{self.address} was stopped while it worked on this"))
        raise asyncio.CancelledError

    async def _answer(self, turn: Turn, result: Any) -> None:
        if turn.stage == "done":
            await self._absorb_cancel()
            return
        turn.stage, turn.task = "done", None
        if turn.future is not None:
            if not turn.future.done():
                turn.future.set_result(result)
        elif turn.sink is not None:
            await turn.sink.value(result)

    async def _answer_error(self, turn: Turn, error: ChimeraError) -> None:
        if turn.stage == "done":
            await self._absorb_cancel()
            return
        turn.stage, turn.task = "done", None
        self._statistics(turn).errors += 1
        self._statistics(turn).last_error = error.detail[:200]
        if turn.future is not None:
            if not turn.future.done():
                turn.future.set_exception(error)
                turn.future.exception()
        elif turn.sink is not None:
            await turn.sink.error(error)

    async def _absorb_cancel(self) -> None:
        """Take back the cancellation of ``Turn.abort`` when the handler ended without letting it out.

        A cancellation by a scope that arrives together with it is not lost: anyio delivers its own again.
        """
        task = asyncio.current_task()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        if task is not None:
            task.uncancel()

    async def _stream(self, turn: Turn, handler: Callable[[Any], Any]) -> None:
        sink = turn.sink
        source = handler(turn.message)
        try:
            async for item in source:
                if sink is not None:
                    await sink.chunk(item)
        finally:
            with anyio.CancelScope(shield=True):
                await source.aclose()
        turn.stage, turn.task = "done", None
        if sink is not None:
            await sink.end()

    def aborted(self, turn: Turn, error: ChimeraError, *, running: bool) -> None:
        """A turn ended from outside: count it, and answer a remote asker."""
        statistics = self._statistics(turn)
        statistics.errors += 1
        statistics.last_error = error.detail[:200]
        if not running:
            self.shed += 1
        if turn.sink is not None:
            self.system.start_soon(turn.sink.error, error)

    def _statistics(self, turn: Turn) -> VerbStatistics:
        verb = turn.spec.verb
        found = self.verbs.get(verb)
        if found is None:
            found = self.verbs[verb] = VerbStatistics()
        return found

    def _count(self, turn: Turn, busy_s: float) -> None:
        found = self._statistics(turn)
        found.requests += 1
        found.busy_s += busy_s
        self._turn_s += 0.05 * (busy_s - self._turn_s)

    # -- background work and watching ----------------------------------------------------------------------------------

    def spawn(self, function: Callable[..., Any], *args: Any) -> None:
        """Run a coroutine function beside the turns until the instance ends; its failure crashes the actor."""
        self.system.start_soon(self._background, function, args)

    async def _background(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self._backgrounds is None:
            self._backgrounds = set()
        current_turn.set(None)
        with anyio.CancelScope() as scope:
            self._backgrounds.add(scope)
            try:
                await function(*args)
            except Exception as error:  # noqa: BLE001 - as in a turn: any failure is a crash
                self.fail(error)
            finally:
                self._backgrounds.discard(scope)

    def notify_down(self, ref: Ref, reason: str) -> None:
        """Tell this actor that one it watches has ended, beside its mailbox."""
        actor = self._actor
        if actor is not None and self.state is State.RUNNING:
            self.spawn(actor.on_down, ref, reason)
