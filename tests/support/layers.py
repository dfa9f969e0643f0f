"""A monitor of layers on a bus where every layer answers as a test says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.refining.integration import Integration
from actors.refining.link import CLOSED
from actors.refining.monitor import LayerMonitor
from actors.refining.probation import Probation
from chimera.bus.contract import Delivery
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.errors import DeadlineError, NotRunningError
from chimera.store.contract import Store
from chimera.testing import ManualClock
from chimera.wire import decode, encode
from subjects.agent import ConfigureBatching, LayerCheck
from subjects.layer import CheckLayer


class Passing(ManualClock):
    """A clock that an answer moves."""

    def pass_by(self, seconds: float) -> None:
        """Let time go by."""
        self._now += seconds


class Layers(MemoryBus):
    """A bus on which layers answer after times that a test knows: in ms, ``None`` = never, missing = nobody there."""

    def __init__(self, hub: MemoryHub, clock: Passing) -> None:
        super().__init__(hub)
        self.time = clock
        self.layers: dict[str, Any] = {}
        self.waited: list[float] = []
        self.refusing: dict[str, str] = {}

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float = 5.0, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """Answer for a layer, and let as much time go by."""
        del headers
        _, layer, verb = subject.split(".")
        if verb == "check_layer":
            return self._measured(layer, decode(data, CheckLayer))
        if layer not in self.layers:
            raise NotRunningError(f"nobody at {subject}")
        passed = self.layers[layer]
        self.waited.append(timeout_s)
        if passed is None:
            self.time.pass_by(timeout_s)
            raise DeadlineError("no answer", stage="sent")
        self.time.pass_by(passed / 1e3)
        return Delivery(subject, encode({}, "json"))

    def _measured(self, source: str, message: CheckLayer) -> Delivery:
        """What a layer says of the way to another; some can't measure, and say so."""
        if source in self.refusing:
            headers = {"Nats-Service-Error-Code": "503"}
            return Delivery("", encode({"code": self.refusing[source]}, "json"), headers=headers)
        if source not in self.layers:
            raise NotRunningError(f"nobody at {source}")
        check = LayerCheck(layer=message.layer, reachable=True, latency_ms=3.5, breaker=CLOSED)
        return Delivery("", encode(check, "json"))


class Stage:
    """A monitor on such a bus."""

    def __init__(self, hub: MemoryHub | None = None) -> None:
        self.clock = Passing()
        self.bus = Layers(hub or MemoryHub(), self.clock)
        self.monitor = LayerMonitor(bus=self.bus, clock=self.clock)
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def integration(self, store: Store, ask: Any = None) -> Integration:
        """The part that follows from it."""

        async def ignore(_message: Any) -> None: ...

        shipped = ConfigureBatching(batch_size=32, batch_timeout_ms=2.0)
        self.probation = Probation(
            monitor=self.monitor, bus=self.bus, store=store, ask=ask or ignore, clock=self.clock, report=self.report
        )  # fmt: skip
        return Integration(
            monitor=self.monitor, store=store, ask=ask or ignore, batching=shipped, clock=self.clock,
            probation=self.probation, report=self.report,
        )  # fmt: skip

    def report(self, name: str, words: str, **fields: Any) -> None:
        """Note an event."""
        self.events.append((name, words, fields))
