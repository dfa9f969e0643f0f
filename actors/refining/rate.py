"""How many a second, over the last minute."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60


class Rate:
    """Counts per second of the last minute.

    Args:
        now: Monotonic seconds of the start.
    """

    def __init__(self, now: float) -> None:
        self._began = now
        self._seconds: deque[list[int]] = deque()

    def add(self, now: float, count: int = 1) -> None:
        """Count what happened now (monotonic seconds)."""
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += count
            return
        self._seconds.append([second, count])
        self._trim(second)

    def count(self, now: float) -> int:
        """How many there were in the last minute."""
        self._trim(int(now))
        return sum(count for _, count in self._seconds)

    def per_s(self, now: float) -> float:
        """The mean over the last minute, or since the start if that is less."""
        return self.count(now) / min(float(WINDOW_S), max(1.0, now - self._began))

    def _trim(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - WINDOW_S:
            self._seconds.popleft()
