"""How fast something may start: a token bucket."""

from __future__ import annotations


class TokenBucket:
    """``rate`` starts per second with bursts of up to ``burst``.

    Args:
        rate: Starts per second; 0 = no limit.
        burst: Most starts at once; by default what one second gives, at least 1.
        now: Time at the start, in the seconds of every later ``now``.
    """

    def __init__(self, rate: float, now: float, burst: float | None = None) -> None:
        self.rate = rate
        self.burst = max(1.0, rate) if burst is None else burst
        self._tokens = self.burst
        self._at = now

    def wait_s(self, now: float) -> float:
        """Seconds until a start is free; 0 = now."""
        if self.rate <= 0:
            return 0.0
        self._fill(now)
        return max(0.0, (1.0 - self._tokens) / self.rate)

    def take(self, now: float) -> bool:
        """Start one, if it is free."""
        if self.rate <= 0:
            return True
        self._fill(now)
        if self._tokens < 1.0 - 1e-9:
            return False
        self._tokens -= 1.0
        return True

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
            self._at = now
