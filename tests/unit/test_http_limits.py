"""Limits of bodies, headers and connections, with time that moves only when told."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio
import pytest

from chimera.errors import BadMessageError, TooLargeError
from chimera.http import BridgeSettings
from chimera.http.body import declared_length, read_body
from chimera.http.desk import HANG_UP
from chimera.http.ledger import Ledger
from chimera.http.protocol import GuardedConfig, GuardedH11, GuardedHttpTools
from chimera.metrics import Metrics
from tests.support.bridge import Rig

pytestmark = pytest.mark.anyio

Receive = Callable[[], Awaitable[Any]]


def receiver(*chunks: bytes) -> Receive:
    """An ASGI ``receive`` that gives these chunks."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages[-1]["more_body"] = False

    async def receive() -> Any:
        return messages.pop(0)

    return receive


async def test_body_is_counted_as_it_comes() -> None:
    """A chunked body over the limit is refused at the chunk that passes it; the rest is not read."""
    left = [b"x" * 10] * 100

    async def receive() -> Any:
        return {"type": "http.request", "body": left.pop(), "more_body": bool(left)}

    with pytest.raises(TooLargeError):
        await read_body(receive, 25)
    assert len(left) == 97
    assert await read_body(receiver(b"ab", b"", b"cd"), 4) == b"abcd"


@pytest.mark.parametrize("text", [b"-1", b"1e3", b"", b"0x10"])
def test_lengths_that_are_no_numbers_are_refused(text: bytes) -> None:
    """Content-Length is digits or an error."""
    with pytest.raises(BadMessageError):
        declared_length({b"content-length": text}, 10)


def test_a_large_length_is_refused_unread() -> None:
    """What Content-Length announces is enough to refuse."""
    with pytest.raises(TooLargeError):
        declared_length({b"content-length": b"9" * 50}, 10)


async def drive(rig: Rig, receive: Receive, *, method: str = "POST", path: str = "/predict") -> list[Any]:
    """Run one request against the bare ASGI application and give what it sent."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": headers, "client": ("127.0.0.1", 1), "root_path": "", "scheme": "http"}  # fmt: skip
    rig.scope = scope
    await rig.app(scope, receive, send)
    return sent


async def test_slow_body_is_408() -> None:
    """A body that is not complete in its time is answered 408 and the connection closes."""
    rig = Rig()
    waits = anyio.Event()

    async def never() -> Any:
        waits.set()
        await anyio.sleep_forever()

    sent: list[Any] = []
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            sent.extend(await drive(rig, never))

        tasks.start_soon(run)
        await waits.wait()
        rig.clock.advance(rig.settings.body_timeout_s - 0.1)
        await anyio.wait_all_tasks_blocked()
        assert sent == []
        rig.clock.advance(0.2)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert rig.caller.asked == []


async def test_answer_that_does_not_come_is_504() -> None:
    """The bridge gives up at the deadline and its margin, and the ask is cancelled."""
    rig = Rig()
    entered, cancelled = anyio.Event(), anyio.Event()

    async def hang(_: Any) -> None:
        entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    rig.caller.hook = hang
    sent: list[Any] = []
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            sent.extend(await drive(rig, receiver(b'{"job_id":"1","input":{},"deadline_ms":100}')))

        tasks.start_soon(run)
        await entered.wait()
        rig.clock.advance(0.1 + rig.settings.margin_s + 0.01)
    assert cancelled.is_set()
    assert sent[0]["status"] == 504


async def test_client_that_goes_away_cancels_the_ask() -> None:
    """Hanging up stops the ask, sends nothing, and is recorded as 499."""
    rig = Rig()
    entered = anyio.Event()

    async def hang(_: Any) -> None:
        entered.set()
        await anyio.sleep_forever()

    rig.caller.hook = hang
    sent: list[Any] = []
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            sent.extend(await drive(rig, receiver(b'{"job_id":"1","input":{}}')))

        tasks.start_soon(run)
        await entered.wait()
        rig.scope[HANG_UP]()
    assert sent == []
    assert rig.metrics.counter("chimera_http_requests_total", "agent", "agent.predict", "499").value == 1


class FakeTransport:
    """A transport that only remembers."""

    def __init__(self, address: str = "192.0.2.7") -> None:
        self.address = address
        self.written = b""
        self.closed = False
        self.aborted = False
        self.unsent = 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Addresses only."""
        return {"peername": (self.address, 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def write(self, data: bytes) -> None:
        """Remember."""
        self.written += data

    def close(self) -> None:
        """Remember."""
        self.closed = True

    def abort(self) -> None:
        """Remember."""
        self.aborted = self.closed = True

    def is_closing(self) -> bool:
        """As remembered."""
        return self.closed

    def get_write_buffer_size(self) -> int:
        """As set."""
        return self.unsent

    def pause_reading(self) -> None:
        """Nothing to do."""

    def resume_reading(self) -> None:
        """Nothing to do."""


class Line:
    """One connection of a parser, over a fake transport."""

    def __init__(self, parser: str, rig: Rig, ledger: Ledger) -> None:
        from uvicorn.server import ServerState

        settings = BridgeSettings(parser=cast("Any", parser), header_bytes=1000)
        config = GuardedConfig(rig.app, settings, ledger=ledger, clock=rig.clock)
        config.load()
        kind = cast("Any", config.http_protocol_class)
        self.protocol = kind(config=config, server_state=ServerState(), app_state={})
        self.transport = FakeTransport()

    def open(self) -> "Line":
        """Connect."""
        self.protocol.connection_made(self.transport)
        return self

    def lose(self) -> None:
        """Disconnect."""
        self.protocol.connection_lost(None)


@pytest.fixture(params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest) -> str:
    """Both parsers keep the same limits."""
    return cast("str", request.param)


def a_ledger(rig: Rig, total: int = 10, per_address: int = 3) -> Ledger:
    """A ledger with small limits."""
    return Ledger(total, per_address, rig.metrics)


async def test_headers_that_drip_are_refused(parser: str) -> None:
    """A connection whose headers are not complete in time gets 408 and is closed, however much it dripped."""
    rig = Rig()
    line = Line(parser, rig, a_ledger(rig)).open()
    line.protocol.data_received(b"GET / HTTP/1.1\r\n")
    for _ in range(4):
        rig.clock.advance(1)
        line.protocol.data_received(b"X-A: b\r\n")
    assert not line.transport.closed
    rig.clock.advance(1.1)
    assert line.transport.closed
    assert line.transport.written.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in line.transport.written
    line.lose()


async def test_idle_connection_is_closed_without_a_word(parser: str) -> None:
    """A connection that never says anything is only closed."""
    rig = Rig()
    line = Line(parser, rig, a_ledger(rig)).open()
    rig.clock.advance(5.1)
    assert (line.transport.closed, line.transport.written) == (True, b"")
    line.lose()


async def test_reader_that_stopped_is_aborted(parser: str) -> None:
    """A client that does not read its answer can't hold the connection."""
    rig = Rig()
    line = Line(parser, rig, a_ledger(rig)).open()
    line.transport.unsent = 100
    rig.clock.advance(5.1)
    assert line.transport.aborted
    line.lose()


async def test_endless_headers_are_refused(parser: str) -> None:
    """Headers may not grow without end within their time."""
    rig = Rig()
    line = Line(parser, rig, a_ledger(rig)).open()
    line.protocol.data_received(b"GET / HTTP/1.1\r\n")
    for _ in range(200):
        if not line.transport.closed:
            line.protocol.data_received(b"X-A: " + b"b" * 50 + b"\r\n")
    assert line.transport.closed
    assert b"problem+json" in line.transport.written
    line.lose()


async def test_one_connection_too_many_is_refused(parser: str) -> None:
    """The fourth connection of an address is told to come back; leaving makes room again."""
    rig = Rig()
    ledger = a_ledger(rig)
    lines = [Line(parser, rig, ledger).open() for _ in range(4)]
    assert [line.transport.closed for line in lines] == [False, False, False, True]
    assert b"overloaded" in lines[3].transport.written
    assert b"retry-after: 1" in lines[3].transport.written
    lines[3].lose()
    lines[0].lose()
    again = Line(parser, rig, ledger).open()
    assert not again.transport.closed
    for line in (lines[1], lines[2], again):
        line.lose()
    assert ledger.count == 0


async def test_total_is_limited_over_all_addresses(parser: str) -> None:
    """Many addresses together can't pass the total."""
    rig = Rig()
    ledger = a_ledger(rig, total=2)
    lines = [Line(parser, rig, ledger) for _ in range(3)]
    for number, line in enumerate(lines):
        line.transport.address = f"192.0.2.{number}"
        line.open()
    assert [line.transport.closed for line in lines] == [False, False, True]
    for line in lines:
        line.lose()


async def test_what_is_no_http_gets_a_problem(parser: str) -> None:
    """Garbage is answered 400 as a problem, and closed."""
    rig = Rig()
    line = Line(parser, rig, a_ledger(rig)).open()
    line.protocol.data_received(b"\x16\x03\x01 garbage\r\n\r\n")
    assert line.transport.written.startswith(b"HTTP/1.1 400 ")
    assert b"bad-message" in line.transport.written
    assert rig.metrics.counter("chimera_http_connections_refused_total", "malformed").value == 1
    line.lose()


async def test_both_parsers_are_guarded() -> None:
    """The tests above ran against both classes, not twice against one."""
    rig = Rig()
    lines = [Line(name, rig, Ledger(1, 1, Metrics())) for name in ("httptools", "h11")]
    assert {cast("object", type(line.protocol)) for line in lines} == {GuardedHttpTools, GuardedH11}
