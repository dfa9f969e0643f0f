"""The message bus on NATS. Together with the private modules beside it the only code that imports nats-py.

async with NatsBus("nats://127.0.0.1:4222", name="node-1", seed=seed, inbox_prefix="_INBOX.agent") as bus:
    answer = await bus.request("chimera.agent.predict", body)
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, Self

import anyio

from chimera.clock import Clock, SystemClock
from chimera.errors import BadMessageError, BadSettingError

from ._api import Api
from ._atomic import Groups
from ._connection import Connection, Interest
from ._consuming import Consuming
from ._hot import HotPath
from ._keys import NatsKeys
from ._keys import bucket_config as keys_config
from ._objects import NatsObjects
from ._objects import bucket_config as objects_config
from ._reading import Reading
from ._streams import Streams
from .contract import (
    Appended,
    BusStatistics,
    Claim,
    Handler,
    KeyValue,
    Objects,
    StateListener,
    Stored,
    StreamHolding,
    StreamSpec,
    Subscription,
)
from .subject import check_name, check_pattern, check_subject


class NatsBus(HotPath):
    """A ``Bus`` on a NATS server or cluster.

    Args:
        servers: One or more URLs.
        name: Shown by the server's monitoring.
        seed: Text of an nkey seed, if the server wants one.
        credentials: File with a user's JWT and seed, if the server wants one.
        inbox_prefix: What these credentials may subscribe to for replies.
        clock: Time for deadlines, probes and waits.
        connect_timeout_s: For the first connection; afterwards it is tried for ever.
        rng: For tokens and jitter.
        most_bytes: Bound of every stream and bucket that has one. A server reserves what a stream may grow to, so on
            a small disk large bounds would leave no room for others.
        replicas: Servers of a cluster that keep each stream and bucket, at least.
    """

    def __init__(
        self, servers: Sequence[str] | str, *, name: str, seed: str = "", credentials: Path | None = None,
        inbox_prefix: str = "_INBOX", clock: Clock | None = None, connect_timeout_s: float = 5.0,
        rng: random.Random | None = None, most_bytes: int | None = None, replicas: int = 1,
    ) -> None:  # fmt: skip
        check_subject(inbox_prefix)
        self._rng = rng or random.Random()  # noqa: S311 - tokens need to differ, not to be secret
        self._connect_timeout_s = connect_timeout_s
        super().__init__(f"{inbox_prefix}.{self._rng.getrandbits(96):024x}", clock or SystemClock())
        urls = [servers] if isinstance(servers, str) else list(servers)
        if not urls:
            raise BadSettingError("no NATS server is given", hint="set --nats-url or CHIMERA_NATS__URL")
        options: dict[str, Any] = {"name": name}
        if seed:
            options["nkeys_seed_str"] = seed
        if credentials is not None:
            options["user_credentials"] = str(credentials)
        self._connection = Connection(self, urls, options, self.clock, self._rng)
        self._api = Api(self, self._connection, self._rng)
        self._streams = Streams(
            self._api, self, self._connection, self._rng, most_bytes=most_bytes, replicas=replicas
        )  # fmt: skip
        self._groups = Groups(self._api, self, self._connection, self._rng)
        self._stack = AsyncExitStack()
        self._group: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        """Connect within the deadline."""
        await self._connection.open(self._connect_timeout_s)
        self._group = await self._stack.enter_async_context(anyio.create_task_group())
        self._group.start_soon(self._connection.supervise)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Drain: stop intake, flush, close; bounded in time; never raises for a broken connection."""
        try:
            with anyio.CancelScope(shield=True):
                await self._connection.drain()
            if self._group is not None:
                self._group.cancel_scope.cancel()
            await self._stack.aclose()  # without the body's exception, which would come out wrapped in a group
        finally:
            with anyio.CancelScope(shield=True):
                await self._connection.close()

    async def flush(self, timeout_s: float = 5.0) -> None:
        """Wait until the server has seen everything sent so far."""
        await self._connection.flush(timeout_s)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Deliver messages to ``handler``, in order, from now on."""
        check_pattern(subject)
        if queue:
            check_name(queue, "queue group")
        return _Live(self._connection, await self._connection.subscribe(subject, handler, queue))

    async def declare(self, spec: StreamSpec) -> None:
        """Create the stream or bring it to ``spec``."""
        await self._streams.declare(spec)

    async def append(
        self, subject: str, data: bytes, *, msg_id: str, expected_last: int | None = None, timeout_s: float = 5.0
    ) -> Appended:
        """Store in the stream that captures ``subject``; retried inside the deadline with the same ``msg_id``."""
        if not msg_id:
            raise BadMessageError("an append needs a msg_id: without one a repeated try would be stored twice")
        return await self._streams.append(
            subject, data, msg_id=msg_id, expected_last=expected_last, timeout_s=timeout_s
        )

    async def append_many(self, messages: Sequence[tuple[str, bytes, str]], *, timeout_s: float = 10.0) -> None:
        """Store many ``(subject, data, msg_id)`` of one stream, pipelined."""
        await self._streams.append_many(messages, timeout_s=timeout_s)

    async def append_group(
        self, messages: Sequence[tuple[str, bytes, int]], *, msg_id: str, timeout_s: float = 5.0
    ) -> list[Appended]:
        """Store all ``(subject, data, expected_last)`` of one stream or none."""
        return await self._groups.append(messages, msg_id=msg_id, timeout_s=timeout_s)

    async def last(self, stream: str, subject: str, *, timeout_s: float = 5.0) -> Stored | None:
        """The last message of a subject as the stream's leader has it, or ``None``."""
        check_name(stream, "stream")
        return await self._groups.last(stream, subject, timeout_s=timeout_s)

    def read(
        self, stream: str, *, start_seq: int = 1, subject: str = "", follow: bool = False, latest: bool = False
    ) -> AbstractAsyncContextManager[Reading]:
        """Messages in order from ``start_seq``, without a durable consumer."""
        check_name(stream, "stream")
        return self._reading(stream, subject, 0 if latest else max(1, start_seq), follow=follow)

    async def consume(
        self, stream: str, durable: str, handler: Callable[[list[Claim]], Awaitable[None]], *, subject: str = "",
        batch: int = 100, ack_wait_s: float = 30.0, max_ack_pending: int = 1000,
    ) -> None:  # fmt: skip
        """Pull for ever (until cancelled) and hand batches to ``handler``; survives outages by itself."""
        check_name(stream, "stream")
        check_name(durable, "consumer")
        await Consuming(
            self._api, self, self._connection, self._rng, stream, durable, handler, subject, batch, ack_wait_s,
            max_ack_pending,
        ).run()  # fmt: skip

    async def stream_state(self, stream: str) -> tuple[int, int, int]:
        """(first sequence, last sequence, messages) of a stream."""
        return await self._streams.state(stream)

    async def stream_holding(self, stream: str) -> StreamHolding:
        """A stream's limits in force and what it holds."""
        return await self._streams.holding(stream)

    async def stored_bytes(self) -> int:
        """Bytes that all streams and buckets take on disk."""
        return await self._streams.stored_bytes()

    async def purge(self, stream: str, *, before_seq: int) -> None:
        """Remove all messages of a stream below ``before_seq``."""
        await self._streams.purge(stream, before_seq)

    async def key_value(self, bucket: str, *, history: int = 1, max_bytes: int = -1) -> KeyValue:
        """The bucket, made if absent."""
        check_name(bucket, "bucket")
        await self._streams.declare_raw(keys_config(bucket, history, max_bytes))
        stream = f"KV_{bucket}"
        return NatsKeys(
            self._api, self._streams, self._rng, bucket, lambda follow: self._reading(stream, "", 0, follow=follow)
        )

    async def objects(self, bucket: str, *, max_bytes: int = -1) -> Objects:
        """The bucket, made if absent."""
        check_name(bucket, "bucket")
        await self._streams.declare_raw(objects_config(bucket, max_bytes))
        stream = f"OBJ_{bucket}"
        return NatsObjects(
            self._api, self._streams, self.clock, self._rng, bucket=bucket,
            open_reading=lambda subject, start_seq: self._reading(stream, subject, start_seq, follow=False),
        )  # fmt: skip

    def on_state(self, listener: StateListener) -> None:
        """Tell ``listener`` of every change of state. It must not raise."""
        self._connection.on_state(listener)

    def statistics(self) -> BusStatistics:
        """Counters and state."""
        return self._connection.statistics()

    def _reading(self, stream: str, subject: str, start_seq: int, *, follow: bool) -> Reading:
        return Reading(
            self._api, self, self._connection, self._rng,
            stream=stream, subject=subject, start_seq=start_seq, follow=follow,
        )  # fmt: skip


class _Live:
    """A subscription's handle."""

    def __init__(self, connection: Connection, row: Interest) -> None:
        self._connection, self._row = connection, row

    async def unsubscribe(self) -> None:
        """End it. Does not raise when the connection is gone."""
        await self._connection.unsubscribe(self._row)
