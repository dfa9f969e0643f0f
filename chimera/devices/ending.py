"""Ending a holder whose lease is over: asked first, killed after a grace, and watched until nothing of it is left."""

from __future__ import annotations

import signal

from .processes import Group, end, is_alive, strays

GRACE_S = 5.0
"""How long a holder may take to end by itself after SIGTERM."""


class Ending:
    """One holder that is being ended. Its methods read ``/proc``: call them in a thread.

    Args:
        lease: The lease that is over; its processes carry it in their environment.
        group: The process group that was named as its holder, if one was.
        now: Seconds that never go back.
        grace_s: From SIGTERM to SIGKILL.
    """

    def __init__(self, lease: str, group: Group | None, *, now: float, grace_s: float = GRACE_S) -> None:
        self.lease, self.group = lease, group
        self._kill_at = now + grace_s
        self._asked = False
        self.killed = False

    def step(self, now: float) -> bool:
        """Send what is due; true when no process of the holder is left."""
        if self.is_gone():
            return True
        if now >= self._kill_at:
            end(self.group, self.lease, signal.SIGKILL)  # at every step: it may have forked meanwhile
            self.killed = True
        elif not self._asked:
            end(self.group, self.lease, signal.SIGTERM)
        self._asked = True
        return False

    def is_gone(self) -> bool:
        """Whether no process of the holder lives."""
        return not (self.group is not None and is_alive(self.group)) and not strays(self.lease)
