"""Reading a stream in order through a throw-away consumer that is made anew after every loss."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from chimera.errors import BusDownError, ChimeraError, NotFoundError, UnavailableError

from ._api import Answer, Api
from ._pull import Pull, PullLost, Receipt, stored
from .contract import Stored

if TYPE_CHECKING:
    from ._connection import Connection
    from ._hot import HotPath

_BATCH = 256
_FORGOTTEN_AFTER_S = 30
_WAIT_S = 0.1
_NS = 1_000_000_000


class ConsumerInfo(Answer):
    """What is used of a consumer's description."""

    num_pending: int = 0


class Reading:
    """An ordered reader. Enter it, then ``take`` for ever, or iterate to the present end (or on, if ``follow``).

    Args:
        api: JetStream.
        hot: The core connection.
        connection: Its supervisor.
        rng: Names the consumers.
        stream: What to read.
        subject: Filter; empty for all.
        start_seq: First sequence, for a reader that takes up where it was; 0 = begin each time with the last message of
            every subject.
        headers_only: Leave out the bodies.
        follow: Go on at the end, and across outages of any length.
        patience_s: How long an outage may last if not ``follow``.
    """

    def __init__(
        self, api: Api, hot: HotPath, connection: Connection, rng: random.Random, *, stream: str, subject: str = "",
        start_seq: int = 1, headers_only: bool = False, follow: bool = False, patience_s: float = 10.0,
    ) -> None:  # fmt: skip
        self._api, self._hot, self._connection, self._rng = api, hot, connection, rng
        self._stream, self._subject, self._next_seq = stream, subject, start_seq
        self._latest = start_seq == 0
        self._headers_only, self._follow, self._patience_s = headers_only, follow, patience_s
        self._consumer = ""
        self._consumer_seq = 0
        self._gap = False
        self._pull: Pull | None = None
        self._stack = AsyncExitStack()
        self._buffer: deque[Stored] = deque()
        self.generation = 0
        self.pending = 0

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._drop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._drop()

    def __aiter__(self) -> AsyncIterator[Stored]:
        return self

    async def __anext__(self) -> Stored:
        while not self._buffer:
            if not self._follow and self.pending <= 0:
                raise StopAsyncIteration
            self._buffer.extend(await self.take())
        return self._buffer.popleft()

    async def take(self) -> list[Stored]:
        """The next messages in order; empty if the consumer had to be made anew (then ``generation`` has grown).

        ``pending`` says how many there are behind the last one.

        Raises:
            UnavailableError: If it was not possible within the patience (never if ``follow``).
        """
        deadline = self._hot.clock.monotonic() + self._patience_s
        while True:
            try:
                if self._pull is None:
                    await self._open()
                    return []
                self._raise_gap()
                return self._ordered(await self._pull.take())
            except (PullLost, BusDownError, UnavailableError, NotFoundError) as error:
                await self._drop()
                if not self._follow and self._hot.clock.monotonic() > deadline:
                    raise _unavailable(error, self._stream) from error
                await self._hot.clock.sleep(_WAIT_S)

    def _ordered(self, deliveries: list[Any]) -> list[Stored]:
        messages: list[Stored] = []
        for delivery in deliveries:
            receipt = Receipt(delivery.reply)
            if receipt.consumer_seq != self._consumer_seq + 1:  # dropped on its way: read on from the last good one
                self._gap = True
                break
            self._consumer_seq = receipt.consumer_seq
            self.pending = receipt.pending
            if not self._latest:
                self._next_seq = receipt.seq + 1
            messages.append(stored(delivery, receipt))
        return messages

    def _raise_gap(self) -> None:
        gap, self._gap = self._gap, False
        if gap:
            raise PullLost("a message is missing")

    async def _open(self) -> None:
        self._consumer = f"read_{self._rng.getrandbits(64):016x}"
        self._consumer_seq = 0
        config: dict[str, Any] = {
            "name": self._consumer, "ack_policy": "none", "mem_storage": True, "num_replicas": 1, "max_deliver": -1,
            "inactive_threshold": _FORGOTTEN_AFTER_S * _NS, "headers_only": self._headers_only,
            "filter_subject": self._subject or ">", "deliver_policy": "last_per_subject",
        }  # fmt: skip
        if not self._latest:
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": max(1, self._next_seq)}
        body = {"stream_name": self._stream, "config": config, "action": "create"}
        verb = f"CONSUMER.CREATE.{self._stream}.{self._consumer}"
        info = await self._api.call(verb, body, kind=ConsumerInfo)
        self._pull = await self._stack.enter_async_context(
            Pull(self._hot, self._connection, self._stream, self._consumer, _BATCH)
        )
        self.pending = info.num_pending
        self.generation += 1

    async def _drop(self) -> None:
        had, self._pull = self._pull is not None, None
        await self._stack.aclose()
        if had:  # best effort: the server forgets it by itself
            with contextlib.suppress(ChimeraError):
                await self._hot.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._consumer}", b"")


def _unavailable(error: Exception, stream: str) -> ChimeraError:
    return error if isinstance(error, ChimeraError) else UnavailableError(f"the stream {stream} can't be read: {error}")
