"""The HTTP face of an error: RFC 9457 problem+json, with the headers that its status asks for."""

from __future__ import annotations

import math
from http import HTTPStatus

import msgspec
from starlette.types import Send

from chimera.errors import ChimeraError

Headers = list[tuple[bytes, bytes]]

PROBLEM_JSON = b"application/problem+json"
_encode = msgspec.json.Encoder().encode
_COMMON: Headers = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
_CLOSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
"""After these the rest of the body is not read, so the connection can't be used again."""


def json_headers(length: int, kind: bytes = b"application/json") -> Headers:
    """The headers of an answer of ``length`` bytes."""
    return [(b"content-type", kind), (b"content-length", b"%d" % length), *_COMMON]


def render(error: ChimeraError, *, instance: str = "") -> tuple[int, Headers, bytes]:
    """Status, headers and body of an error.

    Args:
        error: The error.
        instance: Path of the request that it answers.
    """
    problem = error.problem()
    body = _encode(msgspec.structs.replace(problem, instance=instance) if instance else problem)
    headers = json_headers(len(body), PROBLEM_JSON)
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Bearer realm="chimera"'))
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED and error.data:
        headers.append((b"allow", ", ".join(error.data["allow"]).encode()))
    if error.status in _CLOSES:
        headers.append((b"connection", b"close"))
    return error.status, headers, body


def render_raw(error: ChimeraError) -> bytes:
    """The whole answer as bytes, for a connection that has no request yet; it says that it closes."""
    status, headers, body = render(error)
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
    lines += [name + b": " + value for name, value in headers if name != b"connection"]
    return b"\r\n".join([*lines, b"connection: close", b"", body])


async def send_answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send one whole answer."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
