"""One meaning of asking: in one process, through the codec, over the in-memory bus and over a real server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, cast

import anyio
import pytest

from chimera import Actor, System
from chimera.errors import (
    BadMessageError,
    ConflictError,
    CrashedError,
    CycleError,
    DeadlineError,
    NotRunningError,
    OverloadedError,
    TooLargeError,
)
from chimera.testing import EventRecorder
from tests.contract.conftest import Nodes
from tests.support.probe import Board, Count, Echo, Fail, Fill, Free, Hold, Look, Note, Other, Probe, Relay
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@dataclass
class World:
    """Who asks, and who is asked; one system in the local worlds."""

    asker: System
    host: System
    board: Board
    events: EventRecorder

    @property
    def local(self) -> bool:
        """True if no bus lies between."""
        return self.asker is self.host

    async def start(self, kind: type[Actor] = Probe, key: str = "") -> None:
        """Start an actor where it is asked."""
        await self.host.spawn(kind, key=key, exposed=bool(key), board=self.board)
        if self.asker.bus is not None and self.host.bus is not None:
            await self.host.bus.flush()

    async def settled(self) -> None:
        """Nothing is left of any ask, on either side."""
        await until(lambda: not self.left())

    def left(self) -> list[Any]:
        """What is still open."""
        found: list[Any] = []
        for system in {self.asker, self.host}:
            found += [turn for cell in system.cells.values() for turn in cell.turns]
            found += [waiting for cell in system.cells.values() if (waiting := len(cell.mailbox or ()))]
            found += [open_deadlines] if (open_deadlines := len(system.deadlines)) else []
            if system.remote is not None:
                found += [*system.remote.asks, *system.remote.turns]
        return found


@pytest.fixture(params=["local", "strict", "memory", "nats"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """The four worlds."""
    events = EventRecorder()
    async with AsyncExitStack() as stack:
        if request.param in ("local", "strict"):
            system = await stack.enter_async_context(System(strict_local=request.param == "strict", events=events))
            yield World(system, system, Board(), events)
            return
        url = request.getfixturevalue("nats_server").url if request.param == "nats" else ""
        nodes = Nodes(stack, url)
        buses = [await nodes.join(), await nodes.join()]
        host = await stack.enter_async_context(System(buses[0], node="host", events=events, heartbeat_s=0.1))
        asker = await stack.enter_async_context(System(buses[1], node="asker", events=events, heartbeat_s=0.1))
        yield World(asker, host, Board(), events)


async def test_an_ask_is_answered_with_the_declared_type(world: World):
    """The reply arrives typed, on a service address, a keyed one and a node's."""
    await world.start()
    await world.start(key="one")
    for ref in (
        world.asker.ref("probe"),
        world.asker.ref("probe", key="one"),
        world.asker.ref("probe", key="one", node=world.host.node),
        world.asker.ref("probe", node=world.host.node),
    ):
        assert await ref.ask(Echo("hi")) == "hi"
    await world.settled()


async def test_nobody_there_is_known_at_once(world: World):
    """A missing actor is told without waiting for the deadline, and nothing ran."""
    for ref in (world.asker.ref("nobody"), world.asker.ref("nobody", node=world.host.node)):
        with anyio.fail_after(5), pytest.raises(NotRunningError) as caught:
            await ref.ask(Echo(), timeout_s=30)
        assert caught.value.executed == "no"
    await world.settled()


async def test_tells_arrive_in_order(world: World):
    """One sender's messages are taken up in the order they were sent."""
    await world.start(Patient)
    ref = world.asker.ref("patient")
    for number in range(50):
        await ref.tell(Note(str(number)))
    await world.board.until("49")
    assert world.board.log == [str(number) for number in range(50)]


class Patient(Probe, mailbox=1000):
    """With a large mailbox."""


async def test_a_refusal_is_the_handlers_own_error_and_the_actor_goes_on(world: World):
    """A ChimeraError crosses with detail, hint and data; no restart follows."""
    await world.start()
    ref = world.asker.ref("probe")
    with pytest.raises(ConflictError) as caught:
        await ref.ask(Fail("refuse"))
    assert (caught.value.detail, caught.value.hint, caught.value.data) == ("not now", "come later", {"why": "test"})
    assert await ref.ask(Echo()) == "hello"
    assert world.board.born == 1


@pytest.mark.parametrize("how", ["crash", "odd"])
async def test_a_crash_is_answered_and_the_next_instance_serves(world: World, how: str):
    """An unexpected exception, or an answer that can't be encoded, is ``crashed``; the address stays."""
    if how == "odd" and world.local and not world.asker.strict_local:
        pytest.skip("without a codec nothing is encoded")
    await world.start()
    ref = world.asker.ref("probe")
    with pytest.raises(CrashedError) as caught:
        await ref.ask(Fail(how))
    assert how in caught.value.detail or "ncod" in caught.value.detail
    assert await ref.ask(Echo()) == "hello"
    assert world.board.born == 2
    await world.settled()


async def test_a_full_mailbox_answers_at_once(world: World):
    """The fifth message that would wait is refused with a time to come again; the others are served."""
    await world.start()
    ref = world.asker.ref("probe")
    answers: list[str] = []

    async def ask(number: int) -> None:
        answers.append(await ref.ask(Echo(str(number))))

    async with anyio.create_task_group() as group:
        group.start_soon(ref.ask, Hold())
        await world.board.until("begin held")
        for number in range(4):
            group.start_soon(ask, number)
        await waiting(world, 4)
        with pytest.raises(OverloadedError) as caught:
            await ref.ask(Echo("five"), timeout_s=30)
        assert caught.value.retry_after_s is not None
        assert caught.value.retry_after_s > 0
        assert caught.value.executed == "no"
        assert await ref.ask(Look()) == 1, "a reader that runs beside is not refused"
        world.board.gate.set()
    assert sorted(answers) == ["0", "1", "2", "3"]
    await world.settled()


async def waiting(world: World, number: int) -> None:
    """Wait until so many wait in the probe's mailbox."""
    cell = world.host.cells["probe"]
    await until(lambda: cell.statistics().waiting >= number)


async def test_a_deadline_tells_where_the_message_was(world: World):
    """``running`` cancels the handler and may have had effects; ``queued`` never ran."""
    await world.start()
    ref = world.asker.ref("probe")
    errors: dict[str, DeadlineError] = {}

    async def ask(message: Any, timeout_s: float) -> None:
        with pytest.raises(DeadlineError) as caught:
            await ref.ask(message, timeout_s=timeout_s)
        errors[type(message).__name__] = caught.value

    async with anyio.create_task_group() as group:
        group.start_soon(ask, Hold(), 3.0)
        await world.board.until("begin held")
        group.start_soon(ask, Echo("late"), 1.0)
    assert (errors["Hold"].data or {})["stage"] == "running"
    assert errors["Hold"].executed == "maybe"
    assert (errors["Echo"].data or {})["stage"] == "queued"
    assert errors["Echo"].executed == "no"
    await world.board.until("cancelled held")
    assert await ref.ask(Echo("after")) == "after"
    assert "echo late" not in world.board.log
    await world.settled()


async def test_a_caller_that_goes_away_takes_its_turns_along(world: World):
    """Cancelling the asker cancels the running handler and sheds the waiting message."""
    await world.start()
    ref = world.asker.ref("probe")
    async with anyio.create_task_group() as group:
        group.start_soon(ref.ask, Hold())
        await world.board.until("begin held")
        group.start_soon(ref.ask, Echo("never"))
        await waiting(world, 1)
        group.cancel_scope.cancel()
    await world.board.until("cancelled held")
    await world.settled()
    assert await ref.ask(Echo("after")) == "after"
    assert "echo never" not in world.board.log


async def test_a_cycle_is_answered_not_waited_for(world: World):
    """A -> B -> A is refused at once, whatever lies between them."""
    await world.start()
    await world.asker.spawn(Other, board=world.board)
    await world.host.bus.flush() if world.host.bus else None
    with anyio.fail_after(5), pytest.raises(CycleError) as caught:
        await world.asker.ref("probe").ask(Relay(["other", "probe"]), timeout_s=30)
    assert "probe" in caught.value.detail
    assert await world.asker.ref("probe").ask(Relay(["other"])) == world.asker.node
    await world.settled()


async def test_a_stream_gives_everything_to_a_slow_reader(world: World):
    """A thousand elements arrive in order; the handler is never far ahead of its reader."""
    await world.start()
    seen: list[int] = []
    lead = 0
    async for number in world.asker.ref("probe").stream(Count(1000)):
        seen.append(number)
        lead = max(lead, world.board.sent - len(seen))
        if number % 10 == 0:
            await anyio.lowlevel.checkpoint()
    assert seen == list(range(1000))
    assert lead <= 130, "two windows"
    await world.settled()


async def read(world: World, message: Count, seen: list[int], timeout_s: float | None = None) -> None:
    """Read a stream to its end, giving way to others after each element."""
    async for number in world.asker.ref("probe").stream(message, timeout_s=timeout_s):
        seen.append(number)
        await anyio.lowlevel.checkpoint()


async def test_a_stream_that_fails_gives_what_came_before(world: World):
    """The reader sees the elements, then the error."""
    await world.start()
    seen: list[int] = []
    with pytest.raises(ConflictError):
        await read(world, Count(100, fail_at=7), seen)
    assert seen == list(range(7))
    await world.settled()


async def test_closing_a_stream_ends_its_handler(world: World):
    """A reader that leaves early ends the handler; the actor is free."""
    await world.start()
    stream = cast("AsyncGenerator[int]", world.asker.ref("probe").stream(Count(1_000_000)))
    assert await anext(stream) == 0
    await stream.aclose()
    await world.board.until("stream over")
    assert await world.asker.ref("probe").ask(Echo()) == "hello"
    assert world.board.sent < 1000
    await world.settled()


async def test_a_stream_has_the_deadline_it_is_given(world: World):
    """The whole stream is bounded by ``timeout_s``."""
    await world.start()
    with pytest.raises(DeadlineError):
        await read(world, Count(1_000_000_000), [], timeout_s=1.0)
    await world.board.until("stream over")
    await world.settled()


async def test_asking_a_streaming_handler_says_what_to_do(world: World):
    """``ask`` is the wrong verb for it, and says so; no turn stays behind."""
    await world.start()
    with pytest.raises(BadMessageError, match="stream"):
        await world.asker.ref("probe").ask(Count(1000), timeout_s=60)
    await world.settled()


async def test_a_stream_of_one(world: World):
    """A handler that answers once can be streamed from."""
    await world.start()
    assert [item async for item in world.asker.ref("probe").stream(Echo("x"))] == ["x"]
    await world.settled()


async def test_nesting_is_bounded(world: World):
    """A free-form field deeper than 32 levels is refused over any wire; one within the limit passes."""
    await world.start()
    if world.local:
        pytest.skip("nothing is decoded from outside")
    flat: dict[str, Any] = {str(number): {} for number in range(100)}
    assert await world.asker.ref("probe").ask(Free(flat)) == flat
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"x": deep}
    with pytest.raises(BadMessageError, match="deeper"):
        await world.asker.ref("probe").ask(Free(deep))


async def test_an_answer_that_is_too_large_is_an_error(world: World):
    """The handler ran, its answer does not fit: ``too-large``, and it may have had effects."""
    await world.start()
    if world.local:
        assert len(await world.asker.ref("probe").ask(Fill(2 << 20))) == 2 << 20
        return
    with pytest.raises(TooLargeError) as caught:
        await world.asker.ref("probe").ask(Fill(2 << 20))
    assert caught.value.executed == "maybe"
    assert await world.asker.ref("probe").ask(Echo()) == "hello"
    await world.settled()


async def test_stopping_the_system_answers_who_waits(world: World):
    """Waiting messages are finished within the bound; new ones find nobody."""
    await world.start()
    ref = world.asker.ref("probe")
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await ref.ask(Hold()))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await world.board.until("begin held")
        group.start_soon(world.host.supervisor.remove, "probe-1")
        await draining(world)
        with pytest.raises(NotRunningError):
            await ref.ask(Echo())
        world.board.gate.set()
    assert answers == ["held"]
    assert world.board.log[-1] == "stop stopped"
    await world.settled()


async def draining(world: World) -> None:
    """Wait until the probe takes nothing new."""
    await until(lambda: "probe" not in world.host.cells or world.host.cells["probe"].state == "draining")


@pytest.mark.parametrize("scenario", ["hold", "echo", "stream", "relay"])
async def test_cancelling_at_any_step_leaves_nothing_behind(world: World, scenario: str):
    """The caller is cancelled after 0, 1, 2 … steps of the loop; each time everything is free again."""
    await world.start(Patient)
    await world.host.spawn(Other, board=world.board)
    ref = world.asker.ref("patient")

    async def call() -> None:
        match scenario:
            case "hold":
                await ref.ask(Hold(), timeout_s=20)
            case "echo":
                await ref.ask(Echo(), timeout_s=20)
            case "relay":
                await ref.ask(Relay(["other"]), timeout_s=20)
            case _:
                async for _ in ref.stream(Count(200), timeout_s=20):
                    await anyio.lowlevel.checkpoint()

    for step in range(25):
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            for _ in range(step):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await world.settled()
        assert await ref.ask(Echo(f"after {step}")) == f"after {step}"
    await world.settled()
    assert world.board.born == 2, "no step crashed an actor"
