"""Fencing tokens: every grant of a device has a higher one than every grant before it, whatever the store forgot."""

from __future__ import annotations

SHIFT = 16
"""Bits below a millisecond: so many grants of one device within it, before tokens run ahead of the clock."""


def next_token(previous: int, now: float) -> int:
    """The token after ``previous``, at Unix time ``now`` in seconds.

    A counter alone would be handed out again after a store that was set back; the clock alone after a clock that was
    set back. Together, only if both happen at once; then the node's own memory of tokens refuses the grant.
    """
    return max(previous + 1, int(now * 1000.0) << SHIFT)
