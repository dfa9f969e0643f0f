"""Every deadline of a node in one table: a timer per 10 ms that has any, not one per ask."""

from __future__ import annotations

from typing import Protocol

from .clock import Clock, Timer

RESOLUTION_S = 0.01
"""Deadlines fire up to this much late, never early. A timer per ask would cost three times the ask itself."""

_PER_S = 1 / RESOLUTION_S
_ROUNDING_S = 1e-6


class Expiring(Protocol):
    """Something that ends when its time is over."""

    def expire(self) -> None:
        """The deadline passed. Must not raise."""
        ...


class Deadlines:
    """Expires what is added unless it is discarded first."""

    __slots__ = ("_buckets", "_clock", "_timers")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[int, set[Expiring]] = {}
        self._timers: dict[int, Timer] = {}

    def add(self, deadline: float, item: Expiring) -> None:
        """Expire ``item`` at ``deadline`` (seconds of the clock's monotonic time)."""
        slot = int(deadline * _PER_S) + 1
        bucket = self._buckets.get(slot)
        if bucket is None:
            bucket = self._buckets[slot] = set()
            delay = slot * RESOLUTION_S - self._clock.monotonic()
            self._timers[slot] = self._clock.call_later(max(delay, 0.0), lambda: self._fire(slot))
        bucket.add(item)

    def discard(self, deadline: float, item: Expiring) -> None:
        """Forget ``item``, which was added with ``deadline``."""
        bucket = self._buckets.get(int(deadline * _PER_S) + 1)
        if bucket is not None:
            bucket.discard(item)
            if not bucket:  # a set keeps the room it ever had: kilobytes for each 10 ms of a long deadline
                bucket.clear()

    def close(self) -> None:
        """Forget everything."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._buckets.clear()

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def _fire(self, slot: int) -> None:
        early = slot * RESOLUTION_S - self._clock.monotonic()
        if early > _ROUNDING_S:  # uvloop counts whole milliseconds from the start of the loop's round
            self._timers[slot] = self._clock.call_later(early, lambda: self._fire(slot))
            return
        self._timers.pop(slot, None)
        for item in self._buckets.pop(slot, ()):
            item.expire()
