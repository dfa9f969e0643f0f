"""The outbox of facts: sent in groups, sent again with the same ids until the stream has them; loss is counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from math import ceil

import anyio
import msgspec

from chimera.bus.contract import Bus
from chimera.errors import BadMessageError, ChimeraError, DeniedError, TooLargeError
from chimera.wire import encode
from subjects import Event
from subjects.event import TaskProcessed

_GROUP = 500
_HEADROOM = 4096
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


class Outbox:
    """Facts on their way to one stream.

    Args:
        bus: Where the stream is.
        prefix: Unique to this sender and start; message ids are ``<prefix>.<n>``.
        limit: Facts that may wait; the oldest beyond it are lost, counted and reported.
        sleep: Waits some seconds.
        on_loss: Told how many were lost and why.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        prefix: str,
        limit: int,
        sleep: Callable[[float], Awaitable[None]],
        on_loss: Callable[[int, str], None],
    ) -> None:
        self._bus = bus
        self._prefix = prefix
        self._limit = limit
        self._sleep = sleep
        self._on_loss = on_loss
        self._waiting: deque[tuple[str, Event]] = deque()
        self._sending: list[tuple[str, bytes, str]] = []
        self._count = 0
        self._overflow = 0
        self._wake = anyio.Event()
        self._lock = anyio.Lock()
        self.sent = 0
        self.lost = 0
        self.trimmed = 0
        self.trouble = ""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sending)

    def add(self, subject: str, event: Event) -> None:
        """Take a fact. Costs next to nothing: encoding and sending happen later."""
        if len(self._waiting) >= self._limit:
            self._waiting.popleft()
            self.lost += 1
            self._overflow += 1
        self._waiting.append((subject, event))
        if not self._wake.is_set():
            self._wake.set()

    async def run(self, tick_s: float) -> None:
        """Send what waits, ``tick_s`` after the first of it, for ever."""
        pause = _FIRST_PAUSE_S
        while True:
            await self._wake.wait()
            await self._sleep(tick_s)
            if await self.flush():
                pause = _FIRST_PAUSE_S
                continue
            await self._sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def flush(self) -> bool:
        """Send all that waits now; false if the bus would not take it. Then it stays, to be sent again as it was.

        What comes meanwhile waits for the next time: one group a task would cost the server a sync and the projector a
        transaction each.
        """
        async with self._lock:
            self._wake = anyio.Event()
            self._tell_overflow()
            for _ in range(ceil(len(self) / _GROUP)):
                if not await self._send_group():
                    self._wake.set()
                    return False
        return True

    async def stop(self, timeout_s: float) -> None:
        """Send what is left, within the deadline; the rest is lost, counted and reported."""
        with anyio.move_on_after(timeout_s, shield=True):
            await self.flush()
        left = len(self)
        if left:
            self.lost += left
            self._on_loss(left, f"stopped before they were sent: {self.trouble or 'out of time'}")

    async def _send_group(self) -> bool:
        while self._waiting and len(self._sending) < _GROUP:
            self._sending.append(self._pack(*self._waiting.popleft()))
        try:
            await self._bus.append_many(self._sending)
        except (TooLargeError, BadMessageError, DeniedError) as error:
            self.lost += len(self._sending)
            self._on_loss(len(self._sending), error.detail)
        except ChimeraError as error:
            self.trouble = error.detail
            return False
        else:
            self.sent += len(self._sending)
            self.trouble = ""
        self._sending = []
        return True

    def _pack(self, subject: str, event: Event) -> tuple[str, bytes, str]:
        self._count += 1
        data = encode(event)
        if len(data) > self._bus.max_payload - _HEADROOM and isinstance(event, TaskProcessed):
            self.trimmed += 1
            detail = event.detail or "input and output left out: too large"
            data = encode(msgspec.structs.replace(event, input=None, output=None, detail=detail))
        return subject, data, f"{self._prefix}.{self._count}"

    def _tell_overflow(self) -> None:
        if self._overflow:
            self._on_loss(self._overflow, "more waited than the outbox holds")
            self._overflow = 0
