"""The bridge on real sockets: slow, big, many and impolite clients, while polite ones are served."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx
import pytest
from anyio.abc import SocketStream

from chimera import SystemClock
from chimera.errors import StartError
from chimera.http import Bridge, BridgeSettings
from chimera.metrics import Metrics
from subjects import Port
from tests.support.bridge import FakeCaller, FakeProbe

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

HELLO = {"job_id": "1", "input": {"text": "good"}}
GOOD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest) -> Literal["httptools", "h11"]:
    """Both parsers."""
    return request.param


class Running:
    """A bridge that serves, with its doubles."""

    def __init__(self, bridge: Bridge, caller: FakeCaller, metrics: Metrics) -> None:
        self.bridge = bridge
        self.caller = caller
        self.metrics = metrics
        self.port = bridge.ports[Port.AGENT]

    async def connect(self, source: str = "127.0.0.1") -> SocketStream:
        """A raw connection from a loopback address."""
        return await anyio.connect_tcp("127.0.0.1", self.port, local_host=source)

    def client(self) -> httpx.AsyncClient:
        """A polite client."""
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=20)


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncGenerator[Running]:
    """A bridge on a free port, stopped at the end."""
    caller, metrics = FakeCaller(), Metrics()
    limits = BridgeSettings(ports={Port.AGENT: 0}, data=folder, drain_s=2.0, **settings)
    bridge = Bridge(caller, FakeProbe(), limits, metrics=metrics, clock=SystemClock())
    async with anyio.create_task_group() as tasks:
        await bridge.start()
        running = Running(bridge, caller, metrics)
        tasks.start_soon(bridge.wait)
        try:
            yield running
        finally:
            await bridge.stop()


async def read_all(stream: SocketStream) -> bytes:
    """Everything until the other side closes, at most 20 s."""
    received = b""
    with anyio.fail_after(20):
        try:
            while True:
                received += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return received


async def test_curl_without_a_content_type(tmp_path: Path, parser: Any) -> None:
    """The runbook's curl -d, which says that it sends a form, is answered as JSON."""
    async with serving(tmp_path, parser=parser) as running, running.client() as client:
        form = {"content-type": "application/x-www-form-urlencoded"}
        response = await client.post("/predict", content=json.dumps(HELLO), headers=form)
    assert (response.status_code, response.json()["output"]) == (200, {"text": "good"})


async def test_slow_sockets_are_closed_while_good_requests_are_answered(tmp_path: Path, parser: Any) -> None:
    """300 sockets that drip headers from one address cost no other address a request, and are gone in their time."""
    async with serving(tmp_path, parser=parser, header_timeout_s=6.0, connections_per_address=400) as running:
        slow = [await running.connect("127.0.0.2") for _ in range(300)]
        for stream in slow:
            await stream.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        async with running.client() as client:
            assert (await client.post("/predict", json=HELLO)).status_code == 200
        answers = [await read_all(stream) for stream in slow]
        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
        for stream in slow:
            await stream.aclose()


async def test_connections_per_address_are_limited(tmp_path: Path, parser: Any) -> None:
    """One connection over the limit is told to come back; another address is served."""
    async with serving(tmp_path, parser=parser, connections_per_address=5) as running:
        held = [await running.connect("127.0.0.2") for _ in range(5)]
        extra = await running.connect("127.0.0.2")
        refused = await read_all(extra)
        other = await running.connect("127.0.0.3")
        await other.send(GOOD)
        served = await other.receive()
        for stream in (*held, extra, other):
            await stream.aclose()
    assert refused.startswith(b"HTTP/1.1 429 ")
    assert served.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("chunked", [True, False])
async def test_big_bodies_are_refused_without_being_read(tmp_path: Path, parser: Any, *, chunked: bool) -> None:
    """A body over the limit is 413 long before its end, whether its length is announced or not."""
    async with serving(tmp_path, parser=parser, max_body_bytes=100_000) as running:
        stream = await running.connect()
        length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 100000000"
        await stream.send(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + length + b"\r\n\r\n")
        block = b"10000\r\n" + b"x" * 0x10000 + b"\r\n" if chunked else b"x" * 0x10000
        sent = 0
        try:
            for _ in range(1500):
                await stream.send(block)
                sent += 1
        except anyio.BrokenResourceError:
            pass
        async with running.client() as client:
            announced = await client.post("/predict", content=b"x" * 100_001)
        await stream.aclose()
    assert sent < 1500
    assert (announced.status_code, announced.json()["code"]) == (413, "too-large")
    assert running.caller.asked == []


async def test_slow_body_is_408(tmp_path: Path, parser: Any) -> None:
    """A body that drips is answered 408 in its time and the connection closes."""
    async with serving(tmp_path, parser=parser, body_timeout_s=0.5) as running:
        stream = await running.connect()
        await stream.send(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        answer = await read_all(stream)
        await stream.aclose()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"slow-body"' in answer


async def test_hanging_up_cancels_the_ask(tmp_path: Path, parser: Any) -> None:
    """When the client closes its socket the ask is cancelled."""
    async with serving(tmp_path, parser=parser) as running:
        entered, cancelled = anyio.Event(), anyio.Event()

        async def hang(_: Any) -> None:
            entered.set()
            try:
                await anyio.sleep_forever()
            finally:
                cancelled.set()

        running.caller.hook = hang
        stream = await running.connect()
        body = json.dumps(HELLO).encode()
        await stream.send(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        with anyio.fail_after(10):
            await entered.wait()
            await stream.aclose()
            await cancelled.wait()


async def test_keep_alive_serves_many_requests(tmp_path: Path, parser: Any) -> None:
    """One connection carries request after request."""
    async with serving(tmp_path, parser=parser, header_timeout_s=3.0) as running:
        stream = await running.connect()
        for _ in range(3):
            await anyio.sleep(1.1)
            await stream.send(GOOD)
            assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")
        await stream.aclose()


async def test_stop_lets_a_running_request_end(tmp_path: Path) -> None:
    """A request that runs when the bridge stops is still answered."""
    async with serving(tmp_path) as running, running.client() as client:
        entered = anyio.Event()

        async def slow(message: Any) -> Any:
            entered.set()
            await anyio.sleep(0.3)
            running.caller.hook = None
            return await running.caller.ask(message)

        running.caller.hook = slow
        statuses: list[int] = []

        async def ask() -> None:
            statuses.append((await client.post("/predict", json=HELLO)).status_code)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await entered.wait()
            await running.bridge.stop()
    assert statuses == [200]


async def test_stop_is_bounded(tmp_path: Path) -> None:
    """A request that never ends is cancelled after the drain time."""
    async with serving(tmp_path) as running:
        entered = anyio.Event()

        async def hang(_: Any) -> None:
            entered.set()
            await anyio.sleep_forever()

        running.caller.hook = hang
        stream = await running.connect()
        body = json.dumps(HELLO).encode()
        await stream.send(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        with anyio.fail_after(15):
            await entered.wait()
            await running.bridge.stop()
        await stream.aclose()


async def test_busy_port_names_its_setting(tmp_path: Path) -> None:
    """A port in use stops the start with the setting to change, and no other port stays open."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        free = _free_port()
        ports = {Port.SCHEDULER: free, Port.AGENT: number}
        settings = BridgeSettings(ports=ports, data=tmp_path)
        bridge = Bridge(FakeCaller(), FakeProbe(), settings, metrics=Metrics(), clock=SystemClock())
        with pytest.raises(StartError, match=str(number)) as caught:
            await bridge.start()
    assert "http.ports.agent" in caught.value.hint
    assert not (tmp_path / "secrets").exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", free)) == errno.ECONNREFUSED


async def test_all_ports_are_served_by_one_bridge(tmp_path: Path) -> None:
    """Each role has its own port and its own operations; the token lies where it belongs."""
    settings = BridgeSettings(ports=dict.fromkeys(Port, 0), data=tmp_path, drain_s=1.0)
    bridge = Bridge(FakeCaller(), FakeProbe(), settings, metrics=Metrics(), clock=SystemClock())
    layers: list[str] = []
    async with anyio.create_task_group() as tasks:
        await bridge.start()
        tasks.start_soon(bridge.wait)
        async with httpx.AsyncClient() as client:
            layers += [
                (await client.get(f"http://127.0.0.1:{number}/")).json()["layer"] for number in bridge.ports.values()
            ]
        await bridge.stop()
    assert layers == ["execution", "scheduler", "refinement", "evolution", "resources"]
    assert (tmp_path / "secrets" / "http-token").is_file()


async def test_a_stopped_bridge_can_start_again(tmp_path: Path) -> None:
    """A supervisor may restart it: the same object serves again, on the same port, with the same token."""
    ports = {Port.AGENT: _free_port()}
    settings = BridgeSettings(ports=ports, data=tmp_path, drain_s=1.0)
    bridge = Bridge(FakeCaller(), FakeProbe(), settings, metrics=Metrics(), clock=SystemClock())
    for _ in range(2):
        async with anyio.create_task_group() as tasks:
            await bridge.start()
            tasks.start_soon(bridge.wait)
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://127.0.0.1:{ports[Port.AGENT]}/livez")).status_code == 200
            await bridge.stop()
    assert bridge.ports == {}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
