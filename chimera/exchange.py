"""The two ends of an ask over the bus: what waits here, and what answers there."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from .bus.contract import Delivery
from .errors import ChimeraError, DeadlineError, DeniedError, NotRunningError, TooLargeError, UnavailableError
from .pipe import WINDOW
from .wire import CHUNK, END, Codec, decode, encode, pack_chunk, pack_end, pack_problem, pack_value, unpack_reply

if TYPE_CHECKING:
    from .remote import Remote

CREDIT_TIMEOUT_S = 30.0
"""A streaming handler gives up when its reader has not read for so long."""


def _raise_status(delivery: Delivery, target: str) -> None:
    status = (delivery.headers or {}).get("Status", "")
    if status.startswith("503"):
        raise NotRunningError(f"{target} is not running")
    if status.startswith("403"):
        raise DeniedError(f"these credentials may not ask {target}")


class RemoteAsk:
    """One ask that waits for its answer."""

    __slots__ = ("_kind", "future", "target")

    def __init__(self, target: str, kind: Any) -> None:
        self.target = target
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._kind = kind

    def take(self, delivery: Delivery) -> None:
        """The answer came."""
        if self.future.done():
            return
        try:
            if delivery.headers:
                _raise_status(delivery, self.target)
            self.future.set_result(decode(unpack_reply(delivery.data).body, self._kind, "msgpack"))
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
    """One streamed ask that is being read: yields ``(element, credit subject or "")``."""

    __slots__ = ("_error", "_items", "_kind", "_readable", "over", "target")

    def __init__(self, target: str, kind: Any) -> None:
        self.target = target
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
            await self._readable.wait()
        return self._items.popleft()


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
        """The answer."""
        self._close()
        await self._send(pack_value(value) if self._enveloped else encode(value, self._codec))

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
        if self._enveloped:
            await self._send(pack_problem(error))
            return
        line = " ".join(error.detail.split()).encode("ascii", "replace").decode()[:200]
        headers = {
            "Nats-Service-Error-Code": str(error.status),
            "Nats-Service-Error": line,
            "Chimera-Error": error.code,
        }
        await self._send(encode(error.problem(), self._codec), headers)

    def _close(self) -> None:
        self._remote.turns.pop(self._reply, None)

    async def _send(self, data: bytes, headers: dict[str, str] | None = None) -> None:
        bus = self._remote.bus
        try:
            await bus.publish(self._reply, data, headers=headers)
        except TooLargeError as error:
            await bus.publish(self._reply, pack_problem(error) if self._enveloped else b"", headers=headers)
        except UnavailableError:
            return  # the asker is told by its own side of the lost connection

    async def _send_for_credit(self, data: bytes) -> None:
        credit: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def take(_: Delivery) -> None:
            if not credit.done():
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
