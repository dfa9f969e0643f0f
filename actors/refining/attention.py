"""Closer monitoring for a while: more log, more samples, and back again by itself, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import anyio
import msgspec

from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.errors import ChimeraError
from chimera.logs import LEVELS, Level, current_level, set_level
from subjects.insight import Enhanced, EnhanceMonitoring

from .keeping import Kept

SAMPLE_S = 1.0
"""Seconds between measurements while it is raised."""

_LEVELS: dict[str, Level] = {"DEBUG": "debug", "INFO": "info"}
_STEP_S = 1.0


class Sampler(Protocol):
    """What measures now and then."""

    period_s: float


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a raise, so that a restart goes on with it, or finds that its time is over."""

    until: float
    level: Level


class Attention:
    """Raises this node's log level and the samplers' rate for a bounded time.

    What it falls back to is what the settings say, also after a restart or a crash in between.

    Args:
        bus: Keeps it for this node.
        node: Name of this node.
        clock: Time.
        usual: The log level of the settings.
        samplers: What samples more often meanwhile.
        report: Writes an event.
        levels: Reads and sets the log level.
    """

    def __init__(
        self, *, bus: Bus, node: str, clock: Clock, usual: Level, samplers: tuple[Sampler, ...],
        report: Callable[..., Any],
        levels: tuple[Callable[[], Level], Callable[[Level], None]] = (current_level, set_level),
    ) -> None:  # fmt: skip
        self._kept = Kept(bus, f"attention.{node}", Raised)
        self._clock, self._samplers, self._report = clock, samplers, report
        self._level, self._set_level = levels
        self._usual_level: Level = usual
        self._usual_s = [sampler.period_s for sampler in samplers]
        self._until = 0.0
        self._turn = anyio.Lock()

    async def restore(self) -> None:
        """Go on with what was raised before a restart, or end it if its time is over."""
        with suppress(ChimeraError):
            kept = await self._kept.read()
            if kept is not None:
                self._raise(kept)
                self._end_if_over()

    async def run(self) -> None:
        """Fall back when the time is over, for ever."""
        while True:
            await self._clock.sleep(_STEP_S)
            async with self._turn:
                self._end_if_over()

    async def enhance(self, message: EnhanceMonitoring) -> Enhanced:
        """Raise it, or with ``seconds`` 0 end it now. Kept before it is in force.

        Raises:
            UnavailableError: If it can't be kept: then nothing is raised, as nothing could end it for sure.
        """
        async with self._turn:
            before = (self._level(), self._sample_s())
            until = self._clock.time() + message.seconds
            kept = Raised(until=until, level=_LEVELS[message.log_level])
            if message.seconds > 0:
                await self._kept.write(kept)
                self._raise(kept)
            else:
                self._fall_back()
                await self._kept.delete()
            now = self._level()
        words = f"log level {now} and a sample every {self._sample_s():g} s for {message.seconds:g} s"
        self._report("config-loaded", words, seconds=message.seconds)
        return Enhanced(
            until=until, log_level=now.upper(), sample_s=self._sample_s(), previous_log_level=before[0].upper(),
            previous_sample_s=before[1],
        )  # fmt: skip

    def close(self) -> None:
        """Fall back now, when the actor stops; a restart raises it again from what was kept."""
        if self._until:
            self._fall_back()

    def _raise(self, kept: Raised) -> None:
        if not self._until:
            self._usual_s = [sampler.period_s for sampler in self._samplers]
        self._until = kept.until
        lower = LEVELS[kept.level] < LEVELS[self._usual_level]
        self._set_level(kept.level if lower else self._usual_level)
        for sampler, usual_s in zip(self._samplers, self._usual_s, strict=True):
            sampler.period_s = min(usual_s, SAMPLE_S)

    def _end_if_over(self) -> None:
        if self._until and self._clock.time() >= self._until:
            self._fall_back()
            self._report("config-loaded", f"monitoring is back at level {self._usual_level}, by itself")

    def _fall_back(self) -> None:
        if self._until:
            self._set_level(self._usual_level)
            for sampler, usual_s in zip(self._samplers, self._usual_s, strict=True):
                sampler.period_s = usual_s
        self._until = 0.0

    def _sample_s(self) -> float:
        return min((sampler.period_s for sampler in self._samplers), default=0.0)
