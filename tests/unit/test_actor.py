"""An actor alone: its turns, and what its class may declare."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from chimera import Actor, Request, System, handles
from chimera.errors import ConflictError, CrashedError, DeadlineError
from chimera.testing import EventRecorder, ManualClock, settle
from tests.support.probe import Board, Breaker, Echo, Fail, Hold, Look, Probe, Relay

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
    async def hold(self, message: Hold) -> str:  # noqa: ARG002 - the contract's
        """End in a CancelledError that nobody asked this task for."""
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
    async def relay(self, message: Relay) -> str:  # noqa: ARG002 - the contract's
        """Ask on."""
        return await self.ctx.ref("probe").ask(Hold())


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
    ref = await system.spawn(Probe, board=Board())
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            with contextlib.suppress(ConflictError):
                await ref.ask(Fail("refuse"))
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
