"""One operation behind its HTTP face: the path of every request that reaches an actor."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import anyio
import msgspec
from starlette.types import Receive, Scope, Send

from chimera.errors import CancelledByCallerError, ChimeraError, DeadlineError, SlowBodyError, UnavailableError, flatten
from chimera.store.contract import Remembered
from subjects import Http, Operation

from .binding import Binding, body_limit, check_media_type
from .body import declared_length, read_body
from .desk import HANG_UP, OPERATION, STATUS, Desk, answer, headers_of, path_of
from .idempotency import fingerprint, is_definitive, read_key
from .patience import Patience
from .problems import Headers, json_headers, render
from .settings import LAYERS

_encode = msgspec.json.Encoder().encode
_traceparent = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_STORE_S = 5.0


class OperationEndpoint:
    """Takes requests of one route, asks the actor, sends its answer.

    Steps: token, body within its limits, typed message, ask within its deadline, answer. A client that goes away
    cancels the ask. What goes wrong is raised; the access layer makes problems of it.
    """

    def __init__(self, desk: Desk, operation: Operation[Any, Any], face: Http) -> None:
        self._desk = desk
        self._operation = operation
        self._name = operation.name
        self._status = int(face.status)
        self._binding = Binding(operation, face.path)
        self._has_body = face.method in {"POST", "PUT"}
        self._remembers = face.method in {"POST", "DELETE"}
        self._limit = body_limit(operation.request, desk.settings.max_body_bytes)
        self._needs_token = desk.door.needs_token(operation)
        self._asks = desk.metrics.histogram("chimera_ask_duration_seconds", "http", operation.actor)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope[OPERATION] = self._name
        if self._needs_token:
            self._desk.door.check_token(headers_of(scope))
        with Patience(self._desk.clock) as patience:
            scope[HANG_UP] = patience.hang_up
            body = await self._read(scope, receive, patience) if self._has_body else b""
            key = headers_of(scope).get(b"idempotency-key") if self._remembers else None
            if key is None:
                reply = await self._ask(scope, body, patience)
                await answer(scope, send, self._status, self._headers(scope, len(reply)), reply)
            else:
                await self._ask_once(scope, send, body, patience, read_key(key))
        if patience.cut and STATUS not in scope:
            raise self._cut_error(patience)

    async def _read(self, scope: Scope, receive: Receive, patience: Patience) -> bytes:
        headers = headers_of(scope)
        check_media_type(headers.get(b"content-type"))
        if declared_length(headers, self._limit) == 0:
            return b""
        patience.wind(self._desk.settings.body_timeout_s, "body")
        body = await read_body(receive, self._limit)
        patience.unwind()
        return body

    def _headers(self, scope: Scope, length: int) -> Headers:  # noqa: ARG002 - for those who answer in several forms
        return json_headers(length)

    async def _ask(self, scope: Scope, body: bytes, patience: Patience) -> bytes:
        return _encode(await self._reply(scope, body, patience))

    async def _reply(self, scope: Scope, body: bytes, patience: Patience) -> Any:
        query, path = scope["query_string"], scope["path_params"]
        message = (
            self._binding.from_body(body, query, path) if self._has_body else self._binding.from_query(query, path)
        )
        deadline_ms = getattr(message, "deadline_ms", None)
        timeout_s = deadline_ms / 1000 if deadline_ms else self._operation.timeout_s
        patience.wind(timeout_s + self._desk.settings.margin_s, "deadline")
        clock = self._desk.clock
        asked = clock.monotonic()
        try:
            reply = await self._desk.caller.ask(message, timeout_s=timeout_s, trace=_trace_of(scope))
        finally:
            self._asks.observe(clock.monotonic() - asked)
        patience.unwind()
        return reply

    async def _ask_once(self, scope: Scope, send: Send, body: bytes, patience: Patience, key: str) -> None:
        memory = self._desk.memory
        digest = fingerprint(scope["method"], path_of(scope), scope["query_string"], body)
        patience.wind(_STORE_S, "deadline")
        entry = await memory.claim(key, digest)
        if entry is not None:
            await _replay(scope, send, entry)
            return
        try:
            status, reply, error = self._status, b"", None
            try:
                reply = await self._ask(scope, body, patience)
            except ChimeraError as caught:
                if not is_definitive(caught):
                    raise
                status, error = caught.status, caught
                reply = render(caught, instance=path_of(scope))[2]
            await self._keep(Remembered(key, digest, status, reply, self._desk.clock.time()))
        finally:
            memory.release(key)
        if error is not None:
            raise error
        await answer(scope, send, status, json_headers(len(reply)), reply)

    async def _keep(self, entry: Remembered) -> None:
        with anyio.move_on_after(_STORE_S, shield=True):
            try:
                await self._desk.memory.keep(entry)
            except UnavailableError as error:
                layer = LAYERS[self._desk.port]
                self._desk.events("data-access", layer, "an answer was kept in memory only", "warning", {
                    "cause": flatten(error), "operation": self._name,
                })  # fmt: skip

    def _cut_error(self, patience: Patience) -> ChimeraError:
        if patience.cut == "body":
            return SlowBodyError(f"the body was not complete after {self._desk.settings.body_timeout_s:g} s")
        if patience.cut == "deadline":
            return DeadlineError("no answer came before the deadline", stage="sent")
        return CancelledByCallerError()


async def _replay(scope: Scope, send: Send, entry: Remembered) -> None:
    kind = b"application/json" if entry.status < HTTPStatus.BAD_REQUEST else b"application/problem+json"
    headers = [*json_headers(len(entry.body), kind), (b"idempotent-replayed", b"true")]
    await answer(scope, send, entry.status, headers, entry.body)


def _trace_of(scope: Scope) -> str:
    header = headers_of(scope).get(b"traceparent")
    return header.decode("ascii") if header is not None and _traceparent.match(header) else ""
