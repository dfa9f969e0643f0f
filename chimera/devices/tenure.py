"""How long a lease may be used by its holder: a time of its own, that no clock of another machine decides."""

from __future__ import annotations

import time
from dataclasses import dataclass

USABLE = 0.8
"""Share of its time to live after which a holder stops by itself: it must be gone before anybody else may begin."""

RENEW_AFTER = 1 / 3
"""Share of the time to live after which it is renewed: two more tries fit in before the holder must stop."""


def boot_time() -> float:
    """Seconds since boot, suspension included: what a lease grows older by while a machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


@dataclass(slots=True)
class Tenure:
    """The time that one grant and its renewals give a holder.

    It counts from before the request was sent: the broker counts from when it took it, which is later. So clocks need
    not agree, only run at about the same rate.

    Attributes:
        ttl_s: Time to live that was granted.
        sent_at: When the last request that was granted was sent, in seconds of ``boot_time``.
    """

    ttl_s: float
    sent_at: float

    @property
    def ends_at(self) -> float:
        """When the holder stops, unless it was renewed."""
        return self.sent_at + USABLE * self.ttl_s

    @property
    def renew_at(self) -> float:
        """When to ask for more."""
        return self.sent_at + RENEW_AFTER * self.ttl_s

    def renewed(self, sent_at: float, ttl_s: float) -> None:
        """A renewal that was sent at ``sent_at`` was granted. An answer that comes late never shortens the time."""
        if sent_at + USABLE * ttl_s > self.ends_at:
            self.sent_at, self.ttl_s = sent_at, ttl_s

    def is_over(self, now: float) -> bool:
        """Whether the holder must have stopped."""
        return now >= self.ends_at
