"""How long stopping may take: bounds on the node's clock, all of which end at once when somebody insists."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import anyio

from .clock import Clock


class Patience:
    """Gives shielded, bounded scopes for stopping and tidying up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._scopes: set[anyio.CancelScope] = set()
        self._lost = False

    @contextmanager
    def bound(self, timeout_s: float) -> Generator[anyio.CancelScope]:
        """What runs inside is shielded from cancellation and itself cancelled after ``timeout_s``."""
        with anyio.CancelScope(shield=True) as scope:
            timer = self._clock.call_later(timeout_s, scope.cancel)
            self._scopes.add(scope)
            if self._lost:
                scope.cancel()
            try:
                yield scope
            finally:
                timer.cancel()
                self._scopes.discard(scope)

    def lose(self) -> None:
        """Wait for nothing any more."""
        self._lost = True
        for scope in list(self._scopes):
            scope.cancel()
