"""NatsBus against a server that is killed, hung, or refuses. Every test fails without the guard it names."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import anyio
import pytest

from chimera.bus import Bus, Delivery
from chimera.bus.nats import NatsBus
from chimera.errors import BusDownError, ChimeraError, ConnectionLostError, DeadlineError, DeniedError
from tests.support.bus_faults import restart
from tests.support.nats_server import NatsServer
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

USERS = """
authorization { users: [
  {user: limited, password: secret, permissions: {publish: ["ok.>", "_INBOX.>"], subscribe: ["_INBOX.>", "ok.>"]}}
  {user: deaf, password: secret, permissions: {publish: ">", subscribe: ["_INBOX_deaf.>"]}}
] }
"""


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


def test_contract_is_met():
    """The type checker holds NatsBus to the protocol."""
    bus: Bus = NatsBus("nats://127.0.0.1:1", name="x")
    assert bus.max_payload == 1024 * 1024
