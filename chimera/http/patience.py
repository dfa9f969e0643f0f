"""How long a request may take: one cancel scope for its body, its answer and the client's going away."""

from __future__ import annotations

from types import TracebackType
from typing import Literal, Self

import anyio

from chimera.clock import Clock, Timer

Cut = Literal["", "body", "deadline", "gone", "closed"]


class Patience:
    """A cancel scope with one timer that is wound again at each stage. ``cut`` says what ended it, if anything did.

    A second task that waits for the client's disconnect would cost more than the whole bridge; the connection calls
    ``hang_up`` instead.
    """

    __slots__ = ("_clock", "_scope", "_timer", "cut")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._scope = anyio.CancelScope()
        self._timer: Timer | None = None
        self.cut: Cut = ""

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        self.unwind()
        return bool(self._scope.__exit__(kind, error, at))

    def wind(self, seconds: float, stage: Literal["body", "deadline"]) -> None:
        """Cut what runs inside in ``seconds``, replacing the timer before."""
        self.unwind()
        self._timer = self._clock.call_later(seconds, lambda: self._stop(stage))

    def unwind(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def hang_up(self) -> None:
        """The client went away: stop what runs inside."""
        self._stop("gone")

    def close(self) -> None:
        """The bridge stops: end what has no end of its own."""
        self._stop("closed")

    def _stop(self, cut: Cut) -> None:
        self.cut = self.cut or cut
        self._scope.cancel()
