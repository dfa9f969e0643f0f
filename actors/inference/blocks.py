"""Blocks: from messages of two streams to comparisons of a fixed size, whatever the split of traffic."""

from __future__ import annotations

from collections import deque

LARGEST = 8
"""Most live messages to one tried message: more would hardly make the comparison sharper."""


class Blocks:
    """Gathers blocks of one tried message and ``r`` live ones.

    ``r`` is set from the messages before the block began, so that its size tells nothing about its content. Of what
    waits only the newest few are kept (no value decides which), so that both sides of a block are of the same moment:
    else a metric that drifts over the day would look like a difference between the releases.
    """

    __slots__ = ("_live", "_ratio", "_tried", "live", "tried")

    def __init__(self) -> None:
        self._live: deque[float] = deque(maxlen=LARGEST)
        self._tried: deque[float] = deque(maxlen=LARGEST)
        self._ratio = 1
        self.live = self.tried = 0

    def add(self, value: float, *, tried: bool) -> tuple[list[float], list[float]] | None:
        """Take a message's value; the (live, tried) values of a block if one is complete now."""
        if tried:
            self._tried.append(value)
            self.tried += 1
        else:
            self._live.append(value)
            self.live += 1
        if not self._tried or len(self._live) < self._ratio:
            return None
        block = [self._live.popleft() for _ in range(self._ratio)], [self._tried.popleft()]
        self._ratio = min(LARGEST, max(1, round(self.live / self.tried)))
        return block
