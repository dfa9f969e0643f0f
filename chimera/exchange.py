"""The two ends of an ask over the bus: what waits here, and what answers there."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from .bus.contract import Delivery
from .errors import (
    BadMessageError,
    CancelledByCallerError,
    ChimeraError,
    ConnectionLostError,
    CrashedError,
    DeadlineError,
    DeniedError,
    NotRunningError,
    TooLargeError,
    flatten,
)
from .pipe import WINDOW
from .wire import (
    CHUNK,
    END,
    VALUE,
    Codec,
    decode,
    encode,
    pack_chunk,
    pack_end,
    pack_problem,
    pack_value,
    unpack_reply,
    value_of,
)

if TYPE_CHECKING:
    from .clock import Clock
    from .deadlines import Deadlines
    from .ref import Ref
    from .remote import Remote

STALL_S = 60.0
"""A reader gives a stream up when no element came for so long; a handler that is slower sends something meanwhile."""

CREDIT_TIMEOUT_S = 30.0
"""A streaming handler gives up when its reader has not read for so long."""

FLOOD = 4 * WINDOW
"""Unread elements that show a sender to disregard the window."""


def _raise_status(delivery: Delivery, target: Ref) -> None:
    status = (delivery.headers or {}).get("Status", "")
    if status.startswith("503"):
        raise NotRunningError(f"{target} is not running")
    if status.startswith("403"):
        raise DeniedError(f"these credentials may not ask {target}")
    if status.startswith("502"):
        raise ConnectionLostError(f"the connection to NATS was lost while {target} was asked")


_UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError)


class RemoteAsk:
    """One ask that waits for its answer."""

    __slots__ = ("_kind", "future", "streamed", "target")

    def __init__(self, target: Ref, kind: Any) -> None:
        self.target = target
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.streamed = False
        self._kind = kind

    def take(self, delivery: Delivery) -> None:
        """The answer came."""
        if self.future.done():
            return
        try:
            if delivery.headers:
                _raise_status(delivery, self.target)
            value = value_of(delivery.data)
            if value is None:
                reply = unpack_reply(delivery.data)
                if reply.kind != VALUE:
                    self.streamed = True
                    raise BadMessageError(f"{self.target} streams its answers", hint="read it with stream(...)")
                value = reply.body
            self.future.set_result(decode(value, self._kind, "msgpack"))
        except ChimeraError as error:
            self.fail(error)

    def expire(self) -> None:
        """The deadline passed without an answer."""
        self.fail(DeadlineError(f"{self.target} did not answer in time", stage="sent"))

    def fail(self, error: ChimeraError) -> None:
        """End with an error."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()


class RemoteStream:
    """One streamed ask that is being read: yields ``(element, credit subject or "")``.

    It fails when nothing comes for ``STALL_S``: a node can die without a word, and then nobody else would end it.
    """

    __slots__ = ("_clock", "_deadlines", "_error", "_items", "_kind", "_readable", "over", "target")

    def __init__(self, target: Ref, kind: Any, clock: Clock, deadlines: Deadlines) -> None:
        self.target = target
        self._clock = clock
        self._deadlines = deadlines
        self.over = False
        self._kind = kind
        self._items: deque[tuple[Any, str]] = deque()
        self._readable = asyncio.Event()
        self._error: ChimeraError | None = None

    def take(self, delivery: Delivery) -> None:
        """An element, the end, or a failure came."""
        try:
            if delivery.headers:
                _raise_status(delivery, self.target)
            reply = unpack_reply(delivery.data)
            if reply.kind == END:
                self.over = True
            elif len(self._items) > FLOOD:
                raise BadMessageError(f"{self.target} sends without waiting for its reader")
            else:
                self._items.append((decode(reply.body, self._kind, "msgpack"), delivery.reply))
                self.over = self.over or reply.kind != CHUNK
        except ChimeraError as error:
            self.fail(error)
        self._readable.set()

    def expire(self) -> None:
        """The deadline passed."""
        self.fail(DeadlineError(f"{self.target} did not end its stream in time", stage="running"))

    def fail(self, error: ChimeraError) -> None:
        """End with an error after what has come."""
        if not self.over:
            self._error = error
            self.over = True
        self._readable.set()

    def __aiter__(self) -> RemoteStream:
        return self

    async def __anext__(self) -> tuple[Any, str]:
        while not self._items:
            if self.over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._readable.clear()
            stall, until = _Stall(self), self._clock.monotonic() + STALL_S
            self._deadlines.add(until, stall)
            try:
                await self._readable.wait()
            finally:
                self._deadlines.discard(until, stall)
        return self._items.popleft()


class _Stall:
    """One wait of a stream's reader."""

    __slots__ = ("_stream",)

    def __init__(self, stream: RemoteStream) -> None:
        self._stream = stream

    def expire(self) -> None:
        """Nothing came for too long."""
        target = self._stream.target
        self._stream.fail(DeadlineError(f"{target} sent nothing for {STALL_S:g} s", stage="running"))


class RemoteSink:
    """Answers one ask from elsewhere, in the form it was asked: enveloped, or plain with NATS service headers."""

    __slots__ = ("_codec", "_enveloped", "_remote", "_reply", "_sent")

    def __init__(self, remote: Remote, reply: str, enveloped: bool, codec: Codec) -> None:  # noqa: FBT001 - internal
        self._remote = remote
        self._reply = reply
        self._enveloped = enveloped
        self._codec: Codec = codec
        self._sent = 0

    async def value(self, value: Any) -> None:
        """The answer. One that can't be encoded is answered ``crashed``, and raised: the handler has a fault."""
        self._close()
        try:
            data = pack_value(value) if self._enveloped else encode(value, self._codec)
        except _UNENCODABLE as error:
            await self.error(CrashedError(f"the answer can't be encoded: {flatten(error)}"))
            raise
        try:  # as ``_send``, which is one more layer
            await self._remote.bus.publish(self._reply, data)
        except TooLargeError as error:
            error.executed = "maybe"  # the handler ran, only its answer does not fit
            await self.error(error)
        except ChimeraError:
            self._remote.unanswered += 1  # as in ``_publish``

    async def chunk(self, value: Any) -> None:
        """One element; every ``WINDOW``-th waits until the reader has come so far."""
        self._sent += 1
        if not self._enveloped:
            await self._send(encode(value, self._codec))
        elif self._sent % WINDOW:
            await self._send(pack_chunk(value))
        else:
            await self._send_for_credit(pack_chunk(value))

    async def end(self) -> None:
        """The end: an empty body without headers for plain askers."""
        self._close()
        await self._send(pack_end() if self._enveloped else b"")

    async def error(self, error: ChimeraError) -> None:
        """The failure."""
        self._close()
        if not self._reply:
            return
        try:
            data, headers = self._failure(error)
        except _UNENCODABLE:
            error.data = None
            data, headers = self._failure(error)
        try:
            await self._publish(data, headers)
        except TooLargeError as large:
            large.executed = error.executed
            await self._publish(*self._failure(large))

    def _failure(self, error: ChimeraError) -> tuple[bytes, dict[str, str] | None]:
        if self._enveloped:
            return pack_problem(error), None
        line = " ".join(error.detail.split()).encode("ascii", "replace").decode()[:200].strip()
        headers = {
            "Nats-Service-Error-Code": str(error.status),
            "Nats-Service-Error": line,
            "Chimera-Error": error.code,
        }
        return encode(error.problem(), self._codec), headers

    def _close(self) -> None:
        self._remote.turns.pop(self._reply, None)

    async def _send(self, data: bytes) -> None:
        try:
            await self._publish(data)
        except TooLargeError as error:
            error.executed = "maybe"  # the handler ran, only its answer does not fit
            await self.error(error)

    async def _publish(self, data: bytes, headers: dict[str, str] | None = None) -> None:
        try:
            await self._remote.bus.publish(self._reply, data, headers=headers)
        except TooLargeError:
            raise
        except ChimeraError:
            self._remote.unanswered += 1  # the asker is told by its own deadline, or of the lost connection

    async def _send_for_credit(self, data: bytes) -> None:
        credit: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def take(delivery: Delivery) -> None:
            if credit.done():
                return
            if delivery.headers and "Status" in delivery.headers:
                credit.set_exception(CancelledByCallerError("the reader of the stream is gone"))
            else:
                credit.set_result(None)

        subject = self._remote.bus.open_reply(take)
        timer = self._remote.system.clock.call_later(CREDIT_TIMEOUT_S, lambda: _give_up(credit))
        try:
            await self._remote.bus.publish(self._reply, data, reply=subject)
            await credit
        finally:
            timer.cancel()
            self._remote.bus.close_reply(subject)


def _give_up(credit: asyncio.Future[None]) -> None:
    if not credit.done():
        credit.set_exception(DeadlineError("the reader of the stream stopped reading", stage="running"))
