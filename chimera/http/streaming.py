"""Server-sent events: a streaming operation behind its HTTP face, and all open streams of one bridge."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, cast

import msgspec
from starlette.types import Receive, Scope, Send

from chimera.errors import BadMessageError, CancelledByCallerError, ChimeraError, OverloadedError
from subjects import Http, Operation

from .binding import Binding
from .desk import HANG_UP, OPERATION, STATUS, Desk, headers_of
from .patience import Patience

STREAMS = 256
"""Open streams of a bridge, all ports together."""

WRITE_S = 30.0
"""A client that takes nothing for so long is cut off."""

FIRST_S = 10.0
"""The first element must be there by then; it says that somebody listens."""

_RETRY_MS = 2000
_OVERLOADED_S = 5.0
_TYPE = b"text/event-stream; charset=utf-8"
_HEADERS = [
    (b"content-type", _TYPE), (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"),
    (b"x-accel-buffering", b"no"),
]  # fmt: skip
_encode = msgspec.json.Encoder().encode


class Streams:
    """The open streams of a bridge: counted, bounded, and closed when it stops."""

    def __init__(self, most: int = STREAMS) -> None:
        self._most = most
        self._open: set[Patience] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, patience: Patience) -> None:
        """One more.

        Raises:
            OverloadedError: If there are too many, or the bridge stops.
        """
        if self._closed or len(self._open) >= self._most:
            why = "the bridge stops" if self._closed else f"{self._most} streams are open already"
            raise OverloadedError(why, retry_after_s=_OVERLOADED_S)
        self._open.add(patience)

    def leave(self, patience: Patience) -> None:
        """One less."""
        self._open.discard(patience)

    def close(self) -> None:
        """End all, and begin no more: what is endless would only delay the stop."""
        self._closed = True
        for patience in list(self._open):
            patience.close()


class StreamEndpoint:
    """Sends what an actor streams as server-sent events, each with its ``kind`` as name and its ``seq`` as id.

    The answer begins with the first element, so that a refusal still has its status. What comes after a reconnect is
    the operation's business: the header Last-Event-ID becomes its field ``after``. Heartbeats become comments.
    """

    def __init__(self, desk: Desk, operation: Operation[Any, Any], face: Http) -> None:
        self._desk, self._operation = desk, operation
        self._binding = Binding(operation, face.path)
        self._status = int(face.status)
        self._needs_token = desk.door.needs_token(operation)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Serve one listener until the stream, the listener or the bridge ends."""
        scope[OPERATION] = self._operation.name
        if self._needs_token:
            self._desk.door.check_token(headers_of(scope))
        message = self._message(scope)
        with Patience(self._desk.clock) as patience:
            scope[HANG_UP] = patience.hang_up
            self._desk.streams.enter(patience)
            try:
                await self._serve(scope, send, message, patience)
            finally:
                self._desk.streams.leave(patience)
        if patience.cut:
            await self._cut(scope, send, patience)

    def _message(self, scope: Scope) -> Any:
        message = self._binding.from_query(scope["query_string"], scope["path_params"])
        after = headers_of(scope).get(b"last-event-id", b"")
        if not after or not hasattr(message, "after"):
            return message
        try:
            fields = {**msgspec.structs.asdict(message), "after": after.decode("ascii")}
            return msgspec.convert(fields, self._operation.request)
        except (UnicodeDecodeError, msgspec.ValidationError) as error:
            raise BadMessageError(f"the header Last-Event-ID can't be read: {error}") from error

    async def _serve(self, scope: Scope, send: Send, message: Any, patience: Patience) -> None:
        source = self._desk.caller.stream(message, timeout_s=self._operation.timeout_s)
        try:
            patience.wind(FIRST_S, "deadline")
            async with aclosing(cast("Any", source)):
                async for item in source:
                    patience.wind(WRITE_S, "deadline")
                    if STATUS not in scope:
                        await self._begin(scope, send)
                        if scope["method"] == "HEAD":
                            break
                    await send({"type": "http.response.body", "body": render_event(item), "more_body": True})
                    patience.unwind()
                    # the next element may be long in coming: heartbeats, not this, say whether the other side lives
        except ChimeraError as error:
            if STATUS not in scope:
                raise
            body = b"event: closed\ndata: " + _encode(error.problem()) + b"\n\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})
        if STATUS not in scope:
            await self._begin(scope, send)
        await send({"type": "http.response.body", "body": b""})

    async def _cut(self, scope: Scope, send: Send, patience: Patience) -> None:
        if STATUS not in scope:
            if patience.cut == "gone":
                raise CancelledByCallerError
            raise OverloadedError("nothing came in time, or the bridge stops", retry_after_s=_OVERLOADED_S)
        if patience.cut == "closed":
            await send({"type": "http.response.body", "body": b": the server stops\n\n"})

    async def _begin(self, scope: Scope, send: Send) -> None:
        scope[STATUS] = self._status
        await send({"type": "http.response.start", "status": self._status, "headers": _HEADERS})
        if scope["method"] != "HEAD":
            await send({"type": "http.response.body", "body": b"retry: %d\n\n" % _RETRY_MS, "more_body": True})


def render_event(item: Any) -> bytes:
    """One element as the HTML standard's event stream format has it; JSON holds no line ends."""
    kind, seq = getattr(item, "kind", ""), getattr(item, "seq", "")
    if kind == "heartbeat":
        return b": heartbeat\n\n"
    name = f"event: {kind}\n" if kind else ""
    place = f"id: {seq}\n" if seq else ""
    return f"{name}{place}data: ".encode() + _encode(item) + b"\n\n"
