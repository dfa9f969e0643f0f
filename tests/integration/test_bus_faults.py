"""NatsBus against a server that is killed, hung, or refuses. Every test fails without the guard it names."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from chimera.bus import Bus, Claim, Delivery, KeyEntry, StreamSpec
from chimera.bus.nats import NatsBus
from chimera.errors import BusDownError, ChimeraError, ConnectionLostError, DeadlineError, DeniedError
from tests.support.nats_server import NatsServer
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

USERS = """
authorization { users: [
  {user: limited, password: secret, permissions: {publish: ["ok.>", "_INBOX.>"], subscribe: ["_INBOX.>", "ok.>"]}}
  {user: deaf, password: secret, permissions: {publish: ">", subscribe: ["_INBOX_deaf.>"]}}
] }
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server of this test's own."""
    server = NatsServer(tmp_path / "one")
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[NatsBus]:
    """A bus on it."""
    async with NatsBus(server.url, name="test") as bus:
        yield bus


@pytest.fixture
def run() -> Callable[..., Any]:
    """Runs a blocking step of a server in a thread."""
    return anyio.to_thread.run_sync


async def restart(server: NatsServer, bus: NatsBus, down_s: float = 0.2) -> None:
    """Kill the server as a crash would, and start it again."""
    await anyio.to_thread.run_sync(server.kill)
    await until(lambda: bus.statistics().state == "disconnected")
    await anyio.sleep(down_s)
    await anyio.to_thread.run_sync(server.start)


async def test_requests_in_flight_fail_when_the_connection_is_lost(server: NatsServer, bus: NatsBus):
    """A caller learns of a lost connection at once, not at its deadline; the error says that it may have run."""
    await bus.subscribe("silent", lambda _: None)
    got: list[Delivery] = []
    await bus.publish("silent", b"", reply=bus.open_reply(got.append))
    errors: list[ChimeraError] = []

    async def ask() -> None:
        try:
            await bus.request("silent", b"", timeout_s=60)
        except ChimeraError as error:
            errors.append(error)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
            await until(lambda: bus.statistics().pending == 3)
            await anyio.to_thread.run_sync(server.kill)
    assert [(type(error), error.executed) for error in errors] == [(ConnectionLostError, "maybe")] * 3
    assert got[0].headers is not None
    assert got[0].headers["Status"] == "502"
    with pytest.raises(BusDownError) as caught:
        await bus.publish("silent", b"")
    assert caught.value.executed == "no"


async def test_back_after_a_crash_with_all_subscriptions(server: NatsServer, bus: NatsBus):
    """After kill -9 and a restart the same bus, subscription and reply inbox work, and listeners heard both."""
    states: list[str] = []
    got: list[bytes] = []
    bus.on_state(states.append)
    await bus.subscribe("hello", lambda delivery: got.append(delivery.data))
    for number in range(2):
        await restart(server, bus)
        await until(lambda: bus.statistics().state == "connected")
        await bus.publish("hello", b"%d" % number)
        await until(lambda number=number: len(got) > number)
    assert got == [b"0", b"1"]
    assert states == ["disconnected", "connected"] * 2
    assert bus.statistics().reconnects == 2


async def test_hung_server_is_left_with_unsent_data(server: NatsServer, tmp_path: Path):
    """A stopped server with megabytes unsent is left for another one (stock nats-py never does)."""
    other = NatsServer(tmp_path / "other")
    await anyio.to_thread.run_sync(other.start)
    try:
        async with NatsBus([server.url, other.url], name="test") as bus:
            servers = {one.url: one for one in (server, other)}
            hung = servers[bus.statistics().url]
            hung.pause()
            began = time.monotonic()
            with contextlib.suppress(BusDownError):
                for _ in range(200):
                    await bus.publish("x", b"z" * 100_000)
            await until(lambda: bus.statistics().url not in {"", hung.url}, 20)
            took = time.monotonic() - began
            hung.resume()
            assert bus.statistics().rebuilt == 1
            assert took < 15  # 6 s on an idle machine; the stock client is still there after 25
    finally:
        other.kill()


async def test_publishing_tasks_can_be_cancelled_under_back_pressure(server: NatsServer, bus: NatsBus):
    """Tasks stuck in publishing to a hung server end when they are cancelled (stock nats-py swallows it)."""

    async def flood() -> None:
        while True:
            await bus.publish("x", b"z" * 100_000)

    server.pause()
    try:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(flood()) for _ in range(16)]
        await anyio.sleep(0.5)
        for task in tasks:
            task.cancel()
        done, pending = await asyncio.wait(tasks, timeout=1.0)
        assert not pending
        assert all(task.cancelled() or isinstance(task.exception(), BusDownError) for task in done)
    finally:
        server.resume()


async def test_closed_for_good_is_rebuilt(bus: NatsBus):
    """A connection the server closes with ``-ERR`` is replaced, and subscriptions come with it."""
    got: list[bytes] = []
    await bus.subscribe("hello", lambda delivery: got.append(delivery.data))
    client = bus.client
    assert client is not None
    await client.publish("a." + "x" * 5000, b"")  # past our own checks, as a stranger's bug would be
    await until(lambda: bus.client is not None and bus.client is not client)
    await bus.publish("hello", b"again")
    await until(lambda: got)
    assert bus.statistics().rebuilt == 1


async def test_late_pong_does_not_deafen(server: NatsServer, bus: NatsBus):
    """A flush given up before its answer leaves the connection alive (a late pong ends nats-py's read loop)."""
    got: list[bytes] = []
    await bus.subscribe("hello", lambda delivery: got.append(delivery.data))
    client = bus.client
    server.pause()
    try:
        with pytest.raises(DeadlineError):
            await bus.flush(timeout_s=0.1)
    finally:
        server.resume()
    await bus.flush(timeout_s=5)
    await bus.publish("hello", b"x")
    await until(lambda: got)
    assert bus.client is client


async def test_close_is_bounded_when_the_server_hangs(server: NatsServer):
    """Leaving the bus ends in seconds although nothing can be flushed."""
    with anyio.fail_after(15):
        async with NatsBus(server.url, name="test") as bus:
            await bus.subscribe("hello", lambda _: None)
            server.pause()
            await bus.publish("x", b"z" * 1_000_000)
    server.resume()
    assert bus.statistics().state == "closed"


async def test_leaving_a_queue_group_loses_nothing(server: NatsServer):
    """A member that leaves takes no messages with it: it stops intake first, then handles what has arrived."""
    got: set[int] = set()
    sent = 0

    def take(delivery: Delivery) -> None:
        got.add(int(delivery.data))

    async with NatsBus(server.url, name="sender") as sender, NatsBus(server.url, name="stays") as stays:
        await stays.subscribe("hello", take, queue="workers")
        await stays.flush()

        async def send() -> None:
            nonlocal sent
            while True:
                await sender.publish("hello", b"%d" % sent)
                sent += 1

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            for _ in range(10):
                async with NatsBus(server.url, name="leaves") as leaves:
                    await leaves.subscribe("hello", take, queue="workers")
                    await anyio.sleep(0.02)
            group.cancel_scope.cancel()
        await sender.flush()
        await until(lambda: len(got) == sent, 10)


async def test_a_flood_arrives_whole_and_in_order(bus: NatsBus):
    """Nothing between socket and handler can overflow; messages cut by reads are put together."""
    got: list[bytes] = []
    await bus.subscribe("hello", lambda delivery: got.append(delivery.data))
    sent = [bytes([number % 251]) * (number % 3000) for number in range(5000)]
    for data in sent:
        await bus.publish("hello", data)
    await bus.flush()
    await until(lambda: len(got) == len(sent))
    assert got == sent
    assert bus.statistics().dropped == 0


async def test_first_connect_has_a_deadline(tmp_path: Path):
    """No server: an error that names the address, soon."""
    nobody = NatsServer(tmp_path)
    with anyio.fail_after(10), pytest.raises(BusDownError, match=str(nobody.port)):
        async with NatsBus(nobody.url, name="test", connect_timeout_s=0.5):
            pass


async def test_permissions_are_told_at_once(tmp_path: Path):
    """What the role may not publish fails its request at once; a role that can't hear its inbox does not start."""
    server = NatsServer(tmp_path, USERS)
    await anyio.to_thread.run_sync(server.start)
    try:
        limited = server.url.replace("://", "://limited:secret@")
        async with NatsBus(limited, name="test") as bus:
            got: list[Delivery] = []
            reply = bus.open_reply(got.append, "Secret.Open")
            with anyio.fail_after(10):
                with pytest.raises(DeniedError, match=r"Secret\.Thing"):
                    await bus.request("Secret.Thing", b"", timeout_s=60)
                await bus.publish("Secret.Open", b"", reply=reply)
                await until(lambda: got)
            assert got[0].headers is not None
            assert got[0].headers["Status"] == "403"
            assert bus.statistics().state == "connected"
        deaf = server.url.replace("://", "://deaf:secret@")
        with pytest.raises(DeniedError, match="inbox"):
            await NatsBus(deaf, name="test").__aenter__()
        async with NatsBus(deaf, name="test", inbox_prefix="_INBOX_deaf") as bus:
            assert bus.inbox.startswith("_INBOX_deaf.")
        with anyio.fail_after(5), pytest.raises(BusDownError, match="credentials"):
            await NatsBus(server.url, name="test", connect_timeout_s=60).__aenter__()
    finally:
        server.kill()


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


def test_contract_is_met():
    """The type checker holds NatsBus to the protocol."""
    bus: Bus = NatsBus("nats://127.0.0.1:1", name="x")
    assert bus.max_payload == 1024 * 1024
