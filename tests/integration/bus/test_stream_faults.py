"""Streams, readers, buckets and objects of NatsBus across crashes. Every test fails without the guard it names."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from chimera.bus import Claim, KeyEntry, StreamSpec
from chimera.bus.nats import NatsBus
from tests.support.bus_faults import restart
from tests.support.nats_server import NatsServer
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_append_across_a_crash_is_stored_once(server: NatsServer, bus: NatsBus):
    """Appends under way while the server crashes are acknowledged afterwards, each stored once, fenced ones too."""
    await bus.declare(StreamSpec(name="S", subjects=("s.>",)))
    acknowledged: list[int] = []

    async def append(number: int) -> None:
        expected = 0 if number % 2 else None
        result = await bus.append(f"s.{number}", b"x", msg_id=str(number), expected_last=expected, timeout_s=30)
        acknowledged.append(result.seq)

    async def flow() -> None:
        async with anyio.create_task_group() as group:
            for number in range(300):
                group.start_soon(append, number)
                await anyio.sleep(0.002)

    async with anyio.create_task_group() as group:
        group.start_soon(flow)
        await anyio.sleep(0.2)
        await restart(server, bus)
    await bus.append_many([(f"s.m{number}", b"x", f"m{number}") for number in range(300)], timeout_s=30)
    assert len(set(acknowledged)) == 300
    assert (await bus.stream_state("S"))[2] == 600


@pytest.mark.parametrize("known", [True, False])
async def test_a_group_whose_stream_was_away_is_stored_whole(server: NatsServer, bus: NatsBus, known: bool):  # noqa: FBT001 - a case
    """What was sent while no stream took it is sent again with what comes after it: the last speaks for no lost one."""
    spec = StreamSpec("AWAY", ("away.>",))
    async with NatsBus(server.url, name="other") as other:
        await (bus if known else other).declare(spec)
        await other.request("$JS.API.STREAM.DELETE.AWAY", b"")
        async with anyio.create_task_group() as group:
            group.start_soon(bus.append_many, [("away.x", b"x", f"id{number}") for number in range(5)])
            await anyio.sleep(0.3)
            await other.declare(spec)
    assert (await bus.stream_state("AWAY"))[2] == 5


@pytest.mark.parametrize("size", [5, 40])
async def test_acknowledged_groups_survive_a_crash(server: NatsServer, bus: NatsBus, size: int):
    """Groups that were acknowledged up to the moment of a crash, and across it, are in the stream, once each."""
    await bus.declare(StreamSpec("GROUPS", ("groups.>",)))
    acknowledged: list[str] = []

    async def append() -> None:
        while True:
            ids = [f"{size}-{len(acknowledged) + number}" for number in range(size)]
            await bus.append_many([("groups.x", one.encode() * 20, one) for one in ids])
            acknowledged.extend(ids)

    async with anyio.create_task_group() as group:
        group.start_soon(append)
        for _ in range(3):
            before = len(acknowledged)
            await until(lambda before=before: len(acknowledged) > before + 200)
            await restart(server, bus)
        before = len(acknowledged)
        await until(lambda: len(acknowledged) > before)
        group.cancel_scope.cancel()
    async with bus.read("GROUPS") as messages:
        stored = [(message.headers or {})["Nats-Msg-Id"] async for message in messages]
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))


async def test_consume_is_back_after_a_crash_and_a_deletion(server: NatsServer, bus: NatsBus):
    """The pull loop goes on after kill -9 and after its consumer was deleted, without waiting out a long pull."""
    await bus.declare(StreamSpec(name="S", subjects=("s",)))
    done: list[bytes] = []

    async def work(claims: list[Claim]) -> None:
        for claim in claims:
            done.append(claim.message.data)
            await claim.ack()

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: bus.consume("S", "worker", work))
        await bus.append("s", b"0", msg_id="0")
        await until(lambda: done == [b"0"])
        await restart(server, bus)
        await bus.append("s", b"1", msg_id="1", timeout_s=20)
        await until(lambda: b"1" in done, 10)
        reply = await bus.request("$JS.API.CONSUMER.DELETE.S.worker", b"")
        assert msgspec.json.decode(reply.data)["success"]
        await bus.append("s", b"2", msg_id="2")
        await until(lambda: b"2" in done, 10)
        group.cancel_scope.cancel()


async def test_following_reader_has_no_gap_after_a_crash(server: NatsServer, bus: NatsBus):
    """A reader that follows sees every message once and in order across a crash."""
    await bus.declare(StreamSpec(name="S", subjects=("s",)))
    got: list[int] = []

    async def follow() -> None:
        async with bus.read("S", follow=True) as messages:
            async for message in messages:
                got.append(message.seq)  # noqa: PERF401 - seen from outside while it goes on

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        for number in range(100):
            await bus.append("s", b"", msg_id=str(number), timeout_s=20)
            if number == 50:
                await restart(server, bus)
        await until(lambda: len(got) == 100)
        group.cancel_scope.cancel()
    assert got == list(range(1, 101))


async def test_watch_survives_a_crash_and_a_restored_bucket(server: NatsServer, bus: NatsBus):
    """Changes after kill -9 are seen soon; a bucket deleted and made again is seen with its lower revisions."""
    keys = await bus.key_value("K")
    for number in range(20):
        await keys.put("a", b"%d" % number)
    await keys.put("lost", b"x")
    seen: list[KeyEntry | None] = []

    async def watch() -> None:
        async with keys.watch() as changes:
            async for change in changes:
                seen.append(change)  # noqa: PERF401 - seen from outside while it goes on

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await until(lambda: None in seen)
        await restart(server, bus)
        await until(lambda: bus.statistics().state == "connected")
        await keys.put("a", b"after the crash")
        await until(lambda: any(entry and entry.value == b"after the crash" for entry in seen), 10)
        await bus.request("$JS.API.STREAM.DELETE.KV_K", b"")
        restored = await bus.key_value("K")
        revision = await restored.put("a", b"restored")
        assert revision == 1
        await until(lambda: KeyEntry("a", b"restored", 1) in seen and KeyEntry("lost", None, 0) in seen, 20)
        group.cancel_scope.cancel()
    assert seen.count(None) == 1


async def test_object_read_across_a_crash(server: NatsServer, bus: NatsBus):
    """An object stored before a crash is read after it; one stored during it arrives complete."""
    objects = await bus.objects("O")
    data = bytes(range(256)) * 4096
    await objects.put("one", data)
    async with anyio.create_task_group() as group:
        group.start_soon(objects.put, "two", data[::-1] * 4)
        await restart(server, bus)
    assert await objects.get("one") == data
    assert await objects.get("two") == data[::-1] * 4
