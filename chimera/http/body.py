"""Reading a request's body, and no more of it than allowed."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive

from chimera.errors import BadMessageError, CancelledByCallerError, TooLargeError


def declared_length(headers: Mapping[bytes, bytes], limit: int) -> int | None:
    """The Content-Length, or ``None`` for a chunked body.

    Raises:
        BadMessageError: If it is not a number.
        TooLargeError: If it says more than ``limit``: nothing needs to be read to know that.
    """
    text = headers.get(b"content-length")
    if text is None:
        return None if b"transfer-encoding" in headers else 0
    if not text.isdigit():
        raise BadMessageError("Content-Length is not a number")
    length = int(text[:20])
    if length > limit:
        raise _too_large(length, limit)
    return length


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body, counted as it streams in: Content-Length may lie or be absent.

    The caller bounds the time.

    Raises:
        TooLargeError: As soon as more than ``limit`` bytes came.
        CancelledByCallerError: If the client went away.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CancelledByCallerError("the client went away before its body was complete")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(size, limit)
        if not message.get("more_body", False):
            return b"".join([*chunks, chunk]) if chunks else chunk
        chunks.append(chunk)


def _too_large(size: int, limit: int) -> TooLargeError:
    return TooLargeError(
        f"a body of {size} bytes or more; at most {limit} are taken here", hint="send less, or split it"
    )
