"""A circuit breaker: after too many failures work is refused for a while, then one probe decides.

Only faults of the guest count: traps, its own limits, broken ABI, a lost worker. Its refusal of an input is an answer.
Slowness counts when it passes the guest's *own* limit; a caller's shorter deadline does not, or one impatient caller
could shut an agent for everybody.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens and for how long.

    Attributes:
        failures: Failures within ``window_s`` that open it.
        window_s: How long a failure counts, in seconds.
        ratio: Fewest failures per result that open it, over the latest results: a busy agent that rarely fails
            stays on.
        open_s: Seconds until the first probe; doubled after each failed probe.
        max_open_s: Longest time between probes, in seconds.
    """

    failures: int = 5
    window_s: float = 30.0
    ratio: float = 0.5
    open_s: float = 10.0
    max_open_s: float = 120.0

    @property
    def results(self) -> int:
        """How many of the latest results the ratio covers."""
        return max(20, min(2 * self.failures, 1000))


Ticket = int
"""Leave to try once; results of a ticket from an earlier state are ignored."""


class Breaker:
    """The state machine. Time is an argument, in seconds that never go back."""

    __slots__ = ("_bits", "_failed", "_generation", "_open_s", "_policy", "_probe_until", "_seen", "_state", "_until")

    def __init__(self, policy: BreakerPolicy | None = None) -> None:
        self._policy = policy or BreakerPolicy()
        self._state: Literal["closed", "open"] = "closed"
        self._generation = 0
        self._bits = 0
        self._seen = 0
        self._failed: deque[float] = deque(maxlen=self._policy.failures)
        self._open_s = self._policy.open_s
        self._until = 0.0
        self._probe_until = 0.0

    def state(self, now: float) -> Literal["closed", "open", "half-open"]:
        """``closed`` lets through, ``open`` refuses, ``half-open`` lets one probe through at a time."""
        if self._state == "closed":
            return "closed"
        return "open" if now < self._until else "half-open"

    @property
    def failures(self) -> int:
        """Failures among the latest results."""
        return self._bits.bit_count()

    def retry_after(self, now: float) -> float:
        """Seconds until a try can be allowed; 0 if now."""
        if self._state == "closed":
            return 0.0
        return max(0.0, self._until - now, self._probe_until - now)

    def allow(self, now: float) -> Ticket | None:
        """A ticket for one try, or ``None`` while it is open or another probe is under way."""
        if self._state == "closed":
            return self._generation
        if now < self._until or now < self._probe_until:
            return None
        # a probe that never reports must not shut the agent for ever
        self._probe_until = now + self._open_s
        self._generation += 1
        return self._generation

    def record(self, ticket: Ticket, now: float, *, ok: bool) -> bool:
        """Take a result into account. True if it changed the state."""
        if ticket != self._generation:
            return False
        if self._state == "open":
            self._close() if ok else self._reopen(now)
            return True
        self._remember(now, ok=ok)
        if ok or not self._is_bad(now):
            return False
        self._open(now, self._policy.open_s)
        return True

    def release(self, ticket: Ticket) -> None:
        """Hand back a ticket that came to no result (cancelled, shed): the next try may be the probe."""
        if ticket == self._generation:
            self._probe_until = 0.0

    def _remember(self, now: float, *, ok: bool) -> None:
        results = self._policy.results
        self._bits = ((self._bits << 1) | (not ok)) & ((1 << results) - 1)
        self._seen = min(self._seen + 1, results)
        if not ok:
            self._failed.append(now)

    def _is_bad(self, now: float) -> bool:
        enough = len(self._failed) == self._policy.failures and now - self._failed[0] <= self._policy.window_s
        return enough and self.failures >= self._policy.ratio * self._seen

    def _open(self, now: float, seconds: float) -> None:
        self._state, self._open_s, self._until, self._probe_until = "open", seconds, now + seconds, 0.0
        self._generation += 1

    def _reopen(self, now: float) -> None:
        self._open(now, min(self._open_s * 2, self._policy.max_open_s))

    def _close(self) -> None:
        self._state, self._bits, self._seen, self._probe_until = "closed", 0, 0, 0.0
        self._failed.clear()
        self._open_s = self._policy.open_s
        self._generation += 1
