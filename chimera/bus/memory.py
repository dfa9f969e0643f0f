"""The bus in memory: same contract, same checks, same errors; time, chance and faults belong to the caller."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Self

import anyio.lowlevel
import msgspec

from chimera.clock import Clock
from chimera.errors import BadMessageError, BusDownError, ChimeraError, NotFoundError, UnavailableError

from ._bell import Bell
from ._gathering import Gathering
from ._guard import log_failure
from ._memory_buckets import MemoryKeys, MemoryObjects
from ._memory_consuming import MemoryConsuming
from ._memory_hub import Bucket, Interest, MemoryHub
from ._memory_streams import MemoryStream
from ._replies import Replies, raise_for_status
from .contract import (
    Appended,
    BusStatistics,
    Claim,
    Delivery,
    Handler,
    KeyValue,
    Objects,
    State,
    StateListener,
    Stored,
    StreamHolding,
    StreamSpec,
    Subscription,
)
from .subject import check_group, check_name, check_pattern, check_size, check_subject

_YIELD_MASK = 63
_IDLE_S = 3600.0
_READ_BATCH = 256
_LATEST = -1


class MemoryBus:
    """A ``Bus`` on a ``MemoryHub``; several on one hub are several nodes.

    Args:
        hub: What it is connected to.
        clock: For deadlines; the hub's if not given.
        name: Of this node; unlike any other's on the hub.
    """

    def __init__(self, hub: MemoryHub, clock: Clock | None = None, *, name: str = "node") -> None:
        check_name(name, "node")
        self.name = name
        self.connected = False
        self._hub, self._clock = hub, clock or hub.clock
        self._inbox = f"_INBOX.{name}"
        self._replies = Replies(self._inbox, self._clock)
        self._listeners: list[StateListener] = []
        self._keys: list[MemoryKeys] = []
        self._interests: set[Interest] = set()
        self._state: State = "closed"
        self._counts = dict.fromkeys(("sent", "received", "dropped", "errors", "reconnects"), 0)

    @property
    def inbox(self) -> str:
        """Prefix of this bus's own reply subjects, without the last dot."""
        return self._inbox

    @property
    def max_payload(self) -> int:
        """Largest message, headers included, in bytes."""
        return self._hub.max_payload

    async def __aenter__(self) -> Self:
        """Join the hub."""
        self._hub.join(self)
        self._add(self._inbox + ".*", self._replies.take)
        self.connected = True
        self._tell("connected")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Let what is on its way to this bus arrive, then leave."""
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
        self.connected = False
        self._hub.leave(self)
        self._interests.clear()
        self._replies.lose()
        self._tell("closed")

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send at most once. Honours cancellation."""
        check_subject(subject)
        if reply:
            check_subject(reply)
        check_size(data, headers, self.max_payload)
        if not self.connected:
            raise BusDownError
        self._counts["sent"] += 1
        if not self._counts["sent"] & _YIELD_MASK:
            await self._operate()
        self._route(subject, data, reply, headers)

    async def flush(self, timeout_s: float = 5.0) -> None:  # noqa: ARG002 - the contract's
        """Everything sent has reached the hub."""
        await self._operate()

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float = 5.0, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """One answer. ``NotRunningError`` at once when nobody listens."""
        token, future = self._replies.ask(subject, timeout_s)
        try:
            await self.publish(subject, data, reply=self._replies.prefix + token, headers=headers)
            delivery = await future
        finally:
            self._replies.drop(token)
        raise_for_status(delivery, subject)
        return delivery

    def open_reply(self, callback: Handler, subject: str = "") -> str:
        """A fresh reply subject; all that arrives there goes to ``callback``."""
        return self._replies.open(callback, subject)

    def close_reply(self, reply: str) -> None:
        """Deliver nothing more to this reply subject."""
        self._replies.close(reply)

    async def request_many(self, subject: str, data: bytes, *, timeout_s: float, stall_s: float) -> list[Delivery]:
        """Answers until ``stall_s`` passed without one, or ``timeout_s`` in all."""
        gathering = Gathering(subject)
        reply = self._replies.open(gathering.take, subject)
        try:
            await self.publish(subject, data, reply=reply)
            return await gathering.answers(self._clock, timeout_s, stall_s)
        finally:
            self._replies.close(reply)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Deliver messages to ``handler``, in order, from now on."""
        check_pattern(subject)
        if queue:
            check_name(queue, "queue group")
        return _Live(self, self._add(subject, handler, queue))

    async def declare(self, spec: StreamSpec) -> None:
        """Create the stream or bring it to ``spec``."""
        check_name(spec.name, "stream")
        for subject in spec.subjects:
            check_pattern(subject)
        await self._operate()
        stream = self._hub.streams.setdefault(spec.name, MemoryStream(spec, self._hub.clock))
        stream.spec = spec

    async def append(
        self, subject: str, data: bytes, *, msg_id: str, expected_last: int | None = None,
        timeout_s: float = 5.0,  # noqa: ARG002 - the contract's
    ) -> Appended:  # fmt: skip
        """Store in the stream that captures ``subject``."""
        check_subject(subject)
        if not msg_id:
            raise BadMessageError("an append needs a msg_id: without one a repeated try would be stored twice")
        headers = {"Nats-Msg-Id": msg_id}
        check_size(data, headers, self.max_payload)
        await self._operate()
        stream = self._hub.stream_of(subject)
        if stream is None:
            raise UnavailableError(f"no stream or JetStream service takes {subject}")
        appended = stream.append(subject, data, headers, msg_id, expected_last)
        self._hub.route(self.name, subject, data, "", headers)
        return appended

    async def append_many(self, messages: Sequence[tuple[str, bytes, str]], *, timeout_s: float = 10.0) -> None:
        """Store many ``(subject, data, msg_id)`` of one stream."""
        for subject, data, msg_id in messages:
            check_subject(subject)
            check_size(data, {"Nats-Msg-Id": msg_id}, self.max_payload)
        for subject, data, msg_id in messages:
            await self.append(subject, data, msg_id=msg_id, timeout_s=timeout_s)

    async def append_group(
        self, messages: Sequence[tuple[str, bytes, int]], *, msg_id: str,
        timeout_s: float = 5.0,  # noqa: ARG002 - the contract's
    ) -> list[Appended]:  # fmt: skip
        """Store all of one stream or none."""
        check_group(messages, msg_id, self.max_payload)
        await self._operate()
        stream = self._hub.stream_of(messages[0][0])
        if stream is None:
            raise UnavailableError(f"no stream or JetStream service takes {messages[0][0]}")
        appended = stream.append_group(messages, msg_id)
        for subject, data, _ in messages:
            self._hub.route(self.name, subject, data)
        return appended

    async def last(self, stream: str, subject: str, *, timeout_s: float = 5.0) -> Stored | None:  # noqa: ARG002 - the contract's
        """The last message of a subject."""
        await self._operate()
        return self._stream(stream).last(subject)

    def read(
        self, stream: str, *, start_seq: int = 1, subject: str = "", follow: bool = False, latest: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Stored]]:
        """Messages in order from ``start_seq``, without a durable consumer."""
        return self._read(stream, _LATEST if latest else start_seq, subject, follow=follow)

    async def consume(
        self, stream: str, durable: str, handler: Callable[[list[Claim]], Awaitable[None]], *, subject: str = "",
        batch: int = 100, ack_wait_s: float = 30.0, max_ack_pending: int = 1000,
    ) -> None:  # fmt: skip
        """Take for ever (until cancelled) and hand batches to ``handler``."""
        check_name(durable, "consumer")
        while stream not in self._hub.streams:  # as on NATS: it may be declared later
            await self._clock.sleep(0.1)
        source = self._hub.streams[stream]
        consumer = source.consumer(durable, subject, ack_wait_s, max_ack_pending)
        await MemoryConsuming(source, consumer, self._clock, self._operate).run(handler, batch, lambda: self.connected)

    async def stream_state(self, stream: str) -> tuple[int, int, int]:
        """(first sequence, last sequence, messages) of a stream."""
        await self._operate()
        return self._stream(stream).state()

    async def stream_holding(self, stream: str) -> StreamHolding:
        """A stream's limits and what it holds."""
        await self._operate()
        return self._stream(stream).holding()

    async def stored_bytes(self) -> int:
        """Bytes that all streams hold."""
        await self._operate()
        return sum(stream.size() for stream in self._hub.streams.values())

    async def purge(self, stream: str, *, before_seq: int) -> None:
        """Remove all messages of a stream below ``before_seq``."""
        await self._operate()
        self._stream(stream).purge(before_seq)

    async def key_value(self, bucket: str, *, history: int = 1, max_bytes: int = -1) -> KeyValue:  # noqa: ARG002 - the contract's
        """The bucket, made if absent. Only last values are kept, whatever ``history``."""
        check_name(bucket, "bucket")
        await self._operate()
        content = self._hub.buckets.setdefault(bucket, Bucket())
        keys = MemoryKeys(content, self._operate, self._clock, self.max_payload)
        self._keys.append(keys)
        return keys

    async def objects(self, bucket: str, *, max_bytes: int = -1) -> Objects:  # noqa: ARG002 - the contract's
        """The bucket, made if absent."""
        check_name(bucket, "bucket")
        await self._operate()
        return MemoryObjects(self._hub.objects.setdefault(bucket, {}), self._operate)

    def on_state(self, listener: StateListener) -> None:
        """Tell ``listener`` of every change of state. It must not raise."""
        self._listeners.append(listener)

    def statistics(self) -> BusStatistics:
        """Counters and state."""
        return BusStatistics(
            state=self._state, **self._counts, rebuilt=0, pending=len(self._replies),
            subscriptions=len(self._interests), rtt_s=0.0 if self.connected else None, url="memory:" + self.name,
        )  # fmt: skip

    def failed(self, error: BaseException) -> None:
        """The hub tells: a handler raised."""
        self._counts["errors"] += 1
        log_failure(error)

    def dropped(self) -> None:
        """The hub tells: too many deliveries were waiting."""
        self._counts["dropped"] += 1

    def arrived(self) -> None:
        """The hub tells: a delivery was made."""
        self._counts["received"] += 1

    def connection(self, *, up: bool) -> None:
        """The hub tells: the wire was cut or mended."""
        if up == self.connected:
            return
        self.connected = up
        if not up:
            self._replies.lose()
        else:
            self._counts["reconnects"] += 1
            for keys in self._keys:
                keys.reconnected()
        self._tell("connected" if up else "disconnected")

    async def remove(self, interest: Interest) -> None:
        """End a subscription."""
        self._interests.discard(interest)
        self._hub.remove(interest)

    async def _operate(self) -> None:
        await anyio.lowlevel.checkpoint()
        if not self.connected:
            raise BusDownError

    def _add(self, subject: str, handler: Handler, queue: str = "") -> Interest:
        interest = Interest(self, subject, handler, queue)
        self._interests.add(interest)
        self._hub.add(interest)
        return interest

    def _route(self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None) -> None:
        heard = self._hub.route(self.name, subject, data, reply, headers)
        stream = self._hub.stream_of(subject)
        if stream is not None:
            self._store(stream, subject, data, reply, headers or {})
        elif reply and not heard:
            self._hub.route(self.name, reply, b"", "", {"Status": "503"})

    def _store(self, stream: MemoryStream, subject: str, data: bytes, reply: str, headers: Mapping[str, str]) -> None:
        with suppress(ChimeraError):  # a plain publish learns nothing of a refusal
            appended = stream.append(subject, data, headers, headers.get("Nats-Msg-Id", ""), None)
            if reply:
                ack = {"stream": appended.stream, "seq": appended.seq, "duplicate": appended.duplicate}
                self._hub.route(self.name, reply, msgspec.json.encode(ack))

    def _stream(self, name: str) -> MemoryStream:
        check_name(name, "stream")
        stream = self._hub.streams.get(name)
        if stream is None:
            raise NotFoundError(f"there is no stream {name}")
        return stream

    @asynccontextmanager
    async def _read(
        self, name: str, start_seq: int, subject: str, *, follow: bool
    ) -> AsyncGenerator[AsyncIterator[Stored]]:
        stream = self._stream(name)
        await self._operate()
        bell = Bell()
        stream.listen(bell.ring)
        messages = self._messages(stream, bell, start_seq, subject, follow=follow)
        try:
            yield messages
        finally:
            stream.unlisten(bell.ring)
            await messages.aclose()

    async def _messages(
        self, stream: MemoryStream, bell: Bell, seq: int, subject: str, *, follow: bool
    ) -> AsyncGenerator[Stored]:
        if seq == _LATEST:
            begun = stream.latest(subject)
            seq = stream.state()[1] + 1
            for message in begun:
                yield message
        while True:
            batch = stream.after(seq, subject, _READ_BATCH) if self.connected else []
            for message in batch:
                seq = message.seq + 1
                yield message
            if not batch:
                if not follow:
                    return
                await bell.wait(self._clock, _IDLE_S)

    def _tell(self, state: State) -> None:
        self._state = state
        for listener in self._listeners:
            try:
                listener(state)
            except Exception as error:  # noqa: BLE001 - it must not raise, and shall not stop the others
                log_failure(error)


class _Live:
    """A subscription's handle."""

    def __init__(self, bus: MemoryBus, interest: Interest) -> None:
        self._bus, self._interest = bus, interest

    async def unsubscribe(self) -> None:
        """End it."""
        await self._bus.remove(self._interest)
