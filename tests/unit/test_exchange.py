"""What an ask makes of the statuses that stand in place of an answer, and a stream of a reader that is gone."""

from __future__ import annotations

import anyio
import pytest

from chimera import System
from chimera.bus import Delivery, MemoryBus, MemoryHub
from chimera.deadlines import Deadlines
from chimera.errors import BadMessageError, ConnectionLostError, DeadlineError, DeniedError, NotRunningError
from chimera.exchange import FLOOD, STALL_S, RemoteAsk, RemoteStream
from chimera.ref import Ref
from chimera.testing import ManualClock, settle
from chimera.wire import pack_chunk, pack_request
from tests.support.probe import Board, Count, Probe

pytestmark = pytest.mark.anyio
TARGET = Ref(System(), "probe")


def a_stream(clock: ManualClock | None = None) -> RemoteStream:
    """The reader's end of a stream of numbers."""
    clock = clock or ManualClock()
    return RemoteStream(TARGET, int, clock, Deadlines(clock))


@pytest.mark.parametrize(
    ("status", "error"), [("503", NotRunningError), ("502", ConnectionLostError), ("403", DeniedError)]
)
async def test_a_status_becomes_its_error(status: str, error: type[Exception]):
    """For an ask and for a stream alike."""
    delivery = Delivery("_INBOX.1", b"", headers={"Status": status})
    ask, stream = RemoteAsk(TARGET, str), a_stream()
    ask.take(delivery)
    stream.take(delivery)
    with pytest.raises(error):
        await ask.future
    with pytest.raises(error):
        await anext(stream)


async def test_garbage_for_an_answer_is_an_error():
    """Not a hang."""
    ask = RemoteAsk(TARGET, str)
    ask.take(Delivery("_INBOX.1", b"\xff\xff"))
    with pytest.raises(BadMessageError):
        await ask.future


async def test_a_sender_that_disregards_the_window_is_stopped():
    """A reader's memory has a bound, whoever sends."""
    stream = a_stream()
    for number in range(2 * FLOOD):
        stream.take(Delivery("_INBOX.1", pack_chunk(number)))
    seen: list[int] = []

    async def read() -> None:
        async for item, _ in stream:
            seen.append(item)

    with pytest.raises(BadMessageError, match="without waiting"):
        await read()
    assert seen == list(range(FLOOD + 1))


async def test_a_stream_that_falls_silent_is_given_up():
    """A node that died without a word does not hold its reader for ever; each element starts the wait anew."""
    clock = ManualClock()
    stream = a_stream(clock)
    failures: list[Exception] = []

    async def read() -> None:
        try:
            async for _ in stream:
                pass
        except DeadlineError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await clock.advance(STALL_S - 1)
        stream.take(Delivery("_INBOX.1", pack_chunk(1)))
        await clock.advance(STALL_S - 1)
        assert not failures
        await clock.advance(2)
    assert "sent nothing" in str(failures[0])


async def test_a_stream_whose_reader_is_gone_ends():
    """Nobody listens for its credit: the handler is ended, not fed for ever."""
    hub, board = MemoryHub(), Board()
    async with (
        MemoryBus(hub, name="own") as own,
        MemoryBus(hub, name="far") as far,
        System(own, node="own") as system,
    ):
        await system.spawn(Probe, board=board)
        data = pack_request(Count(1_000_000), deadline=None, chain=(), trace="")
        await far.publish("chimera.probe.count", data, reply="_INBOX.nobody.1")
        await settle(200)
        assert "stream over" in board.log
        assert board.sent < 1000
        assert not system.cells["probe"].turns
