"""Round trips to other layers: measured, behind a breaker each, never answered with a made-up number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chimera import Actor, handles
from chimera.bus.contract import Bus, Delivery
from chimera.errors import (
    BreakerOpenError,
    ChimeraError,
    DeadlineError,
    LayerNotRunningError,
    NotRunningError,
    UnavailableError,
)
from chimera.wire import decode_any, encode
from subjects.agent import BreakerState, LayerCheck
from subjects.layer import CheckLayer

from .answers import breaker_state
from .breaker import Breaker, BreakerPolicy


class Layer:
    """Another layer, asked over the bus.

    Args:
        name: Its actor, also the second token of its subjects.
        bus: The way to it.
        now: Monotonic seconds.
        policy: When it is no longer asked for a while.
    """

    def __init__(self, name: str, bus: Bus, now: Callable[[], float], policy: BreakerPolicy | None = None) -> None:
        self.name = name
        self._bus = bus
        self._now = now
        self._breaker = Breaker(policy or BreakerPolicy(failures=3))

    @property
    def breaker(self) -> BreakerState:
        """Whether it is asked at all."""
        return breaker_state(self._breaker, self._now())

    async def check(self, timeout_s: float) -> LayerCheck:
        """One round trip to its ``health``; ``reachable`` is false if no answer came in time.

        Raises:
            LayerNotRunningError: If nobody answers there.
        """
        began = self._now()
        try:
            await self._request("health", {}, timeout_s)
            reachable = True
        except DeadlineError:
            reachable = False
        latency_ms = (self._now() - began) * 1e3
        return LayerCheck(layer=self.name, reachable=reachable, latency_ms=latency_ms, breaker=self.breaker)

    async def ask(self, verb: str, body: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """The layer's answer to a request.

        Raises:
            LayerNotRunningError: If nobody answers there.
            BreakerOpenError: If it failed too often just now.
            UnavailableError: If it answers with an error.
        """
        delivery = await self._request(verb, body, timeout_s)
        headers = delivery.headers or {}
        if "Nats-Service-Error" in headers:
            raise UnavailableError(f"the {self.name} answered: {headers['Nats-Service-Error']}")
        answer = decode_any(delivery.data)
        if not isinstance(answer, dict):
            raise UnavailableError(f"the {self.name} answered with something else than an object")
        return answer  # pyright: ignore[reportUnknownVariableType] - JSON keys are texts

    async def _request(self, verb: str, body: dict[str, Any], timeout_s: float) -> Delivery:
        ticket = self._breaker.allow(self._now())
        if ticket is None:
            raise BreakerOpenError(
                f"the {self.name} failed too often", retry_after_s=self._breaker.retry_after(self._now())
            )
        try:
            delivery = await self._bus.request(f"chimera.{self.name}.{verb}", encode(body, "json"), timeout_s=timeout_s)
        except NotRunningError as error:
            # known at once and for sure: there is nothing to protect, and the next try must tell the truth
            self._breaker.release(ticket)
            raise LayerNotRunningError(f"the {self.name} is not running") from error
        except ChimeraError:
            self._breaker.record(ticket, self._now(), ok=False)
            raise
        self._breaker.record(ticket, self._now(), ok=True)
        return delivery


class Layered(Actor):
    """An actor that stands for a layer: it measures the way to any other one, by name, behind a breaker for each.

    A subclass has ``_bus``, the way to them.
    """

    _bus: Bus

    @handles(interleave=True)
    async def check_layer(self, message: CheckLayer) -> LayerCheck:
        """A measured round trip from here to another layer."""
        return await self.way_to(message.layer).check(message.timeout_s)

    def way_to(self, layer: str) -> Layer:
        """The way to a layer, always the same: its breaker remembers."""
        ways: dict[str, Layer] = self.__dict__.setdefault("_ways", {})
        if layer not in ways:
            ways[layer] = Layer(layer, self._bus, self.ctx.clock.monotonic)
        return ways[layer]
