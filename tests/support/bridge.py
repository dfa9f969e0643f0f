"""Doubles for the bridge's tests: a caller that records, a probe that says what it is told, time that stands still."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import msgspec
from msgspec import inspect as shapes
from starlette.applications import Starlette

from chimera import wire
from chimera.errors import ChimeraError
from chimera.http import BridgeSettings, build_app
from chimera.metrics import Metrics
from chimera.store.contract import Store
from subjects import Operation, Port, operation_of

TOKEN = "a-token-for-tests-only"
__all__ = ["TOKEN", "FakeCaller", "FakeProbe", "ManualClock", "Rig", "client_of", "reply_to"]


class ManualTimer:
    """A callback that waits for ``ManualClock.advance``."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget it."""
        self.callback = None


class ManualClock:
    """Time that moves only when told."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, ManualTimer]] = []

    def monotonic(self) -> float:
        """The time."""
        return self.now

    def time(self) -> float:
        """The same time, as Unix seconds."""
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> ManualTimer:
        """Queue a callback."""
        timer = ManualTimer(callback)
        heapq.heappush(self._timers, (self.now + delay, next(self._order), timer))
        return timer

    async def sleep(self, delay: float) -> None:
        """Move the time."""
        self.advance(delay)

    def advance(self, seconds: float) -> None:
        """Move the time and run what became due."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        self.now = end


class FakeCaller:
    """Answers every operation of the agent layer with a valid reply, and records what it was asked.

    Messages go through msgpack there and back, as they would on the bus.
    """

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.timeouts: list[float | None] = []
        self.traces: list[str] = []
        self.error: ChimeraError | Exception | None = None
        self.hook: Callable[[Any], Any] | None = None
        self.streamed: list[Any] = []
        self.endless = False
        self.failure: ChimeraError | None = None
        self.streams_ended = 0

    async def ask(self, message: Any, *, timeout_s: float | None = None, trace: str = "") -> Any:
        """A reply of the declared type, the set error, or what ``hook`` gives."""
        kind = cast("type[Any]", type(message))
        message = wire.decode(wire.encode(message), kind, "msgpack")
        self.asked.append(message)
        self.timeouts.append(timeout_s)
        self.traces.append(trace)
        if self.error is not None:
            raise self.error
        if self.hook is not None:
            return await self.hook(message)
        operation = operation_of(kind)
        assert operation is not None
        return reply_to(operation, message)

    async def stream(self, message: Any, *, timeout_s: float | None = None) -> AsyncGenerator[Any]:
        """What ``streamed`` holds, after the set error; then it waits if ``endless``."""
        self.asked.append(message)
        self.timeouts.append(timeout_s)
        if self.error is not None:
            raise self.error
        try:
            for item in self.streamed:
                yield item
            if self.failure is not None:
                raise self.failure
            if self.endless:
                await anyio.sleep_forever()
        finally:
            self.streams_ended += 1


class FakeProbe:
    """Says what ``checks`` says."""

    def __init__(self) -> None:
        self.checks = {"bus": "ok", "store": "ok", "tree": "ok"}
        self.ready = True

    async def readiness(self) -> dict[str, str]:
        """The checks."""
        return dict(self.checks)

    def alarms(self) -> dict[str, str]:
        """None."""
        return {}

    def node(self) -> str:
        """A name."""
        return "test-node"

    def is_ready(self) -> bool:
        """As set."""
        return self.ready


class Rig:
    """One application with its doubles."""

    def __init__(
        self,
        *,
        port: Port = Port.AGENT,
        settings: BridgeSettings | None = None,
        store: Store | None = None,
        clock: ManualClock | None = None,
    ) -> None:
        self.caller = FakeCaller()
        self.probe = FakeProbe()
        self.metrics = Metrics(node="test-node")
        self.clock = clock or ManualClock()
        self.scope: dict[str, Any] = {}
        self.events: list[tuple[str, str, str, dict[str, Any]]] = []
        self.settings = settings or BridgeSettings(data=Path("unused"))
        self.app: Starlette = build_app(
            port, self.caller, self.probe, self.settings,
            store=store, metrics=self.metrics, clock=self.clock, token=TOKEN, events=self._take,
        )  # fmt: skip

    def client(self) -> httpx.AsyncClient:
        """A client inside this process."""
        return client_of(self.app)

    def _take(self, name: str, layer: str, message: str, level: str, fields: dict[str, Any]) -> None:  # noqa: ARG002 - the sink's shape
        self.events.append((name, layer, level, fields))


def client_of(app: Starlette) -> httpx.AsyncClient:
    """A client that calls the application without a socket."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://localhost"
    )


def reply_to(operation: Operation[Any, Any], message: Any) -> Any:
    """A valid reply of the declared type: the least of every field, and the request's own where names agree."""
    fields = _least_struct(shapes.type_info(operation.reply))
    asked = {name: getattr(message, name, None) for name in fields}
    echoed = {
        name: value for name, value in asked.items() if value is not None and not isinstance(value, msgspec.Struct)
    }
    if operation.name == "agent.predict":
        echoed["output"] = message.input
    return msgspec.convert({**fields, **echoed}, operation.reply)


def _least_struct(shape: shapes.Type) -> dict[str, Any]:
    assert isinstance(shape, shapes.StructType)
    return {field.encode_name: _least(field.type) for field in shape.fields if field.required}


def _least(shape: shapes.Type) -> Any:
    """The plainest value of a type."""
    if isinstance(shape, shapes.Metadata):
        return _least(shape.type)
    if isinstance(shape, shapes.UnionType):
        return None if shape.includes_none else _least(shape.types[0])
    make = _PLAINEST.get(type(shape))
    return make(shape) if make is not None else None


_PLAINEST: dict[type, Callable[[Any], Any]] = {
    shapes.LiteralType: lambda shape: "pass" if "pass" in shape.values else shape.values[0],
    shapes.StructType: _least_struct,
    shapes.StrType: lambda shape: "0" * 64 if "64" in (shape.pattern or "") else "0",
    shapes.IntType: lambda shape: shape.ge or 0,
    shapes.FloatType: lambda shape: shape.ge or 0.0,
    shapes.BoolType: lambda _: False,
    shapes.BytesType: lambda _: b"",
    shapes.ListType: lambda _: [],
    shapes.VarTupleType: lambda _: [],
    shapes.DictType: lambda _: {},
}
