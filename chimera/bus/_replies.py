"""The reply inbox: one subscription, counter tokens, bare futures, one timer for all deadlines.

``nc.request`` of nats-py spends a third of its time on a random token, a timer and a done-callback per request; here
a request costs a dictionary entry. Nothing in this module knows NATS: the in-memory bus uses it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chimera.clock import Clock, Timer
from chimera.errors import ChimeraError, ConnectionLostError, DeadlineError, DeniedError, NotRunningError

from .contract import Delivery, Handler

SWEEP_S = 0.02
"""How late a deadline may be noticed. One sweep looks at all pending requests: 10,000 take about a millisecond."""


class Replies:
    """What is awaited under ``<inbox>.*``.

    Args:
        inbox: Prefix of the reply subjects, without the last dot.
        clock: For the deadlines.
    """

    def __init__(self, inbox: str, clock: Clock) -> None:
        self.prefix = inbox + "."
        self._cut = len(self.prefix)
        self._clock = clock
        self._count = 0
        self._asks: dict[str, tuple[asyncio.Future[Delivery], str, float]] = {}
        self._open: dict[str, tuple[Handler, str]] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._asks)

    def ask(self, subject: str, timeout_s: float) -> tuple[str, asyncio.Future[Delivery]]:
        """A token and the future of its one answer; ``drop`` the token in any case afterwards."""
        self._count += 1
        token = str(self._count)
        future: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
        self._asks[token] = (future, subject, self._clock.monotonic() + timeout_s)
        if self._timer is None:
            self._timer = self._clock.call_later(SWEEP_S, self._sweep)
        return token, future

    def drop(self, token: str) -> None:
        """Forget a request."""
        self._asks.pop(token, None)

    def open(self, callback: Callable[[Delivery], None], subject: str) -> str:
        """A fresh reply subject whose deliveries all go to ``callback``."""
        self._count += 1
        token = str(self._count)
        self._open[token] = (callback, subject)
        return self.prefix + token

    def close(self, reply: str) -> None:
        """Deliver nothing more there."""
        self._open.pop(reply[self._cut :], None)

    def take(self, delivery: Delivery) -> None:
        """Route what arrived in the inbox."""
        token = delivery.subject[self._cut :]
        waiting = self._asks.pop(token, None)
        if waiting is not None:
            if not waiting[0].done():
                waiting[0].set_result(delivery)
            return
        opened = self._open.get(token)
        if opened is not None:
            opened[0](delivery)

    def deny(self, subject: str) -> None:
        """The server refused a publish; it names the subject in lower case only."""
        for token in [token for token, entry in self._asks.items() if entry[1].lower() == subject]:
            asked = self._asks[token][1]
            self._fail(token, DeniedError(f"these credentials may not publish to {asked}"))
        for token in [token for token, entry in self._open.items() if entry[1].lower() == subject]:
            self._status(token, "403", "Permissions Violation")

    def lose(self) -> None:
        """The connection is gone: nobody shall wait out his time for an answer that can't come."""
        for token in list(self._asks):
            self._fail(token, ConnectionLostError())
        for token in list(self._open):
            self._status(token, "502", "Connection Lost")

    def _sweep(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for token in [token for token, entry in self._asks.items() if entry[2] <= now]:
            subject = self._asks[token][1]
            self._fail(token, DeadlineError(f"no answer from {subject} within the deadline"))
        if self._asks:
            self._timer = self._clock.call_later(SWEEP_S, self._sweep)

    def _fail(self, token: str, error: ChimeraError) -> None:
        future = self._asks.pop(token)[0]
        if not future.done():
            future.set_exception(error)

    def _status(self, token: str, status: str, description: str) -> None:
        callback = self._open[token][0]
        callback(Delivery(self.prefix + token, b"", headers={"Status": status, "Description": description}))


def raise_for_status(delivery: Delivery, subject: str) -> None:
    """Turn a status that stands in place of an answer into its error.

    Raises:
        NotRunningError: 503, nobody listens.
        ConnectionLostError: 502, the connection is gone.
        DeniedError: 403, publishing to ``subject`` is not permitted.
    """
    status = delivery.headers.get("Status") if delivery.headers and not delivery.data else None
    if status == "503":
        raise NotRunningError(f"nobody listens on {subject}")
    if status == "502":
        raise ConnectionLostError
    if status == "403":
        raise DeniedError(f"these credentials may not publish to {subject}")
