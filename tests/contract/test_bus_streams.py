"""Streams: the in-memory bus and JetStream keep the same contract."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from chimera.bus import Bus, Claim, StreamSpec
from chimera.errors import BadMessageError, FencedError, NotFoundError, UnavailableError
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stream(bus: Bus, unique: str) -> str:
    """A stream that captures ``<its name>.>``."""
    await bus.declare(StreamSpec(name=unique, subjects=(f"{unique}.>",)))
    return unique


async def read_all(bus: Bus, stream: str, **how: Any) -> list[tuple[int, bytes]]:
    """(sequence, data) of everything present."""
    async with bus.read(stream, **how) as messages:
        return [(message.seq, message.data) async for message in messages]


async def test_append_and_read_back(bus: Bus, stream: str):
    """What was appended is read in order, with its headers and time, from any sequence, and by subject."""
    for number in range(5):
        appended = await bus.append(f"{stream}.{number % 2}", b"%d" % number, msg_id=f"m{number}")
        assert (appended.stream, appended.seq, appended.duplicate) == (stream, number + 1, False)
    assert await read_all(bus, stream) == [(seq, b"%d" % (seq - 1)) for seq in range(1, 6)]
    assert await read_all(bus, stream, start_seq=4) == [(4, b"3"), (5, b"4")]
    assert await read_all(bus, stream, subject=f"{stream}.1") == [(2, b"1"), (4, b"3")]
    assert await read_all(bus, stream, start_seq=99) == []
    async with bus.read(stream) as messages:
        first = await anext(aiter(messages))
    assert first.headers["Nats-Msg-Id"] == "m0"
    assert first.time > 1_600_000_000
    assert await bus.stream_state(stream) == (1, 5, 5)


async def test_append_twice_is_stored_once(bus: Bus, stream: str):
    """The same id again is told as a duplicate with the first sequence, also under compare-and-set."""
    first = await bus.append(f"{stream}.a", b"x", msg_id="same", expected_last=0)
    again = await bus.append(f"{stream}.a", b"x", msg_id="same", expected_last=0)
    assert (again.seq, again.duplicate) == (first.seq, True)
    assert (await bus.stream_state(stream))[2] == 1


async def test_expected_last_fences(bus: Bus, stream: str):
    """Compare-and-set on the subject's last sequence: one writer wins, the other is told."""
    first = await bus.append(f"{stream}.a", b"1", msg_id="1", expected_last=0)
    await bus.append(f"{stream}.b", b"other subject", msg_id="2")
    with pytest.raises(FencedError):
        await bus.append(f"{stream}.a", b"2", msg_id="3", expected_last=0)
    await bus.append(f"{stream}.a", b"2", msg_id="4", expected_last=first.seq)


async def test_append_without_a_stream(bus: Bus, unique: str):
    """No stream captures the subject: ``UnavailableError`` within the deadline."""
    with pytest.raises(UnavailableError):
        await bus.append(f"{unique}.x", b"", msg_id="1", timeout_s=0.3)
    with pytest.raises(BadMessageError):
        await bus.append(f"{unique}.x", b"", msg_id="")


async def test_read_of_no_stream(bus: Bus, unique: str):
    """Reading what is not there is an error, not an empty stream."""
    with pytest.raises(NotFoundError):
        await read_all(bus, unique)
    with pytest.raises(NotFoundError):
        await bus.stream_state(unique)


async def test_append_many_stores_all_in_order_once(bus: Bus, stream: str):
    """A pipelined batch arrives complete and in order; sent again with the same ids it changes nothing."""
    batch = [(f"{stream}.x", b"%d" % number, f"id{number}") for number in range(700)]
    await bus.append_many(batch)
    await bus.append_many(batch)
    assert [int(data) for _, data in await read_all(bus, stream)] == list(range(700))


async def test_append_many_takes_a_chunk_that_is_partly_there(bus: Bus, stream: str):
    """A group of which some were stored before, in another grouping, adds exactly those that were not."""
    batch = [(f"{stream}.x", b"%d" % number, f"id{number}") for number in range(60)]
    await bus.append_many(batch[10:30])
    await bus.append_many(batch)
    stored = [int(data) for _, data in await read_all(bus, stream)]
    assert stored == [*range(10, 30), *range(10), *range(30, 60)]


async def test_declare_again_changes_the_limits(bus: Bus, unique: str):
    """Declaring is create-or-update: the same again is fine, new subjects are taken over, messages stay."""
    await bus.declare(StreamSpec(name=unique, subjects=(f"{unique}.a",), telemetry=True, max_age_s=60))
    await bus.append(f"{unique}.a", b"", msg_id="1")
    await bus.declare(StreamSpec(name=unique, subjects=(f"{unique}.a",), telemetry=True, max_age_s=60))
    await bus.declare(StreamSpec(name=unique, subjects=(f"{unique}.a", f"{unique}.b"), max_age_s=120))
    await bus.append(f"{unique}.b", b"", msg_id="2")
    assert await bus.stream_state(unique) == (1, 2, 2)


async def test_follow_goes_on(nodes: Any, unique: str):
    """A following reader gets what was there and what comes."""
    writer, reader = await nodes.join(), await nodes.join()
    await writer.declare(StreamSpec(name=unique, subjects=(f"{unique}.>",)))
    await writer.append(f"{unique}.x", b"0", msg_id="0")
    got: list[bytes] = []

    async def follow() -> None:
        async with reader.read(unique, follow=True) as messages:
            async for message in messages:
                got.append(message.data)  # noqa: PERF401 - seen from outside while it goes on

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await until(lambda: len(got) == 1)
        await writer.append(f"{unique}.x", b"1", msg_id="1")
        await until(lambda: len(got) == 2)
        group.cancel_scope.cancel()
    assert got == [b"0", b"1"]


async def test_consume_acknowledges_once(bus: Bus, stream: str):
    """Every message of a consumer is claimed, and acknowledged ones are not delivered again to the next worker."""
    for number in range(50):
        await bus.append(f"{stream}.x", b"%d" % number, msg_id=str(number))
    done: list[int] = []

    async def work(claims: list[Claim]) -> None:
        for claim in claims:
            assert claim.attempt == 1
            done.append(int(claim.message.data))
            await claim.ack()

    for _ in range(2):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: bus.consume(stream, "worker", work, batch=7))
            await until(lambda: len(done) == 50)
            await bus.flush()
            group.cancel_scope.cancel()
    assert done == list(range(50))


async def test_consume_redelivers(bus: Bus, stream: str):
    """A claim that is given back or left alone comes again, with its attempt counted; what raises ends nothing."""
    for number in range(3):
        await bus.append(f"{stream}.x", b"%d" % number, msg_id=str(number))
    attempts: dict[bytes, list[int]] = {}

    async def work(claims: list[Claim]) -> None:
        fail = False
        for claim in claims:
            data = claim.message.data
            attempts.setdefault(data, []).append(claim.attempt)
            if claim.attempt > 1 or data == b"0":
                await claim.ack()
            elif data == b"1":
                await claim.retry()
            else:
                fail = True
        if fail:
            raise RuntimeError("left alone")

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: bus.consume(stream, "worker", work, ack_wait_s=0.5))
        await until(lambda: len(attempts.get(b"1", [])) == 2 and len(attempts.get(b"2", [])) == 2)
        group.cancel_scope.cancel()
    later = attempts[b"2"].pop()  # 2, or more where this process stood still for a while
    assert attempts == {b"0": [1], b"1": [1, 2], b"2": [1]}
    assert later > 1


async def test_work_queue_forgets_what_is_done(bus: Bus, unique: str):
    """Two workers of one consumer share a work queue; what is acknowledged is gone."""
    await bus.declare(StreamSpec(name=unique, subjects=(f"{unique}.>",), retention="workqueue"))
    for number in range(40):
        await bus.append(f"{unique}.x", b"%d" % number, msg_id=str(number))
    done: list[int] = []

    async def work(claims: list[Claim]) -> None:
        for claim in claims:
            await claim.working()
            done.append(int(claim.message.data))
            await claim.ack()

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(lambda: bus.consume(unique, "worker", work, batch=3))
        await until(lambda: len(done) == 40)
        with anyio.fail_after(10):
            while (await bus.stream_state(unique))[2]:  # noqa: ASYNC110 - the server has no event for it
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    assert sorted(done) == list(range(40))


async def test_full_work_queue_refuses(bus: Bus, unique: str):
    """A work queue at its limit refuses; it never forgets an accepted task."""
    await bus.declare(StreamSpec(name=unique, subjects=(f"{unique}.>",), retention="workqueue", max_bytes=5000))
    for number in range(3):
        await bus.append(f"{unique}.x", b"x" * 1000, msg_id=str(number))
    with pytest.raises(UnavailableError):
        await bus.append(f"{unique}.x", b"x" * 4000, msg_id="one too many")
    assert (await bus.stream_state(unique))[0] == 1


async def test_a_purge_removes_what_is_below_and_appends_go_on(bus: Bus, unique: str) -> None:
    """After a purge the rest is read in order, the subject's last sequence still fences, and repeating is harmless."""
    await bus.declare(StreamSpec(unique, (f"{unique}.>",)))
    for number in range(5):
        await bus.append(f"{unique}.a", b"%d" % number, msg_id=f"{unique}-{number}")
    await bus.purge(unique, before_seq=4)
    await bus.purge(unique, before_seq=4)
    await bus.purge(unique, before_seq=0)
    async with bus.read(unique) as messages:
        assert [(message.seq, message.data) async for message in messages] == [(4, b"3"), (5, b"4")]
    assert (await bus.append(f"{unique}.a", b"5", msg_id=f"{unique}-5", expected_last=5)).seq == 6
    assert await bus.stream_state(unique) == (4, 6, 3)


async def test_a_stream_tells_what_it_keeps_and_holds(bus: Bus, unique: str):
    """Limits in force, messages, bytes and the age of the oldest, for the report on retention."""
    await bus.declare(StreamSpec(name=unique, subjects=(f"{unique}.>",), max_age_s=3600.0, max_bytes=1 << 20))
    empty = await bus.stream_holding(unique)
    assert (empty.max_age_s, empty.max_bytes, empty.replicas, empty.messages) == (3600.0, 1 << 20, 1, 0)
    assert empty.oldest_at is None
    await bus.append(f"{unique}.a", b"x" * 100, msg_id="1")
    await bus.append(f"{unique}.a", b"x" * 100, msg_id="2")
    held = await bus.stream_holding(unique)
    async with bus.read(unique) as messages:
        first = await anext(aiter(messages))
    assert (held.messages, held.bytes >= 200) == (2, True)
    assert held.oldest_at == pytest.approx(first.time, abs=0.01)


async def test_what_is_stored_can_be_told(bus: Bus, stream: str):
    """The bytes on disk grow by at least what was appended."""
    before = await bus.stored_bytes()
    await bus.append(f"{stream}.a", b"x" * 10_000, msg_id="m")
    assert await bus.stored_bytes() >= before + 10_000
