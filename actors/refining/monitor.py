"""Measures the ways between layers now and then, and tells what it measured."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial

import anyio

from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.errors import BreakerOpenError, ChimeraError, LayerNotRunningError, NotRunningError
from chimera.wire import decode, decode_any, encode
from subjects import PREFIX
from subjects.agent import LayerCheck
from subjects.insight import CheckEvolver, GetMonitor, Monitor
from subjects.layer import LAYERS, CheckLayer
from subjects.optimizer import LayerPair

from .keeping import Kept
from .link import Link, LinkSettings, OwnLink

TARGET_MS = 50.0
"""The runbook's target for a round trip between layers, at p95."""

PERIOD_S = 10.0
_STEP_S = 1.0
_WAY_S = 0.5
"""What the way to a layer that measures may take, beside what it measures."""


class LayerMonitor:
    """Every pair of layers that run, both ways: from here, and from each other layer as it measures itself.

    A layer is known by its name alone. One that can't measure (its actor is no ``Layered``) is only a target.

    Args:
        bus: The way to the layers.
        clock: Times the round trips.
    """

    def __init__(self, *, bus: Bus, clock: Clock) -> None:
        self._bus, self._clock = bus, clock
        self._kept = Kept(bus, "links", dict[str, LinkSettings])
        self.period_s = PERIOD_S
        self.own = {name: OwnLink(name, bus, clock.monotonic) for name in LAYERS if name != "optimizer"}
        self.others = [
            Link(source, target, partial(self._ask, source, target))
            for source in self.own
            for target in LAYERS
            if target != source
        ]

    @property
    def links(self) -> list[Link]:
        """Every pair that there could be."""
        return [*self.own.values(), *self.others]

    async def restore(self) -> None:
        """Put the settings in force that were kept; what can't be read is left at the defaults."""
        with suppress(ChimeraError):
            for name, settings in (await self._kept.read() or {}).items():
                if name in self.own:
                    self.own[name].configure(settings, self.period_s)

    async def run(self) -> None:
        """Measure every ``period_s``, for ever; a change of it is in force within a second."""
        while True:
            began = self._clock.monotonic()
            await self.measure()
            while (left := began + self.period_s - self._clock.monotonic()) > 0:
                await self._clock.sleep(min(_STEP_S, left))

    async def measure(self) -> None:
        """Measure every pair once: the ways from here first, at the same time, then those between layers that run."""
        await _measured(self.own.values())
        here = {"optimizer", *(name for name, link in self.own.items() if link.runs)}
        for link in self.others:
            link.runs = link.runs and {link.source, link.target} <= here
        await _measured(link for link in self.others if {link.source, link.target} <= here)

    async def monitor(self, _message: GetMonitor) -> Monitor:
        """Every pair, measured once more now."""
        await self.measure()
        return self.view()

    def view(self) -> Monitor:
        """Every pair that runs, as last measured."""
        pairs = [link.pair() for link in self.links if link.runs]
        measured = [pair.p95_ms for pair in pairs if pair.p95_ms is not None]
        good = all(pair.reachable for pair in pairs) and all(p95 <= TARGET_MS for p95 in measured)
        runs = {name: name == "optimizer" or self.own[name].runs for name in LAYERS}
        return Monitor(layers=runs, pairs=pairs, target_ms=TARGET_MS, within_target=good if measured else None)

    async def check_evolver(self, _message: CheckEvolver) -> LayerPair:
        """A round trip to the evolver now.

        Raises:
            LayerNotRunningError: If it does not run.
        """
        return await self.own["evolver"].measure()

    async def configure(self, changes: dict[str, LinkSettings]) -> None:
        """Keep settings of own links by target, then put them in force."""
        await self._kept.write({name: link.settings for name, link in self.own.items()} | changes)
        for name, settings in changes.items():
            self.own[name].configure(settings, self.period_s)

    async def _ask(self, source: str, target: str, timeout_s: float) -> LayerCheck:
        """A layer measures the way to another one itself, behind its own breaker."""
        asked = encode(CheckLayer(layer=target, timeout_s=timeout_s), "json")
        try:
            answer = await self._bus.request(
                f"{PREFIX}.{source}.check_layer", asked, timeout_s=timeout_s + _WAY_S
            )  # fmt: skip
        except NotRunningError as error:
            raise LayerNotRunningError(f"the {source} is not running, or does not measure") from error
        if "Nats-Service-Error-Code" in (answer.headers or {}):
            raise _refusal(answer.data)
        return decode(answer.data, LayerCheck)


def _refusal(data: bytes) -> ChimeraError:
    """Why a layer did not measure: its breaker is open, or there is nobody, or it does not know how to."""
    problem = decode_any(data)
    code = str(problem.get("code", "")) if isinstance(problem, dict) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - JSON
    if code == BreakerOpenError.code:
        return BreakerOpenError("it failed too often")
    return LayerNotRunningError(f"it was not measured: {code}")


async def _measured(links: Iterable[Link]) -> None:
    async with anyio.create_task_group() as group:
        for link in links:
            group.start_soon(_measure, link)


async def _measure(link: Link) -> None:
    with suppress(LayerNotRunningError):
        await link.measure()
