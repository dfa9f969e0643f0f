"""Long work on the event loop in slices, so that nobody waits for it."""

from __future__ import annotations

from time import perf_counter

from anyio.lowlevel import checkpoint

SLICE_S = 0.002
"""Longest work between two turns of the loop, but for the last piece of it."""


class Pace:
    """Lets the loop turn whenever a slice of time is used up.

    Args:
        slice_s: Seconds of work at once. By the machine's own clock: what is paced does not depend on it.
    """

    def __init__(self, slice_s: float = SLICE_S) -> None:
        self._slice_s, self._began = slice_s, perf_counter()

    async def turn(self) -> None:
        """After a piece of work: go on at once, or let others go first."""
        if perf_counter() - self._began >= self._slice_s:
            await checkpoint()
            self._began = perf_counter()
