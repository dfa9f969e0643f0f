"""How many connections are open, all together and per address."""

from __future__ import annotations

from collections import Counter

from chimera.metrics import Metrics


class Ledger:
    """Counts connections of all ports and says when one is too many.

    Args:
        total: Most open connections.
        per_address: Most open connections of one address.
        metrics: Where refusals are counted and the open ones are shown.
    """

    def __init__(self, total: int, per_address: int, metrics: Metrics) -> None:
        self._total = total
        self._per_address = per_address
        self._metrics = metrics
        self._open: Counter[str] = Counter()
        self._count = 0
        metrics.at_scrape("chimera_http_connections", lambda: {(): float(self._count)})

    @property
    def count(self) -> int:
        """Open connections."""
        return self._count

    def enter(self, address: str) -> bool:
        """Count a connection in; False if it is one too many. ``leave`` must follow either way."""
        self._count += 1
        self._open[address] += 1
        return self._count <= self._total and self._open[address] <= self._per_address

    def leave(self, address: str) -> None:
        """Count a connection out."""
        self._count -= 1
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def refused(self, reason: str) -> None:
        """Count a connection that was closed before its answer: ``too-many``, ``slow`` or ``malformed``."""
        self._metrics.counter("chimera_http_connections_refused_total", reason).inc()
