"""What the broker measures: for its health, and for Prometheus."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from chimera.metrics import Count, Metrics, Reading

if TYPE_CHECKING:
    from .core import Core

_KEPT = 1000
_RATE_S = 10.0


class Figures:
    """Counts grants and ends, and shows levels at each scrape.

    Args:
        metrics: The process's metrics; ``None`` = nobody scrapes.
    """

    def __init__(self, metrics: Metrics | None) -> None:
        self._metrics = Metrics() if metrics is None else metrics
        self._took: deque[float] = deque(maxlen=_KEPT)
        self._at: deque[float] = deque(maxlen=_KEPT)
        self._latency = self._metrics.histogram("chimera_broker_grant_duration_seconds")
        self._ends: dict[str, Count] = {}
        self._shown: dict[str, Reading] = {}
        self._now = 0.0

    def granted(self, took_s: float, now: float) -> None:
        """A lease was granted, so long after it was asked for."""
        self._took.append(took_s)
        self._at.append(now)
        self._latency.observe(took_s)

    def ended(self, how: str) -> None:
        """A lease ended."""
        count = self._ends.get(how)
        if count is None:
            count = self._ends[how] = self._metrics.counter("chimera_broker_ended_leases_total", how)
        count.inc()

    def refused(self, code: str) -> None:
        """A request was refused."""
        self._metrics.counter("chimera_broker_refused_requests_total", code).inc()

    def rate(self, now: float) -> float:
        """Grants per second over the last seconds."""
        recent = sum(1 for at in self._at if now - at <= _RATE_S)
        if recent == _KEPT:
            return recent / max(1e-3, now - self._at[0])
        return recent / _RATE_S

    def quantile(self, share: float) -> float | None:
        """Milliseconds within which this share of the last grants was made."""
        if not self._took:
            return None
        ordered = sorted(self._took)
        return 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def show(self, readings: dict[str, Reading]) -> None:
        """Show levels at each scrape, until ``stop``."""
        self._shown = readings
        for name, reading in readings.items():
            self._metrics.at_scrape(name, reading)

    def stop(self) -> None:
        """Show nothing any more."""
        for name, reading in self._shown.items():
            self._metrics.no_longer(name, reading)
        self._shown = {}


def readings(core: Core, waiting: Reading) -> dict[str, Reading]:
    """Every level, by the metric that shows it."""

    def by_kind(lent: bool) -> dict[tuple[str, ...], float]:  # noqa: FBT001 - private
        found = {("gpu",): 0.0, ("cpu",): 0.0}
        for record in core.registry.records():
            milli = sum(grant.milli for grant in record.grants) if lent else record.milli
            found[record.kind,] += milli / 1000.0
        return found

    def told(name: str, unit: float = 1.0) -> Reading:
        def read() -> dict[tuple[str, ...], float]:
            own = core.census.nodes.get(core.node)  # every broker shows the devices beside it, and no other does
            words = own.devices.values() if own is not None and core.census.hears(core.node) else ()
            values = {word.id: getattr(word, name) for word in words}
            return {(core.node, device): unit * value for device, value in values.items() if value is not None}

        return read

    def ill() -> dict[tuple[str, ...], float]:
        bad = sum(1 for one in core.registry.records() if one.trouble or not core.census.usable(one))
        return {(): float(bad)}

    return {
        "chimera_broker_devices": lambda: by_kind(lent=False),
        "chimera_broker_lent_devices": lambda: by_kind(lent=True),
        "chimera_broker_leases": lambda: {(): float(core.registry.live())},
        "chimera_broker_waiting_requests": waiting,
        "chimera_broker_ill_devices": ill,
        "chimera_broker_conflicts_total": lambda: {(): float(core.book.conflicts)},
        "chimera_device_utilization_ratio": told("utilization"),
        "chimera_device_power_watts": told("power_w"),
        "chimera_device_temperature_celsius": told("temperature_c"),
        "chimera_device_memory_used_bytes": told("memory_used_mib", float(1 << 20)),
    }
