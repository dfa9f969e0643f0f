"""An actor alone: its turns, its life, and what its class may declare."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from chimera import Actor, ChildSpec, Ref, Request, System, handles
from chimera.bus import Handler, MemoryBus, MemoryHub, Subscription
from chimera.errors import BusDownError, ConflictError, CrashedError, DeadlineError, NotRunningError, UnavailableError
from chimera.testing import EventRecorder, ManualClock, settle
from tests.support.probe import Board, Echo, Fail, Hold, Look, Note, Probe, Relay

pytestmark = pytest.mark.anyio


@pytest.fixture
async def clock() -> ManualClock:
    """Time stands still until moved."""
    return ManualClock()


@pytest.fixture
async def events() -> EventRecorder:
    """What the system reports."""
    return EventRecorder()


@pytest.fixture
async def system(clock: ManualClock, events: EventRecorder) -> AsyncIterator[System]:
    """A system on that clock."""
    async with System(clock=clock, events=events) as running:
        yield running


class Pool(Probe, concurrency=3):
    """Three at once."""


class Stubborn(Probe):
    """Its turns ignore being cancelled until the gate opens; its on_stop hangs."""

    async def on_stop(self, reason: str) -> None:
        """Hang."""
        await anyio.sleep_forever()

    @handles
    async def hold(self, message: Hold) -> str:
        """Wait, whatever happens."""
        self.board.note(f"begin {message.name}")
        with anyio.CancelScope(shield=True):
            await self.board.gate.wait()
        return message.name


class Swallower(Probe):
    """Its handler takes a cancellation for an answer."""

    @handles
    async def hold(self, message: Hold) -> str:
        """Swallow the first cancellation."""
        self.board.note(f"begin {message.name}")
        try:
            await self.board.gate.wait()
        except BaseException:  # noqa: BLE001 - that is the fault under test
            self.board.note("swallowed")
        return "too late"


class Stray(Probe):
    """Its handler meets a future that somebody else cancelled."""

    @handles
    async def hold(self, message: Hold) -> str:
        """End in a CancelledError that nobody asked this task for."""
        import asyncio

        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        future.cancel()
        return await future


async def test_one_turn_at_a_time_and_a_pool_runs_as_many_as_it_says(system: System):
    """The second waits for the first; a pool of three begins three."""
    for kind, begun in ((Probe, 1), (Pool, 3)):
        board = Board()
        ref = await system.spawn(kind, board=board)
        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(ref.ask, Hold(str(number)))
            await settle()
            assert sum(line.startswith("begin") for line in board.log) == begun
            assert await ref.ask(Look()) == begun, "a reader runs beside them"
            board.gate.set()
        assert len([line for line in board.log if line.startswith("end")]) == 4


async def test_a_handler_that_swallows_its_cancellation_harms_nobody_else(system: System, clock: ManualClock):
    """Its late answer is dropped, and the next message is served by the same instance."""
    board = Board()
    ref = await system.spawn(Swallower, board=board)
    async with anyio.create_task_group() as group:

        async def ask() -> None:
            with pytest.raises(DeadlineError):
                await ref.ask(Hold(), timeout_s=1)

        group.start_soon(ask)
        await settle()
        await clock.advance(1.1)
    assert "swallowed" in board.log
    assert await ref.ask(Echo()) == "hello"
    assert await ref.ask(Echo()) == "hello"
    assert board.born == 1


async def test_a_stray_cancellation_is_a_crash_and_the_mailbox_goes_on(system: System, clock: ManualClock):
    """A cancelled future inside a handler ends neither the worker nor those who wait."""
    board = Board()
    ref = await system.spawn(Stray, board=board)
    with pytest.raises(CrashedError):
        await ref.ask(Hold())
    await clock.advance(1)
    assert await ref.ask(Echo()) == "hello"
    assert board.born == 2


async def test_a_shield_in_a_handler_holds_against_the_deadline(system: System, clock: ManualClock):
    """The asker is answered in time; the handler is not cut off inside its shield."""
    board = Board()
    ref = await system.spawn(Stubborn, board=board)
    async with anyio.create_task_group() as group:

        async def ask() -> None:
            with pytest.raises(DeadlineError):
                await ref.ask(Hold(), timeout_s=1)

        group.start_soon(ask)
        await settle()
        await clock.advance(1.1)
    board.gate.set()
    assert await ref.ask(Echo()) == "hello"
    system.force()


async def test_stopping_is_bounded_whatever_the_actor_does(system: System, clock: ManualClock, events: EventRecorder):
    """A turn that ignores cancellation and an on_stop that hangs cost their bounds, not more."""
    board = Board()
    child = ChildSpec("s", Stubborn, {"board": board}, shutdown_s=2.0)
    ref = await system.spawn(Stubborn, child=child)
    failures: list[UnavailableError | NotRunningError] = []

    async def ask(message: Request[Any]) -> None:
        try:
            await ref.ask(message, timeout_s=60)
        except (UnavailableError, NotRunningError) as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, Hold())
        await settle()
        group.start_soon(ask, Echo())
        await settle()
        group.start_soon(system.supervisor.remove, "s")
        await clock.advance(5.1)
        assert not system.cells
    assert [type(error) for error in failures] == [UnavailableError, NotRunningError]
    assert [error.executed for error in failures] == ["maybe", "no"]
    assert "actor-stop-failed" in events.names()
    board.gate.set()


async def test_force_ends_all_waiting_at_once(clock: ManualClock):
    """A second Ctrl-C does not wait for hooks or turns."""
    board = Board()
    async with System(clock=clock) as system:
        ref = await system.spawn(Stubborn, board=board)
        await ref.tell(Hold())
        await settle()
        system.force()
        with anyio.fail_after(5):
            await system.stop("stopped")
        board.gate.set()


async def test_waiting_messages_are_finished_before_a_stop(system: System):
    """Draining serves what was taken in and refuses what comes after."""
    board = Board()
    ref = await system.spawn(Probe, board=board)
    async with anyio.create_task_group() as group:
        group.start_soon(ref.ask, Hold())
        await settle()
        await ref.tell(Note("last"))
        group.start_soon(system.supervisor.remove, "probe-1")
        await settle()
        with pytest.raises(NotRunningError):
            await ref.ask(Echo())
        board.gate.set()
    assert board.log == ["begin held", "end held", "last", "stop stopped"]


async def test_a_crash_while_draining_serves_nobody_from_broken_state(system: System, events: EventRecorder):
    """Those that still wait are told that they did not run, and the crash is in the log."""
    board = Board()
    ref = await system.spawn(Breaker, board=board)
    caught: list[type[Exception]] = []

    async def ask(message: Request[Any]) -> None:
        try:
            await ref.ask(message)
        except (CrashedError, NotRunningError) as error:
            caught.append(type(error))

    async with anyio.create_task_group() as group:
        group.start_soon(ask, Hold())
        await settle()
        group.start_soon(ask, Echo())
        await settle()
        group.start_soon(system.supervisor.remove, "breaker-1")
        await settle()
        board.gate.set()
    assert caught == [CrashedError, NotRunningError]
    assert "actor-crashed" in events.names()


class Breaker(Probe):
    """Breaks when the gate opens."""

    @handles
    async def hold(self, message: Hold) -> str:
        """Wait and fail."""
        await self.board.gate.wait()
        raise ValueError("broken")


async def test_a_failure_of_the_last_instance_does_not_hurt_the_next(system: System, clock: ManualClock):
    """In a pool, two turns of one instance crash one after the other: one restart."""
    board = Board()
    ref = await system.spawn(BreakerPool, board=board)

    async def ask(message: Request[Any]) -> None:
        with pytest.raises(CrashedError):
            await ref.ask(message, timeout_s=60)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, Hold())
        group.start_soon(ask, Fail("crash"))
        await settle()
        await clock.advance(1)
        assert await ref.ask(Echo()) == "hello"
        board.gate.set()
    await clock.advance(1)
    assert await ref.ask(Echo()) == "hello"
    assert board.born == 2


class BreakerPool(Breaker, concurrency=2):
    """Two at once."""


async def test_a_nested_ask_inherits_the_deadline(system: System, clock: ManualClock):
    """The inner ask ends with the outer one's time, although it would have had five seconds."""
    board = Board()
    outer = await system.spawn(Outer, board=board)
    await system.spawn(Probe, board=board)
    async with anyio.create_task_group() as group:

        async def ask() -> None:
            with pytest.raises(DeadlineError):
                await outer.ask(Relay([]), timeout_s=1)

        group.start_soon(ask)
        await settle()
        await clock.advance(1.1)
    assert "cancelled held" in board.log
    assert not system.deadlines


class Outer(Actor):
    """Asks the probe to hold."""

    def __init__(self, board: Board) -> None:
        self.board = board

    @handles
    async def relay(self, message: Relay) -> str:
        """Ask on."""
        return await self.ctx.ref("probe").ask(Hold())


class Early(Probe):
    """Watches somebody who is not there, and starts background work, in on_start."""

    fail_in_start = False

    async def on_start(self) -> None:
        """Watch and spawn."""
        await self.ctx.watch(self.ctx.ref("nobody"))
        self.ctx.spawn(self._work)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()

    async def _work(self) -> None:
        if self.board.born == 1 and self.fail_in_start:
            raise OSError("no background")
        try:
            await anyio.sleep_forever()
        finally:
            self.board.note("background over")


async def test_watching_in_on_start_works(system: System):
    """Down for somebody who is not there comes once the actor has started."""
    board = Board()
    await system.spawn(Early, board=board)
    await settle()
    assert board.downs == [("nobody", "not-running")]
    await system.supervisor.remove("early-1")
    assert board.log[-2:] == ["background over", "stop stopped"], "background work ends before on_stop"


async def test_background_work_that_fails_during_the_start_fails_the_start(system: System):
    """It is not lost because the actor was not yet running."""
    board = Board()

    class Failing(Early):
        fail_in_start = True

    with pytest.raises(OSError, match="no background"):
        await system.spawn(Failing, board=board)
    assert not system.cells
    assert board.log == ["stop start failed"], "what on_start had opened is closed"


async def test_a_watcher_is_told_under_the_address_it_watched(system: System, clock: ManualClock):
    """Stopped, and given up after crashes; a watcher that ended is forgotten."""
    board, other = Board(), Board()
    target = await system.spawn(Probe, board=other)
    await system.spawn(Watching, board=board, target=target)
    await system.supervisor.remove("probe-1")
    await settle()
    assert board.downs == [("probe", "stopped")]
    again = await system.spawn(Probe, board=other)
    await system.spawn(Watching, key="two", board=board, target=again)
    cell = system.cells["probe"]
    assert cell.watchers
    await system.supervisor.remove("watching-4")
    assert not cell.watchers


class Watching(Probe):
    """Watches a target from its start."""

    def __init__(self, board: Board, target: Ref) -> None:
        super().__init__(board)
        self.target = target

    async def on_start(self) -> None:
        """Watch."""
        await self.ctx.watch(self.target)


async def test_readers_beside_are_bounded_even_in_one_burst(system: System):
    """More than ``mailbox`` interleaved messages in one step of the loop are refused, not piled up."""
    board = Board()
    ref = await system.spawn(Probe, board=board)
    refused = 0

    async def ask() -> None:
        nonlocal refused
        try:
            await ref.ask(Look())
        except Exception:  # noqa: BLE001 - counted
            refused += 1

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ask)
    assert refused == 6


async def test_a_refusal_keeps_the_circle_of_references_open(system: System):
    """A failed ask leaves no garbage for the cycle collector."""
    import gc

    ref = await system.spawn(Probe, board=Board())
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            try:
                await ref.ask(Fail("refuse"))
            except ConflictError:
                pass
        assert gc.collect() < 10, "fewer than one object an ask"
    finally:
        gc.enable()


async def test_what_a_class_may_not_declare():
    """Mistakes in a class are told when it is made, not when it is asked."""
    with pytest.raises(TypeError, match="at least 1"):
        type("Zero", (Actor,), {}, mailbox=0)
    with pytest.raises(TypeError, match="subclass"):
        type("Odd", (Actor,), {"go": handles(_takes_text)})
    with pytest.raises(TypeError, match="async"):
        type("Sync", (Actor,), {"go": handles(_is_sync)})
    with pytest.raises(TypeError, match="one async handler"):
        type("Twice", (Actor,), {"a": handles(_takes_echo), "b": handles(_takes_echo_too)})


async def _takes_text(self: Any, message: str) -> None:
    del self, message


def _is_sync(self: Any, message: Echo) -> None:
    del self, message


async def _takes_echo(self: Any, message: Echo) -> None:
    del self, message


async def _takes_echo_too(self: Any, message: Echo) -> None:
    del self, message


class Deaf(MemoryBus):
    """A bus that takes no subscription."""

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Refuse."""
        raise BusDownError("deaf")


async def test_failures_around_a_system_come_out_as_they_are():
    """Neither an entry that fails nor the caller's own error is wrapped into a group; nothing is left running."""
    with pytest.raises(BusDownError, match="deaf"):
        async with System(Deaf(MemoryHub(), name="x"), node="x"):
            raise AssertionError("not reached")
    board = Board()
    with pytest.raises(ConflictError):
        async with System() as system:
            await system.spawn(Probe, board=board)
            raise ConflictError
    assert board.log == ["stop node"]
