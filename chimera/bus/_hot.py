"""The hot path: publish, request, reply inbox. Every microsecond here is paid per message, so it stays in one place.

Nothing waits inside nats-py, whose ``publish`` swallows cancellation whenever it does: room in the outbound buffer is
awaited here, and every 64th send yields to the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping

import anyio.lowlevel
from nats.errors import Error

from chimera.clock import Clock
from chimera.errors import BusDownError

from ._gathering import Gathering
from ._replies import Replies, raise_for_status
from ._wire import WireClient
from .contract import Delivery, Handler
from .subject import check_size, check_subject

HIGH_WATER_BYTES = 2 * 1024 * 1024
"""Unsent bytes above which senders wait."""

KNOWN_SUBJECTS = 256
"""Subjects that were found good and are not looked at again until so many others came."""

_YIELD_MASK = 63
_ROOM_PATIENCE_S = 5.0


class HotPath:
    """Sends and asks over the client of the moment; ``client`` is ``None`` while there is no connection."""

    def __init__(self, inbox: str, clock: Clock) -> None:
        self.client: WireClient | None = None
        self.clock = clock
        self.replies = Replies(inbox, clock)
        self._inbox = inbox
        self._max_payload = 1024 * 1024
        self._sends = 0
        self._checked: set[str] = set()

    @property
    def inbox(self) -> str:
        """Prefix of this connection's own reply subjects, without the last dot."""
        return self._inbox

    @property
    def max_payload(self) -> int:
        """Largest message, headers included, in bytes."""
        return self._max_payload

    def attach(self, client: WireClient) -> None:
        """From now on send over ``client``."""
        self._max_payload = client.max_payload
        self.client = client

    def detach(self) -> None:
        """There is no connection: refuse to send, and fail what is in flight."""
        self.client = None
        self.replies.lose()

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send at most once. Honours cancellation."""
        client = self._ready(subject, data, headers)
        if reply:
            check_subject(reply)
        if client.pending_data_size > HIGH_WATER_BYTES or not self._sends & _YIELD_MASK:
            await self._breathe(client)
        try:
            client.send(subject, data, reply, headers)
        except Error as error:
            raise BusDownError from error

    def _ready(self, subject: str, data: bytes, headers: Mapping[str, str] | None) -> WireClient:
        if subject not in self._checked:
            self._learn(subject)
        if headers or len(data) > self._max_payload:
            check_size(data, headers, self._max_payload)
        if self.client is None:
            raise BusDownError
        self._sends += 1
        return self.client

    def _learn(self, subject: str) -> None:
        """Check a subject, once for all that are sent to often: reading it costs as much as sending to it."""
        check_subject(subject)
        if len(self._checked) >= KNOWN_SUBJECTS:
            self._checked.clear()
        self._checked.add(subject)

    async def _breathe(self, client: WireClient) -> None:
        await anyio.lowlevel.checkpoint()
        deadline = self.clock.monotonic() + _ROOM_PATIENCE_S
        while client.pending_data_size > HIGH_WATER_BYTES:
            if self.client is not client or self.clock.monotonic() > deadline:
                raise BusDownError("the server takes no data")
            await self.clock.sleep(0.001)

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float = 5.0, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """One answer; ``NotRunningError`` when nobody listens and ``DeniedError`` when it is not permitted, at once."""
        client = self._ready(subject, data, headers)
        if client.pending_data_size > HIGH_WATER_BYTES or not self._sends & _YIELD_MASK:
            await self._breathe(client)
        replies = self.replies
        token, future = replies.ask(subject, timeout_s)
        try:  # all in one coroutine: one more layer costs as much as the token
            client.send(subject, data, replies.prefix + token, headers)
            delivery = await future
        except Error as error:
            raise BusDownError from error
        finally:
            replies.drop(token)
        if delivery.headers:
            raise_for_status(delivery, subject)
        return delivery

    def open_reply(self, callback: Handler, subject: str = "") -> str:
        """A fresh reply subject; all that arrives there goes to ``callback``."""
        return self.replies.open(callback, subject)

    def close_reply(self, reply: str) -> None:
        """Deliver nothing more to this reply subject."""
        self.replies.close(reply)

    async def request_many(self, subject: str, data: bytes, *, timeout_s: float, stall_s: float) -> list[Delivery]:
        """Answers until ``stall_s`` passed without one, or ``timeout_s`` in all (ADR-47)."""
        gathering = Gathering(subject)
        reply = self.replies.open(gathering.take, subject)
        try:
            await self.publish(subject, data, reply=reply)
            return await gathering.answers(self.clock, timeout_s, stall_s)
        finally:
            self.replies.close(reply)
