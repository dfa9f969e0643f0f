"""A real nats-server of ours: who may do what, and what happens when it dies or can't start."""

import base64
import contextlib
import os
import signal
import socket
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import msgspec
import nats as _nats
import pytest
from nats.aio.msg import Msg

from chimera.errors import BadSettingError, StartError
from chimera.server import EmbeddedServer, RoleName, ServerSettings, ensure_keys, read_context, seed_path

pytestmark = pytest.mark.anyio

nats: Any = _nats  # its annotations are partial
Client = Any
DEADLINE_S = 10.0
STRANGERS: list[RoleName] = ["runtime"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A running server on a free port."""
    embedded = EmbeddedServer(ServerSettings(tmp_path / "data", port=0))
    await embedded.start()
    try:
        yield embedded
    finally:
        await embedded.stop()


class Refusals:
    """What the server said no to, as the client library reports it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def note(self, error: Exception) -> None:
        """Take one report."""
        self.seen.append(str(error).lower())

    def of(self, kind: str, subject: str) -> bool:
        """True if a violation of that kind was reported for the subject."""
        return any(f"permissions violation for {kind}" in line and f'"{subject.lower()}"' in line for line in self.seen)


@asynccontextmanager
async def connected(server: EmbeddedServer, role: RoleName) -> AsyncGenerator[tuple[Client, Refusals]]:
    """A client logged in as ``role``, with what it was refused."""
    refusals = Refusals()
    client = await nats.connect(
        server.url, nkeys_seed=str(server.seed_path(role)), inbox_prefix=server.inbox_prefix(role),
        error_cb=refusals.note, allow_reconnect=False, connect_timeout=5,
    )  # fmt: skip
    try:
        yield client, refusals
    finally:
        await client.close()


async def settle(client: Client) -> None:
    """Wait until the server knows our subscriptions. Twice: nats-py writes the first PING *before* what is pending."""
    await client.flush(5)
    await client.flush(5)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it holds, with a deadline."""
    with anyio.fail_after(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - another process changes it
            await anyio.sleep(0.01)


async def assert_refused(refusals: Refusals, client: Client, kind: str, subject: str) -> None:
    """The server reported this violation."""
    await client.flush(5)
    await eventually(lambda: refusals.of(kind, subject))


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


async def answer(message: Msg) -> None:
    """Answer with what was asked."""
    await message.respond(b"answer to " + message.data)


async def test_client_runs_tasks(server: EmbeddedServer):
    """The client role gets an answer from the node, through its own inbox and through the plain one."""
    async with connected(server, "runtime") as (node, _), connected(server, "client") as (client, refusals):
        await node.subscribe("chimera.agent.predict", queue="agent", cb=answer)
        await settle(node)
        assert (await client.request("chimera.agent.predict", b"{}", timeout=5)).data == b"answer to {}"
        plain = await nats.connect(server.url, nkeys_seed=str(server.seed_path("client")), allow_reconnect=False)
        assert (await plain.request("chimera.agent.predict", b"1", timeout=5)).data == b"answer to 1"
        await plain.close()
        assert refusals.seen == []


@pytest.mark.parametrize("subject", ["chimera.agent.register", "chimera.kpi.x", "elsewhere", "_INBOX_runtime.x"])
async def test_client_publishes_nowhere_else(subject: str, server: EmbeddedServer):
    """What the client is not permitted never reaches a listener, and it is told."""
    async with connected(server, "runtime") as (node, _), connected(server, "client") as (client, refusals):
        heard: list[str] = []

        async def hear(message: Msg) -> None:
            heard.append(message.subject)

        for listened in ("chimera.>", "_INBOX_runtime.>"):
            await node.subscribe(listened, cb=hear)
        await settle(node)
        await client.publish(subject, b"x")
        await client.publish("chimera.agent.predict", b"last")
        await assert_refused(refusals, client, "publish", subject)
        await eventually(lambda: "chimera.agent.predict" in heard)
        assert heard == ["chimera.agent.predict"]


@pytest.mark.parametrize("subject", ["_INBOX_runtime.>", "_INBOX_operator.>", "chimera.agent.predict", ">"])
async def test_client_overhears_nobody(subject: str, server: EmbeddedServer):
    """The client subscribes neither to others' answers nor to their requests."""
    async with connected(server, "client") as (client, refusals):
        await client.subscribe(subject)
        await assert_refused(refusals, client, "subscription", subject)


async def test_only_the_node_manages_streams(server: EmbeddedServer):
    """The node creates streams, buckets and objects; client, operator and observer can't delete or fill them."""
    async with connected(server, "runtime") as (node, refusals):
        js = node.jetstream()
        await js.add_stream(name="KPI", subjects=["chimera.kpi.>"])
        assert (await js.publish("chimera.kpi.sentiment", b"1")).seq == 1
        bucket = await js.create_key_value(bucket="agents")
        await bucket.put("sentiment", b"v")
        assert (await bucket.get("sentiment")).value == b"v"
        store = await js.create_object_store("modules")
        await store.put("m", b"\0asm" * 100)
        assert (await store.get("m")).data == b"\0asm" * 100
        assert refusals.seen == []
        others: tuple[RoleName, ...] = ("client", "operator", "observer")
        for role in others:
            async with connected(server, role) as (other, refused):
                for subject in ("$JS.API.STREAM.DELETE.KPI", "$KV.agents.sentiment", "chimera.kpi.sentiment"):
                    await other.publish(subject, b"")
                    await assert_refused(refused, other, "publish", subject)
        assert (await js.stream_info("KPI")).state.messages == 1
        assert (await bucket.get("sentiment")).value == b"v"


async def test_observer_reads_facts(server: EmbeddedServer):
    """The observer hears facts live and reads stored ones back, with no consumer of its own."""
    async with connected(server, "runtime") as (node, _), connected(server, "observer") as (observer, refusals):
        js = node.jetstream()
        await js.add_stream(name="KPI", subjects=["chimera.kpi.>"], allow_direct=True)
        live = await observer.subscribe("chimera.kpi.>")
        await settle(observer)
        await js.publish("chimera.kpi.sentiment", b"fact")
        assert (await live.next_msg(5)).data == b"fact"
        for direct in (False, True):
            stored = await observer.jetstream().get_msg("KPI", seq=1, direct=direct)
            assert stored.data == b"fact"
        assert refusals.seen == []
        await observer.publish("chimera.agent.predict", b"{}")
        await assert_refused(refusals, observer, "publish", "chimera.agent.predict")


async def test_operator_reads_streams_through_consumers(server: EmbeddedServer):
    """The operator calls what the client can't, and follows a stream of facts."""
    async with connected(server, "runtime") as (node, _), connected(server, "operator") as (operator, refusals):
        await node.jetstream().add_stream(name="EVENTS", subjects=["chimera.event.>"])
        await node.jetstream().publish("chimera.event.agent.released", b"fact")
        await node.subscribe("chimera.agent.register", cb=answer)
        await settle(node)
        assert (await operator.request("chimera.agent.register", b"m", timeout=5)).data == b"answer to m"
        reader = await operator.jetstream().subscribe("", stream="EVENTS", ordered_consumer=True)
        assert (await reader.next_msg(5)).data == b"fact"
        await reader.unsubscribe()
        assert refusals.seen == []


async def log_in(url: str, seed: bytes | None) -> bytes:
    """What the server answers to a login, spoken by hand: the client library leaks a socket when it is refused."""
    nkeys: Any = import_module("nkeys")
    host, port = url.removeprefix("nats://").split(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        nonce = msgspec.json.decode((await stream.receive())[5:])["nonce"]
        options: dict[str, Any] = {"verbose": False, "pedantic": False, "lang": "test", "version": "0", "protocol": 1}
        if seed is not None:
            pair = nkeys.from_seed(bytearray(seed))
            signature = base64.urlsafe_b64encode(pair.sign(nonce.encode())).rstrip(b"=").decode()
            options |= {"nkey": bytes(pair.public_key).decode(), "sig": signature}
        await stream.send(b"CONNECT " + msgspec.json.encode(options) + b"\r\nPING\r\n")
        with anyio.fail_after(DEADLINE_S):
            return await stream.receive()


async def test_strangers_are_refused(server: EmbeddedServer, tmp_path: Path):
    """Nobody gets in without one of the keys in the data folder: not without any, not with another."""
    await anyio.to_thread.run_sync(ensure_keys, tmp_path / "elsewhere", STRANGERS)
    foreign = seed_path(tmp_path / "elsewhere", "runtime").read_bytes()
    assert b"Authorization Violation" in await log_in(server.url, None)
    assert b"Authorization Violation" in await log_in(server.url, foreign)
    assert b"PONG" in await log_in(server.url, server.seed_path("client").read_bytes())


async def test_everything_is_private(server: EmbeddedServer):
    """Folders 0700, files of ours 0600, and no seed in arguments, environment, configuration or log."""
    for folder in (server.files.data_dir, server.files.secrets, server.files.nats, server.files.log.parent):
        assert mode(folder) == 0o700
    assert mode(server.files.config) == 0o600
    process = Path("/proc") / str(server.pid)
    spoken = [server.files.config, server.files.log, server.files.stderr]
    if process.exists():
        spoken += [process / "cmdline", process / "environ"]
    roles: tuple[RoleName, ...] = ("runtime", "client", "operator", "observer")
    seeds = [server.seed_path(role).read_bytes() for role in roles]
    for path in spoken:
        content = path.read_bytes()
        assert not [seed for seed in seeds if seed in content], path


async def test_another_process_finds_it(server: EmbeddedServer):
    """The context in the data folder is enough to connect."""
    context = await anyio.to_thread.run_sync(read_context, server.files.data_dir, "client")
    assert context is not None
    client = await nats.connect(context.url, nkeys_seed=context.nkey, inbox_prefix=context.inbox_prefix)
    await client.flush(5)
    await client.close()


async def test_a_death_is_reported_and_nothing_acknowledged_is_lost(server: EmbeddedServer):
    """Kill -9: ``wait`` says so; the next start has the same port and every acknowledged message."""
    url, pid = server.url, server.pid
    assert pid is not None
    acknowledged: list[int] = []
    async with connected(server, "runtime") as (node, _):
        js = node.jetstream()
        await js.add_stream(name="EVENTS", subjects=["chimera.event.>"])
        acknowledged.extend([(await js.publish("chimera.event.x", b"%d" % number)).seq for number in range(200)])
        os.kill(pid, signal.SIGKILL)
        with anyio.fail_after(DEADLINE_S):
            ended = await server.wait()
    assert (ended.code, ended.reason, ended.wanted) == (-9, "SIGKILL", False)
    assert any("Server is ready" in line for line in ended.lines)
    assert server.pid is None
    assert server.statistics().failures == 1
    await server.start()
    assert server.url == url
    assert server.pid not in (None, pid)
    async with connected(server, "runtime") as (node, _):
        state = (await node.jetstream().stream_info("EVENTS")).state
        assert (state.messages, state.last_seq) == (200, acknowledged[-1])
    assert server.statistics().starts == 2


async def test_stopping_is_no_death(server: EmbeddedServer):
    """A stop closes the store in order; ``wait`` returns and says it was wanted; a second stop does nothing."""
    ends: list[bool] = []

    async def watch() -> None:
        ends.append((await server.wait()).wanted)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await anyio.lowlevel.checkpoint()
        await server.stop()
    await server.stop()
    assert ends == [True]
    statistics = server.statistics()
    assert (statistics.state, statistics.failures, statistics.pid) == ("stopped", 0, None)
    assert "Server Exiting" in server.files.log.read_text()


async def test_a_hung_server_is_killed(server: EmbeddedServer):
    """One that does not react to SIGTERM is killed after the deadline."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    await server.stop(timeout_s=0.2)
    assert (await server.wait()).reason == "SIGKILL"


async def test_statistics_are_measured(server: EmbeddedServer):
    """Process, version, memory and age of the running server."""
    statistics = server.statistics()
    assert statistics.state == "running"
    assert statistics.version.split(".") >= ["2", "14"]
    assert statistics.uptime_s >= 0
    assert statistics.resident_bytes is None or statistics.resident_bytes > 1 << 20


async def test_a_second_start_is_refused(server: EmbeddedServer):
    """A running server is not started again; it runs on."""
    pid = server.pid
    with pytest.raises(StartError, match="runs already"):
        await server.start()
    assert server.pid == pid


async def test_one_server_per_folder(server: EmbeddedServer):
    """Two servers on one store would destroy it: the second node is refused by name of the setting."""
    second = EmbeddedServer(ServerSettings(server.files.data_dir, port=0))
    with pytest.raises(StartError, match=rf"node\.data_dir: .* in use by process {os.getpid()}"):
        await second.start()
    assert server.pid is not None


@pytest.mark.parametrize("by_nats", [False, True])
async def test_a_busy_port(by_nats: bool, server: EmbeddedServer, tmp_path: Path):  # noqa: FBT001 - a test parameter
    """One line that says which setting to change, and whether NATS sits there; nothing is left running."""
    with contextlib.ExitStack() as stack:
        port = int(server.url.rpartition(":")[2])
        if not by_nats:
            other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = other.getsockname()[1]
        late = EmbeddedServer(ServerSettings(tmp_path / "late", port=port))
        who = "another NATS server" if by_nats else "another program"
        with pytest.raises(StartError, match=rf"nats\.port: 127\.0\.0\.1:{port} is taken by {who}") as caught:
            await late.start()
    assert "nats.port" in caught.value.hint
    assert late.pid is None
    await late.stop()


def _always_free(_host: str, _port: int) -> bool:
    return True


async def test_a_port_that_is_taken_in_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The server's own failure to listen becomes the same clear error."""
    monkeypatch.setattr("chimera.server.process.is_free", _always_free)
    with socket.create_server(("127.0.0.1", 0)) as other:
        late = EmbeddedServer(ServerSettings(tmp_path / "data", port=other.getsockname()[1]))
        with pytest.raises(StartError, match=r"nats\.port: .* is taken"):
            await late.start()
    assert late.pid is None


@pytest.mark.parametrize("place", [".", "nats", "logs", "secrets", "nats/jetstream", "cli"])
async def test_a_folder_that_cannot_be_written(place: str, tmp_path: Path):
    """A file where a folder must be: one line that names the setting, and no process left."""
    path = tmp_path / "data" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    server = EmbeddedServer(ServerSettings(tmp_path / "data", port=0))
    with pytest.raises(BadSettingError, match=r"node\.data_dir"):
        await server.start()
    assert server.pid is None


async def test_a_store_that_is_no_store(tmp_path: Path):
    """What the server itself complains about at its start is told in its own words."""
    server = EmbeddedServer(ServerSettings(tmp_path / "data", port=0))
    server.files.jetstream.mkdir(parents=True)
    (server.files.jetstream / "jetstream").write_text("not a folder")
    with pytest.raises((StartError, BadSettingError)) as caught:
        await server.start()
    assert "jetstream" in caught.value.detail.lower() or "node.data_dir" in caught.value.detail
    assert server.pid is None


async def test_a_cancelled_start_leaves_nothing(tmp_path: Path):
    """Cancelled at any moment of its start, no process and no lock stay: the next start succeeds."""
    for delay in (0.0, 0.01, 0.03, 0.06, 0.1):
        first = EmbeddedServer(ServerSettings(tmp_path / "data", port=0))
        with anyio.move_on_after(delay):
            await first.start()
        await first.stop()
        assert first.pid is None
        second = EmbeddedServer(ServerSettings(tmp_path / "data", port=0))
        await second.start()
        await second.stop()


async def test_an_old_server_is_refused(tmp_path: Path):
    """A program that is too old is not started; the error names the setting."""
    old = tmp_path / "nats-server"
    old.write_text("#!/bin/sh\necho nats-server: v2.9.10\n")
    old.chmod(0o700)
    server = EmbeddedServer(ServerSettings(tmp_path / "data", port=0, server=str(old)))
    with pytest.raises(BadSettingError, match=r"nats\.server: .* is version 2\.9\.10"):
        await server.start()


async def test_waiting_for_nothing_is_an_error(tmp_path: Path):
    """``wait`` before any start says so instead of waiting for ever."""
    with pytest.raises(StartError, match="never started"):
        await EmbeddedServer(ServerSettings(tmp_path)).wait()
