"""The life of an actor: its start and its stop, what it watches, and what ends with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from chimera import ChildSpec, Ref, Request, System, handles
from chimera.bus import Handler, MemoryBus, MemoryHub, Subscription
from chimera.errors import BusDownError, ConflictError, CrashedError, NotRunningError, UnavailableError
from chimera.testing import EventRecorder, ManualClock, settle
from tests.support.probe import Board, Breaker, Echo, Hold, Note, Probe

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


class Stubborn(Probe):
    """Its turns ignore being cancelled until the gate opens; its on_stop hangs."""

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - the contract's
        """Hang."""
        await anyio.sleep_forever()

    @handles
    async def hold(self, message: Hold) -> str:
        """Wait, whatever happens."""
        self.board.note(f"begin {message.name}")
        with anyio.CancelScope(shield=True):
            await self.board.gate.wait()
        return message.name


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


async def test_a_watcher_is_told_under_the_address_it_watched(system: System):
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


async def _fail_inside(board: Board) -> None:
    async with System() as system:
        await system.spawn(Probe, board=board)
        raise ConflictError


class Deaf(MemoryBus):
    """A bus that takes no subscription."""

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:  # noqa: ARG002 - the contract's
        """Refuse."""
        raise BusDownError("deaf")


async def test_failures_around_a_system_come_out_as_they_are():
    """Neither an entry that fails nor the caller's own error is wrapped into a group; nothing is left running."""
    with pytest.raises(BusDownError, match="deaf"):
        async with System(Deaf(MemoryHub(), name="x"), node="x"):
            raise AssertionError("not reached")
    board = Board()
    with pytest.raises(ConflictError):
        await _fail_inside(board)
    assert board.log == ["stop node"]
