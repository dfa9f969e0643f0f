"""Groups that are stored whole or not at all, last messages, and streams of last values: both buses alike."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from chimera.bus import Bus, StreamSpec
from chimera.errors import BadMessageError, FencedError, NotFoundError, UnavailableError
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stream(bus: Bus, unique: str) -> str:
    """A stream that keeps the last message of each subject ``<its name>.*``."""
    await bus.declare(StreamSpec(name=unique, subjects=(f"{unique}.>",), per_subject=1))
    return unique


async def test_a_stream_of_last_values_forgets_those_before(bus: Bus, stream: str):
    """Only the last message of each subject is kept, and compare-and-set goes on from it."""
    first = await bus.append(f"{stream}.a", b"1", msg_id="1", expected_last=0)
    await bus.append(f"{stream}.b", b"2", msg_id="2", expected_last=0)
    await bus.append(f"{stream}.a", b"3", msg_id="3", expected_last=first.seq)
    async with bus.read(stream) as messages:
        assert [(message.seq, message.data) async for message in messages] == [(2, b"2"), (3, b"3")]
    with pytest.raises(FencedError):
        await bus.append(f"{stream}.a", b"4", msg_id="4", expected_last=first.seq)


async def test_the_last_message_of_a_subject_is_told(bus: Bus, stream: str):
    """It comes with sequence, bytes, id and time; a subject without one has none, and no stream is an error."""
    assert await bus.last(stream, f"{stream}.a") is None
    await bus.append(f"{stream}.a", b"\x00one", msg_id="m1")
    await bus.append(f"{stream}.b", b"two", msg_id="m2")
    last = await bus.last(stream, f"{stream}.a")
    assert last is not None
    assert (last.seq, last.subject, last.data, last.headers["Nats-Msg-Id"]) == (1, f"{stream}.a", b"\x00one", "m1")
    assert last.time > 1_600_000_000
    with pytest.raises(NotFoundError):
        await bus.last(f"{stream}x", f"{stream}.a")


async def test_a_group_is_stored_whole(bus: Bus, stream: str):
    """Every message gets its own sequence, and each is the last of its subject."""
    before = await bus.append(f"{stream}.a", b"0", msg_id="0")
    stored = await bus.append_group(
        [(f"{stream}.a", b"1", before.seq), (f"{stream}.b", b"2", 0), (f"{stream}.c", b"3", 0)], msg_id="gang"
    )
    assert [one.seq for one in stored] == [2, 3, 4]
    for name, data, seq in (("a", b"1", 2), ("b", b"2", 3), ("c", b"3", 4)):
        last = await bus.last(stream, f"{stream}.{name}")
        assert last is not None
        assert (last.data, last.seq) == (data, seq)


async def test_one_stale_sequence_refuses_the_whole_group(bus: Bus, stream: str):
    """Nothing of a group is stored if one of its subjects has moved on, wherever in the group that one stands."""
    await bus.append(f"{stream}.b", b"0", msg_id="0")
    for number, names in enumerate(("abc", "bac", "acb")):
        group = [(f"{stream}.{name}", b"new", 0) for name in names]
        with pytest.raises(FencedError):
            await bus.append_group(group, msg_id=f"gang-{number}")
    assert (await bus.stream_state(stream))[2] == 1
    assert await bus.last(stream, f"{stream}.a") is None


async def test_of_two_groups_that_meet_one_wins(nodes: Any, unique: str):
    """Groups over the same subjects in opposite order: each time one is stored whole and the other is refused."""
    one, two = await nodes.join(), await nodes.join()
    await one.declare(StreamSpec(name=unique, subjects=(f"{unique}.>",), per_subject=1))
    seqs, won = {"a": 0, "b": 0}, list[str]()

    async def write(bus: Bus, who: str, order: str, turn: int) -> None:
        try:
            group = [(f"{unique}.{name}", who.encode(), seqs[name]) for name in order]
            await bus.append_group(group, msg_id=f"{who}-{turn}")
        except FencedError:
            return
        won.append(who)

    for turn in range(20):
        won.clear()
        async with anyio.create_task_group() as group:
            group.start_soon(write, one, "one", "ab", turn)
            group.start_soon(write, two, "two", "ba", turn)
        assert len(won) == 1
        for name in "ab":
            last = await one.last(unique, f"{unique}.{name}")
            assert last is not None
            assert last.data == won[0].encode()
            seqs[name] = last.seq


async def test_a_bad_group_is_refused_before_it_is_sent(bus: Bus, stream: str):
    """No messages, no id, a bad subject, and a subject that no stream captures are told by name."""
    with pytest.raises(BadMessageError):
        await bus.append_group([], msg_id="x")
    with pytest.raises(BadMessageError):
        await bus.append_group([(f"{stream}.a", b"", 0)], msg_id="")
    with pytest.raises(BadMessageError):
        await bus.append_group([(f"{stream}.a", b"", 0), (f"{stream}.*", b"", 0)], msg_id="x")
    with pytest.raises(UnavailableError):
        await bus.append_group([(f"{stream}x.a", b"", 0), (f"{stream}x.b", b"", 0)], msg_id="x", timeout_s=0.4)
    assert (await bus.stream_state(stream))[2] == 0


async def test_the_latest_of_each_subject_and_what_comes(nodes: Any, unique: str):
    """A reader of the latest begins with one message for each subject, whatever went before, and goes on from there."""
    writer, reader = await nodes.join(), await nodes.join()
    await writer.declare(StreamSpec(name=unique, subjects=(f"{unique}.>",)))
    for number, name in enumerate("aabab"):
        await writer.append(f"{unique}.{name}", b"%d" % number, msg_id=str(number))
    got: list[bytes] = []

    async def follow() -> None:
        async with reader.read(unique, follow=True, latest=True) as messages:
            async for message in messages:
                got.append(message.data)  # noqa: PERF401 - seen from outside while it goes on

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await until(lambda: len(got) == 2)
        await writer.append(f"{unique}.a", b"5", msg_id="5")
        await until(lambda: len(got) == 3)
        group.cancel_scope.cancel()
    assert got == [b"3", b"4", b"5"]
