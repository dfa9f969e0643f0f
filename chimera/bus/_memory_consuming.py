"""Working through a durable consumer of a stream in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from chimera.clock import Clock

from ._bell import Bell
from ._guard import log_failure
from ._memory_streams import Consumer, MemoryStream
from .contract import Claim, Stored

Operate = Callable[[], Awaitable[None]]
IDLE_S = 1.0


class MemoryClaim:
    """A claim on a message; a ``Claim``."""

    def __init__(
        self, stream: MemoryStream, consumer: Consumer, message: Stored, attempt: int, operate: Operate
    ) -> None:
        self._stream, self._consumer, self._operate = stream, consumer, operate
        self.message = message
        self.attempt = attempt

    async def ack(self) -> None:
        """It is done; never deliver it again."""
        await self._operate()
        self._stream.ack(self._consumer, self.message.seq)

    async def retry(self, delay_s: float = 0.0) -> None:
        """Deliver it again after ``delay_s``."""
        await self._operate()
        self._stream.postpone(self._consumer, self.message.seq, delay_s)

    async def working(self) -> None:
        """Still at it: restart the redelivery timer."""
        await self._operate()
        self._stream.postpone(self._consumer, self.message.seq, self._consumer.ack_wait_s)


class MemoryConsuming:
    """Takes batches and hands them over, until cancelled."""

    def __init__(self, stream: MemoryStream, consumer: Consumer, clock: Clock, operate: Operate) -> None:
        self._stream, self._consumer, self._clock, self._operate = stream, consumer, clock, operate
        self._bell = Bell()

    async def run(
        self, handler: Callable[[list[Claim]], Awaitable[None]], batch: int, connected: Callable[[], bool]
    ) -> None:
        """Work; while the bus is not ``connected`` nothing is taken."""
        self._stream.listen(self._bell.ring)
        try:
            while True:
                taken = self._stream.take(self._consumer, batch) if connected() else []
                if taken:
                    await self._hand(handler, taken)
                else:
                    due = self._stream.due_in(self._consumer)
                    await self._bell.wait(self._clock, IDLE_S if due is None else max(0.001, min(IDLE_S, due)))
        finally:
            self._stream.unlisten(self._bell.ring)

    async def _hand(self, handler: Callable[[list[Claim]], Awaitable[None]], taken: list[tuple[Stored, int]]) -> None:
        claims = [
            MemoryClaim(self._stream, self._consumer, message, attempt, self._operate) for message, attempt in taken
        ]
        try:
            await handler([*claims])
        except Exception as error:  # noqa: BLE001 - it leaves its claims to redelivery
            log_failure(error)
