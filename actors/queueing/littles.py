"""Rates, and how many workers they ask for."""

from __future__ import annotations

import math


class Rate:
    """Events per second over a sliding ``window_s``, in ``slots`` steps. Bounded whatever the traffic."""

    def __init__(self, now: float, window_s: float = 60.0, slots: int = 60) -> None:
        self._step = window_s / slots
        self._counts = [0] * slots
        self._at = math.floor(now / self._step)
        self._since = now
        self._window_s = window_s

    def add(self, now: float, count: int = 1) -> None:
        """Count events at ``now``."""
        self._turn(now)
        self._counts[self._at % len(self._counts)] += count

    def per_s(self, now: float) -> float:
        """Events per second over the window, or over the time since the start if that is shorter."""
        self._turn(now)
        return sum(self._counts) / max(self._step, min(self._window_s, now - self._since))

    def _turn(self, now: float) -> None:
        at = math.floor(now / self._step)
        if at <= self._at:
            return
        for slot in range(self._at + 1, min(at, self._at + len(self._counts)) + 1):
            self._counts[slot % len(self._counts)] = 0
        self._at = at


def desired_workers(
    in_per_s: float, run_s: float, backlog: int, *, utilisation: float = 0.8, clear_s: float = 60.0
) -> int:
    """Workers for today's arrivals at ``utilisation`` (Little: L = rate * time), and the backlog gone in ``clear_s``.

    0 where there is neither work nor arrivals: idle agents may be scaled to nothing.
    """
    if in_per_s <= 0 and backlog <= 0:
        return 0
    return max(1, math.ceil((in_per_s / utilisation + backlog / clear_s) * run_s - 1e-9))
