"""What a NATS server says first, and whether a port is free."""

from __future__ import annotations

import errno
import socket

import anyio
import msgspec
from anyio.abc import SocketStream

_DEADLINE_S = 1.0
_MOST_BYTES = 65_536


class Greeting(msgspec.Struct, frozen=True):
    """The fields of a server's INFO line that we look at."""

    server_name: str = ""
    version: str = ""
    jetstream: bool = False


async def greet(host: str, port: int) -> Greeting | None:
    """The INFO of the server that listens there, or ``None`` if none does within a second."""
    with anyio.move_on_after(_DEADLINE_S):
        try:
            async with await anyio.connect_tcp(host, port) as stream:
                return _parse(await _first_line(stream))
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            return None
    return None


def is_free(host: str, port: int) -> bool:
    """True if a server could listen there now.

    Raises:
        OSError: If the address can't be used at all.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


async def _first_line(stream: SocketStream) -> bytes:
    data = b""
    while b"\r\n" not in data and len(data) < _MOST_BYTES:
        data += await stream.receive()
    return data.partition(b"\r\n")[0]


def _parse(line: bytes) -> Greeting | None:
    if not line.startswith(b"INFO "):
        return None
    try:
        return msgspec.json.decode(line[5:], type=Greeting)
    except msgspec.DecodeError:
        return None
