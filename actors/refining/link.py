"""The way from one layer to another: asked, timed, and the last answers remembered."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from actors.execution.breaker import BreakerPolicy
from actors.execution.layers import Layer
from chimera.bus.contract import Bus
from chimera.errors import BreakerOpenError, ChimeraError, LayerNotRunningError
from subjects.agent import BreakerState, LayerCheck
from subjects.optimizer import LayerPair

from .benchmarks import quantiles

RING = 240
"""Checks that the figures of a pair cover."""

CLOSED = BreakerState(state="closed", failures=0)


class LinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a layer is asked: seconds until a check counts as failed, failed checks that open the breaker."""

    timeout_s: float = 2.0
    failures: int = 3


class Link:
    """One pair of layers.

    Args:
        source: The layer that asks.
        target: The layer that is asked.
        check: Asks within so many seconds; raises ``LayerNotRunningError`` if there is nobody.

    Attributes:
        taken: Checks since it was made; ``lost`` of them failed.
    """

    def __init__(self, source: str, target: str, check: Callable[[float], Awaitable[LayerCheck]]) -> None:
        self.source, self.target = source, target
        self.settings = LinkSettings()
        self.runs = False
        self._check = check
        self._recent: deque[float | None] = deque(maxlen=RING)
        self._breaker = CLOSED
        self._reachable = False
        self.taken = self.lost = 0

    @property
    def name(self) -> str:
        """The pair in one word."""
        return f"{self.source}-{self.target}"

    @property
    def latencies_ms(self) -> list[float]:
        """Round trips of the recent checks that were answered, oldest first."""
        return [passed for passed in self._recent if passed is not None]

    @property
    def checks(self) -> int:
        """Recent checks."""
        return len(self._recent)

    @property
    def failures(self) -> int:
        """Recent checks that failed."""
        return sum(passed is None for passed in self._recent)

    async def measure(self) -> LayerPair:
        """Ask now, and remember how long it took.

        Raises:
            LayerNotRunningError: If the target does not run; then there is no pair to tell of.
        """
        try:
            found = await self._check(self.settings.timeout_s)
        except LayerNotRunningError:
            self.runs = self._reachable = False
            raise
        except BreakerOpenError as error:  # not asked, so there is nothing to remember
            self._reachable = False
            self._breaker = BreakerState(state="open", failures=self.failures, retry_after_s=error.retry_after_s or 0.0)
        except ChimeraError:
            self._take(None, self._breaker)
        else:
            self._take(found.latency_ms if found.reachable else None, found.breaker)
        self.runs = True
        return self.pair()

    def pair(self) -> LayerPair:
        """What the recent checks say."""
        ordered = self.latencies_ms
        p50, p95, _ = quantiles(ordered) if ordered else (None, None, None)
        return LayerPair(
            source=self.source, target=self.target, reachable=self._reachable, checks=self.checks,
            failures=self.failures, p50_ms=p50, p95_ms=p95, breaker=self._breaker,
        )  # fmt: skip

    def _take(self, passed_ms: float | None, breaker: BreakerState) -> None:
        self._recent.append(passed_ms)
        self.taken, self.lost = self.taken + 1, self.lost + (passed_ms is None)
        self._reachable = passed_ms is not None
        self._breaker = breaker


class OwnLink(Link):
    """The way from the optimizer to another layer, behind a breaker of its own."""

    def __init__(self, target: str, bus: Bus, now: Callable[[], float]) -> None:
        super().__init__("optimizer", target, self._ask)
        self._bus, self._now = bus, now
        self._layer = Layer(target, bus, now)

    def configure(self, settings: LinkSettings, period_s: float) -> None:
        """Ask in this way from now on; failed checks count together while they are this many periods apart."""
        self.settings = settings
        policy = BreakerPolicy(failures=settings.failures, window_s=max(30.0, 2 * settings.failures * period_s))
        self._layer = Layer(self.target, self._bus, self._now, policy)

    async def _ask(self, timeout_s: float) -> LayerCheck:
        return await self._layer.check(timeout_s)
