"""What a stranger with a NATS client gets, and how nodes learn of each other's ends: on both buses."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import msgspec
import pytest

from chimera import System
from chimera.bus import Bus, Delivery
from chimera.errors import NotRunningError
from tests.contract.conftest import Nodes
from tests.support.probe import Board, Echo, Other, Probe, Watch

pytestmark = pytest.mark.anyio


@pytest.fixture
async def board(nodes: Nodes, bus: Bus) -> AsyncIterator[Board]:
    """A probe on a node of its own; the asker joins first, so that it leaves last."""
    notes = Board()
    del bus
    own = await nodes.join()
    async with System(own, node="plain", heartbeat_s=0.1) as system:
        await system.spawn(Probe, board=notes)
        await own.flush()
        yield notes


async def test_json_in_json_out_and_msgpack_in_msgpack_out(board: Board, bus: Bus):
    """The answer is written as the question was."""
    del board
    asked = {"text": "hi"}
    json = await bus.request("chimera.probe.echo", msgspec.json.encode(asked))
    assert json.data == b'"hi"'
    packed = await bus.request("chimera.probe.echo", msgspec.msgpack.encode(asked))
    assert msgspec.msgpack.decode(packed.data) == "hi"
    assert (await bus.request("chimera.probe.echo", b"")).data == b'"hello"', "no body means all defaults"


@pytest.mark.parametrize(
    ("verb", "body", "code", "status"),
    [
        ("fail", b'{"how":"refuse"}', "conflict", "409"),
        ("fail", b'{"how":"crash"}', "crashed", "500"),
        ("fail", b'{"how":"odd"}', "crashed", "500"),
        ("nonsense", b"{}", "not-running", "404"),
        ("echo", b'{"text":1}', "bad-message", "400"),
        ("echo", b'{"txt":"x"}', "bad-message", "400"),
        ("echo", b"{", "bad-message", "400"),
        ("echo", b"\xc1\xff", "bad-message", "400"),
        ("echo", b"\x93\x01\x02\x03", "bad-message", "400"),
        ("free", b'{"value":' + b'{"x":' * 40 + b"1" + b"}" * 41, "bad-message", "400"),
        ("fill", b'{"size":2000000}', "too-large", "413"),
    ],
)
async def test_an_error_has_nats_headers_and_a_problem_as_its_body(  # noqa: PLR0917 - the table's columns
    board: Board, bus: Bus, verb: str, body: bytes, code: str, status: str
):
    """``nats req`` shows what went wrong; an enveloped asker finds it in the envelope."""
    del board
    answer = await bus.request(f"chimera.probe.{verb}", body)
    if body.startswith(b"\x93"):
        assert msgspec.msgpack.decode(answer.data)[1]["code"] == code
        return
    headers = answer.headers or {}
    assert headers["Nats-Service-Error-Code"] == status
    assert headers["Chimera-Error"] == code
    assert headers["Nats-Service-Error"]
    decode = msgspec.msgpack.decode if body.startswith(b"\xc1") else msgspec.json.decode
    assert decode(answer.data)["code"] == code
    assert (await bus.request("chimera.probe.echo", b"{}")).data == b'"hello"'


async def test_a_plain_asker_can_read_a_stream(board: Board, bus: Bus):
    """Elements one by one, then an empty body."""
    del board
    seen: list[bytes] = []
    over = anyio.Event()

    def take(delivery: Delivery) -> None:
        seen.append(delivery.data)
        if not delivery.data:
            over.set()

    reply = bus.open_reply(take)
    await bus.publish("chimera.probe.count", b'{"upto":3}', reply=reply)
    with anyio.fail_after(10):
        await over.wait()
    assert seen == [b"0", b"1", b"2", b""]


@pytest.mark.parametrize("end", ["stopped", "node", "absent"])
async def test_a_watcher_elsewhere_is_told(nodes: Nodes, end: str):
    """Down comes when the actor stops, when its node leaves, and at once if it was not there."""
    board, far = Board(), Board()
    host_bus, own_bus = await nodes.join(), await nodes.join()
    async with System(own_bus, node="near", heartbeat_s=0.1) as near:
        await near.spawn(Other, board=board)
        async with System(host_bus, node="far", heartbeat_s=0.1) as host:
            await host.spawn(Probe, board=far)
            await host_bus.flush()
            await own_bus.flush()
            target = "probe" if end != "absent" else "nobody"
            await near.ref("other").tell(Watch(target, "far"))
            await board.until("watching")
            if end == "stopped":
                await host.supervisor.remove("probe-1")
            if end != "node":
                await board.until(f"down {target}@far {'stopped' if end == 'stopped' else 'not-running'}")
        if end == "node":
            with anyio.fail_after(10):
                await board.until("down probe@far node")
        with pytest.raises(NotRunningError):
            await near.ref("probe", node="far").ask(Echo())
