"""Around every request: who may come in, what its failure looks like, and the line and the numbers it leaves behind."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from chimera.errors import CancelledByCallerError, ChimeraError, DeniedError, UnauthorizedError
from chimera.metrics import Count, Spread

from .desk import HEADERS, OPERATION, STATUS, Desk, answer, path_of
from .problems import render
from .settings import LAYERS

_log = logging.getLogger("chimera.http")
_UNKNOWN = "-"
"""Operation of a request that no route took: paths are the client's and must not become labels."""


class Access:
    """The outermost layer of a port. Pure ASGI, and nothing is awaited that the request itself does not await."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self._app = app
        self._desk = desk
        self._port = desk.port.name.lower()
        self._layer = LAYERS[desk.port]
        self._counts: dict[tuple[str, int], Count] = {}
        self._spreads: dict[str, Spread] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, answer its errors, record it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._desk.clock.monotonic()
        scope[HEADERS] = headers = dict(scope["headers"])
        try:
            self._desk.door.check_site(scope["method"], headers)
            await self._app(scope, receive, send)
        except ChimeraError as error:
            await self._fail(scope, send, error)
        except Exception as error:
            _log.exception("a request failed")
            await self._fail(scope, send, ChimeraError("the bridge failed; its log says why"))
            if STATUS not in scope:
                raise error from None
        finally:
            self._record(scope, self._desk.clock.monotonic() - started)

    async def _fail(self, scope: Scope, send: Send, error: ChimeraError) -> None:
        if isinstance(error, DeniedError | UnauthorizedError):
            self._report("security-event", "warning", scope, {"reason": (error.data or {}).get("reason", error.code)})
        if STATUS in scope:
            return
        if isinstance(error, CancelledByCallerError):
            scope[STATUS] = error.status
            return
        status, headers, body = render(error, instance=path_of(scope))
        await answer(scope, send, status, headers, body)

    def _record(self, scope: Scope, seconds: float) -> None:
        operation: str = scope.get(OPERATION, _UNKNOWN)
        status: int = scope.get(STATUS, CancelledByCallerError.status)
        count = self._counts.get((operation, status))
        if count is None:
            count = self._first(operation, status)
        count.inc()
        self._spreads[operation].observe(seconds)
        changes = scope["method"] not in {"GET", "HEAD", "POST"} or status >= HTTPStatus.BAD_REQUEST
        if changes or _log.isEnabledFor(logging.DEBUG):
            fields = {"status": status, "duration_ms": round(seconds * 1000, 3)}
            self._report("access-log", "info" if changes else "debug", scope, fields)
        if seconds > self._desk.settings.slow_s:
            self._report("response-time", "warning", scope, {"status": status, "duration_ms": round(seconds * 1000, 3)})

    def _first(self, operation: str, status: int) -> Count:
        metrics = self._desk.metrics
        count = metrics.counter("chimera_http_requests_total", self._port, operation, str(status))
        self._counts[operation, status] = count
        spread = metrics.histogram("chimera_http_request_duration_seconds", self._port, operation)
        self._spreads.setdefault(operation, spread)
        return count

    def _report(self, name: str, level: str, scope: Scope, fields: dict[str, Any]) -> None:
        client = scope.get("client")
        line = f"{scope['method']} {path_of(scope)[:200]}"
        origin = {"operation": scope.get(OPERATION, _UNKNOWN), "client": client[0] if client else ""}
        self._desk.events(name, self._layer, line, level, {**origin, **fields})
