"""Pulling from a consumer: one request outstanding, heartbeats each half second, and a clear word when it is lost.

nats-py's ``fetch`` begun before a restart of the server sleeps out its whole timeout, and can drop what it took when it
is cancelled. This one notices a lost connection at once and a silent server after three missed heartbeats.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Self

import msgspec

from ._bell import Bell
from .contract import Delivery, Stored

if TYPE_CHECKING:
    from ._connection import Connection, Interest
    from ._hot import HotPath

HEARTBEAT_S = 0.5
_SILENCE_S = 3 * HEARTBEAT_S
_EXPIRES_S = 30.0
_NS = 1_000_000_000
_ENDED = frozenset({"404", "408"})
_V1_TOKENS = 9


class PullLost(Exception):  # noqa: N818 - an event of this room, never a user's error
    """The consumer, the server or the connection is gone: look again and declare anew."""


class Pull:
    """Messages of one consumer. Use as an async context manager."""

    def __init__(self, hot: HotPath, connection: Connection, stream: str, consumer: str, batch: int) -> None:
        self._hot, self._connection, self._batch = hot, connection, batch
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = connection.new_inbox()
        self._messages: deque[Delivery] = deque()
        self._bell = Bell()
        self._outstanding = 0
        self._lost = ""
        self._interest: Interest | None = None

    async def __aenter__(self) -> Self:
        self._interest = await self._connection.subscribe(self._inbox, self._take)
        self._connection.on_loss(self._lose)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._connection.off_loss(self._lose)
        if self._interest is not None:
            await self._connection.unsubscribe(self._interest)

    async def take(self) -> list[Delivery]:
        """What there is, at least one message; waits for it as long as the server says that it is there.

        Raises:
            PullLost: If the consumer must be looked after.
            BusDownError: If there is no connection.
        """
        while not self._messages:
            if self._lost:
                raise PullLost(self._lost)
            if self._outstanding <= 0:
                await self._ask()
            if not await self._bell.wait(self._hot.clock, _SILENCE_S):
                raise PullLost("no heartbeat")
        taken = list(self._messages)
        self._messages.clear()
        return taken

    async def _ask(self) -> None:
        self._outstanding = self._batch
        body = {
            "batch": self._batch,
            "expires": int(_EXPIRES_S * _NS),
            "idle_heartbeat": int(HEARTBEAT_S * _NS),
        }
        await self._hot.publish(self._next, msgspec.json.encode(body), reply=self._inbox)

    def _take(self, delivery: Delivery) -> None:
        if delivery.reply.startswith("$JS.ACK."):
            self._messages.append(delivery)
            self._outstanding -= 1
        elif delivery.headers:
            self._status(delivery.headers.get("Status", ""), delivery.headers.get("Description", ""))
        self._bell.ring()

    def _status(self, status: str, description: str) -> None:
        if status in _ENDED or (status == "409" and "batch completed" in description.lower()):
            self._outstanding = 0
        elif status != "100":
            self._lost = f"{status} {description}"

    def _lose(self) -> None:
        self._lost = "the connection was lost"
        self._bell.ring()


class Receipt:
    """What the reply subject of a delivered message tells (with or without a JetStream domain)."""

    __slots__ = ("consumer_seq", "delivered", "pending", "seq", "stream", "time")

    def __init__(self, reply: str) -> None:
        tokens = reply.split(".")
        fields = tokens[2:9] if len(tokens) == _V1_TOKENS else tokens[4:11]
        self.stream = fields[0]
        self.delivered, self.seq, self.consumer_seq, nanoseconds, self.pending = map(int, fields[2:])
        self.time = nanoseconds / _NS


def stored(delivery: Delivery, receipt: Receipt) -> Stored:
    """A delivered message as one read from its stream."""
    headers = dict(delivery.headers) if delivery.headers else {}
    return Stored(receipt.stream, receipt.seq, delivery.subject, delivery.data, receipt.time, headers)
