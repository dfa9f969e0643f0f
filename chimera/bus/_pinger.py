"""Round trips on one connection, one at a time, never given up while the connection lives.

nats-py puts a result into the future of every ping; if that future was cancelled, the exception ends its read loop and
the connection is open and deaf. So only this loop pings, callers wait beside it, and it is stopped with the socket.
"""

from __future__ import annotations

import asyncio
import contextlib

from nats.aio.client import Client
from nats.errors import Error

from chimera.clock import Clock

from ._bell import Bell

_FOR_EVER_S = 3600
_WRITE_POLLS = 250


class Pinger:
    """Measures the round trip each second, and serves ``flush``."""

    def __init__(self, clock: Clock) -> None:
        self.rtt_s: float | None = None
        self._clock = clock
        self._bell = Bell()
        self._since: float | None = None
        self._waiting: list[asyncio.Future[bool]] = []

    async def run(self, client: Client, interval_s: float) -> None:
        """Ping until cancelled, or until the client is closed."""
        with contextlib.suppress(Error, OSError, AttributeError):  # the client may be closed under our hands
            while not client.is_closed:
                served, self._waiting = self._waiting, []
                self._since, done = self._clock.monotonic(), False
                try:
                    if served:
                        await written(client, self._clock)
                    sent = self._clock.monotonic()
                    await client.rtt(timeout=_FOR_EVER_S)  # its own figure is in whole milliseconds on uvloop
                    self.rtt_s = self._clock.monotonic() - sent
                    done = True
                finally:
                    _answer(served, done=done)
                self._since = None
                if not self._waiting:
                    await self._bell.wait(self._clock, interval_s)

    async def flush(self) -> bool:
        """True when the server has seen everything, False when the connection was lost."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._bell.ring()
        return await future

    def overdue_s(self) -> float:
        """For how long the present ping has been unanswered; 0 if none is."""
        return 0.0 if self._since is None else self._clock.monotonic() - self._since

    def lose(self) -> None:
        """The connection is gone."""
        self._since = None
        waiting, self._waiting = self._waiting, []
        _answer(waiting, done=False)


async def written(client: Client, clock: Clock) -> None:
    """Give nats-py's flusher time to hand what it buffers to the socket: a ping overtakes it otherwise."""
    for _ in range(3):
        await clock.sleep(0)
    size, polls = client.pending_data_size, 0
    while 0 < size <= client.pending_data_size and polls < _WRITE_POLLS:
        polls += 1
        await clock.sleep(0.001)


def _answer(waiting: list[asyncio.Future[bool]], *, done: bool) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(done)
