"""Measures the ways between layers now and then, and tells what it measured."""

from __future__ import annotations

from contextlib import suppress

import anyio

from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.errors import ChimeraError, LayerNotRunningError, NotRunningError
from chimera.wire import decode, encode
from subjects.agent import CHECK_OPTIMIZER, LayerCheck
from subjects.insight import CheckEvolver, GetMonitor, Monitor
from subjects.optimizer import LayerPair

from .keeping import Kept
from .link import Link, LinkSettings, OwnLink

LAYERS = ("agent", "scheduler", "optimizer", "evolver", "gpu_broker")
TARGET_MS = 50.0
"""The runbook's target for a round trip between layers, at p95."""

PERIOD_S = 10.0
_STEP_S = 1.0


class LayerMonitor:
    """Every pair of layers that has a way to be measured: from here to each other layer, and from the agent back.

    Args:
        bus: The way to the layers.
        clock: Times the round trips.
    """

    def __init__(self, *, bus: Bus, clock: Clock) -> None:
        self._bus, self._clock = bus, clock
        self._kept = Kept(bus, "links", dict[str, LinkSettings])
        self.period_s = PERIOD_S
        self.own = {name: OwnLink(name, bus, clock.monotonic) for name in LAYERS if name != "optimizer"}
        self.links: list[Link] = [*self.own.values(), Link("agent", "optimizer", self._ask_agent)]

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
        """Measure every pair once, at the same time."""
        async with anyio.create_task_group() as group:
            for link in self.links:
                group.start_soon(_measure, link)

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

    async def _ask_agent(self, timeout_s: float) -> LayerCheck:
        """The agent actor measures the way back itself, behind its own breaker."""
        try:
            answer = await self._bus.request(CHECK_OPTIMIZER.subject, encode({}, "json"), timeout_s=timeout_s)
        except NotRunningError as error:
            raise LayerNotRunningError("the agent is not running") from error
        return decode(answer.data, LayerCheck)


async def _measure(link: Link) -> None:
    with suppress(LayerNotRunningError):
        await link.measure()
