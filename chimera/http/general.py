"""What every port answers besides its operations: liveness, readiness, health, metrics, its document, its index."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import anyio
import msgspec
from anyio import to_thread
from starlette.types import Receive, Scope, Send

from chimera._version import __version__
from chimera.errors import ChimeraError
from chimera.metrics.registry import CONTENT_TYPE
from subjects import OPERATIONS, Operation, Port

from .desk import OPERATION, Desk, answer
from .problems import json_headers
from .settings import LAYERS

PROBE_S = 2.0
"""How long the checks of readiness may take, in seconds."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a general row answers."""

    body: bytes
    status: int = 200
    kind: bytes = b"application/json"


class PageEndpoint:
    """Serves a page that is made anew for each request."""

    def __init__(self, name: str, make: Callable[[Scope], Awaitable[Page]]) -> None:
        self.name = name
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Answer one request."""
        scope[OPERATION] = self.name
        page = await self._make(scope)
        await answer(scope, send, page.status, json_headers(len(page.body), page.kind), page.body)


class General:
    """The general rows of one port."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def livez(self, scope: Scope) -> Page:  # noqa: ARG002 - a page is made from its scope
        """The process answers; no dependency is asked."""
        return _page({"status": "pass"})

    async def readyz(self, scope: Scope) -> Page:
        """Whether requests can be served here: bus, store and supervision tree. ``?verbose`` gives a line per check."""
        checks = await self._checks()
        failed = [name for name, state in checks.items() if state != "ok"]
        status = 503 if failed else 200
        if b"verbose" in scope["query_string"]:
            return Page(_verbose(checks, failed).encode(), status, b"text/plain; charset=utf-8")
        return _page({"status": "fail" if failed else "pass", "checks": checks}, status)

    async def health(self, scope: Scope) -> Page:  # noqa: ARG002 - a page is made from its scope
        """Readiness with what the layer's own ``health`` operation says."""
        checks = await self._checks()
        status = "pass" if all(state == "ok" for state in checks.values()) else "fail"
        detail: dict[str, Any] = {"node": self._desk.probe.node(), "version": __version__}
        operation = health_operation(self._desk.port)
        if operation is not None:
            try:
                reply = await self._desk.caller.ask(operation.request(), timeout_s=PROBE_S)
                detail = msgspec.to_builtins(reply)
            except ChimeraError as error:
                detail["checks"] = {operation.actor: f"{error.code}: {error.detail}"}
                detail["status"] = "fail"
        status = _worse(status, detail.pop("status", "pass"))
        alarms = {name.lower(): f"warn: {text}" for name, text in self._desk.probe.alarms().items()}
        status = _worse(status, "warn" if alarms else "pass")
        merged = {"status": status, **detail, "checks": {**detail.get("checks", {}), **alarms, **checks}}
        return _page(merged, 503 if status == "fail" else 200)

    async def metrics(self, scope: Scope) -> Page:  # noqa: ARG002 - a page is made from its scope
        """The Prometheus text."""
        await to_thread.run_sync(self._desk.metrics.prepare)
        return Page(self._desk.metrics.exposition(), kind=CONTENT_TYPE.encode())

    async def document(self, scope: Scope) -> Page:  # noqa: ARG002 - a page is made from its scope
        """The OpenAPI document of this port."""
        return self._document

    async def index(self, scope: Scope) -> Page:  # noqa: ARG002 - a page is made from its scope
        """What can be asked here."""
        port = self._desk.port
        faces = [
            {"method": face.method, "path": face.path, "operation": operation.name, "summary": operation.summary}
            for operation in OPERATIONS
            if operation.port == port
            for face in operation.http
        ]
        names = {"name": "chimera", "version": __version__, "layer": LAYERS[port], "node": self._desk.probe.node()}
        return _page({**names, "document": "/openapi.json", "operations": faces})

    @cached_property
    def _document(self) -> Page:
        from chimera.documents import openapi  # noqa: PLC0415 - only who asks for the document pays for making it

        return _page(openapi(self._desk.port, self._desk.settings.pages))

    async def _checks(self) -> dict[str, str]:
        checks = {"started": "ok" if self._desk.probe.is_ready() else "not yet, or draining"}
        with anyio.move_on_after(PROBE_S) as limit:
            checks.update(await self._desk.probe.readiness())
        if limit.cancelled_caught:
            checks["probe"] = f"no answer within {PROBE_S:g} s"
        return checks


def health_operation(port: Port) -> Operation[Any, Any] | None:
    """The operation whose answer ``/health`` of a port shows, if the port has one."""
    return next((found for found in OPERATIONS if found.port == port and found.verb == "health"), None)


def _worse(one: str, other: str) -> str:
    return max(one, other, key=("pass", "warn", "fail").index)


def _page(value: Any, status: int = 200) -> Page:
    return Page(msgspec.json.encode(value), status)


def _verbose(checks: dict[str, str], failed: list[str]) -> str:
    lines = [f"[+]{name} ok" if state == "ok" else f"[-]{name} failed: {state}" for name, state in checks.items()]
    return "\n".join([*lines, "readyz check failed" if failed else "readyz check passed", ""])
