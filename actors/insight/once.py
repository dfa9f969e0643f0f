"""Which sequence numbers of a stream were taken: each exactly once, in fixed memory, whatever order they come in."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["fresh", "repeated", "forgotten"]


class Once:
    """A window of sequence numbers below the highest one seen.

    A number that has fallen out of the window is ``forgotten``: it may be new or not, so it must not be counted.
    Memory is one bit per number of the window.

    Args:
        window: How far behind the highest number one may arrive. JetStream redelivers what was not acknowledged, so
            this has to exceed the consumer's ``max_ack_pending``.
        start: The last number that was taken before, for instance by a projection that was restored.
    """

    __slots__ = ("_bits", "_highest", "_start", "_window")

    def __init__(self, window: int = 65_536, *, start: int = 0) -> None:
        self._window = -(-window // 8) * 8
        self._bits = bytearray(self._window // 8)
        self._start = start
        self._highest = start

    @property
    def highest(self) -> int:
        """The highest number seen."""
        return self._highest

    def take(self, number: int) -> Verdict:
        """Mark ``number`` as taken, and say whether it was new."""
        if number <= max(self._start, self._highest - self._window):
            return "repeated" if number <= self._start else "forgotten"
        if number > self._highest:
            self._clear(self._highest + 1, number)
            self._highest = number
        index, bit = divmod(number % self._window, 8)
        if self._bits[index] >> bit & 1:
            return "repeated"
        self._bits[index] |= 1 << bit
        return "fresh"

    def _clear(self, first: int, last: int) -> None:
        if last - first + 1 >= self._window:
            self._bits = bytearray(self._window // 8)
            return
        for number in range(first, last + 1):
            index, bit = divmod(number % self._window, 8)
            self._bits[index] &= ~(1 << bit) & 0xFF
