"""What the bus makes of bytes from the server, however they are cut, and of headers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from chimera.bus._headers import read_headers, write_headers
from chimera.bus._wire import WireClient, WireParser
from chimera.bus.contract import Delivery

pytestmark = pytest.mark.anyio

STREAM = (
    b"MSG a.b 1 5\r\nhello\r\n+OK\r\nMSG a.c 2 _INBOX.1 0\r\n\r\n"
    b"HMSG a.b 1 reply 21 25\r\nNATS/1.0\r\nName: v\r\n\r\n\r\nx\r\r\nMSG a.b 9 2\r\nno\r\nMSG a.b 1 7\r\nMSG a 1\r\n"
)
EXPECTED = [
    Delivery("a.b", b"hello"),
    Delivery("a.c", b"", "_INBOX.1"),
    Delivery("a.b", b"\r\nx\r", "reply", {"Name": "v"}),
    Delivery("a.b", b"MSG a 1"),
]


def client_with(got: list[Delivery]) -> WireParser:
    """A parser whose client listens under the numbers 1 and 2."""
    client = WireClient()
    client._handlers = {1: got.append, 2: got.append}  # pyright: ignore[reportPrivateUsage] - listening needs a server
    return WireParser(client)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
async def test_messages_are_whole_however_they_are_cut(cuts: list[int]):
    """Every cut of the stream into reads gives the same deliveries; other subscriptions' messages are passed over."""
    got: list[Delivery] = []
    parser = client_with(got)
    edges = sorted({0, len(STREAM), *cuts})
    for begin, end in itertools.pairwise(edges):
        await parser.parse(STREAM[begin:end])
    assert got == EXPECTED


@pytest.mark.parametrize(
    "line", [b"MSG a\r\n", b"MSG a 1 x\r\n", b"HMSG a 1 2\r\n", b"HELLO\r\n", b"x" * (1 << 20) + b"x"]
)
async def test_what_is_no_nats_ends_the_connection(line: bytes):
    """A malformed line is a protocol error, and so is one without end."""
    with pytest.raises(ProtocolError):
        await client_with([]).parse(line)


@given(
    st.dictionaries(
        st.from_regex(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", fullmatch=True),
        st.text(st.characters(exclude_categories=["C", "Z"])),
    )
)
async def test_headers_come_back(headers: dict[str, str]):
    """What is written is read."""
    assert (read_headers(write_headers(headers)) or {}) == headers


@pytest.mark.parametrize(
    ("block", "headers"),
    [
        (b"NATS/1.0\r\n\r\n", None),
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503"}),
        (b"NATS/1.0 404 No Messages\r\n\r\n", {"Status": "404", "Description": "No Messages"}),
        (
            b"NATS/1.0 100 Idle Heartbeat\r\nLast: 7\r\n\r\n",
            {"Status": "100", "Description": "Idle Heartbeat", "Last": "7"},
        ),
        (b"NATS/1.0\r\na b: 1\r\nno colon\r\n\xff: 2\r\nok:3\r\nbad: \xff\r\n\r\n", {"ok": "3", "bad": "\ufffd"}),
    ],
)
async def test_a_status_and_odd_lines(block: bytes, headers: dict[str, str] | None):
    """The first line's status is kept as headers; what is no header is left out."""
    assert read_headers(block) == headers
