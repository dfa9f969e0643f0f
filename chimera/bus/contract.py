"""What the runtime needs of a message bus. ``memory`` and ``nats`` implement it; one suite tests both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self


@dataclass(slots=True)
class Delivery:
    """One message that arrived. ``reply`` is empty when no answer is wanted."""

    subject: str
    data: bytes
    reply: str = ""
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """A stream's acknowledgement: stored durably (by the server's profile) at ``seq``."""

    stream: str
    seq: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """A message read back from a stream."""

    stream: str
    seq: int
    subject: str
    data: bytes
    time: float
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A value of a key, and the revision that compare-and-set takes. ``value`` is ``None`` for a deletion."""

    key: str
    value: bytes | None
    revision: int


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """A stream as it must be. Declared at every start: that also adopts blocks a power cut orphaned.

    Attributes:
        name: The stream.
        subjects: What it captures; never a subject that is asked.
        max_age_s: Oldest message kept, in seconds; 0 = no limit.
        max_bytes: Most bytes kept; -1 = no limit.
        duplicate_window_s: How long a repeated ``Nats-Msg-Id`` is recognised.
        retention: ``limits`` or ``workqueue``.
        telemetry: True if acknowledged messages of its last moment may be lost with the server's process
            (``persist_mode: async``), for a fraction of the cost.
        per_subject: Messages kept of each subject, the last ones; 0 = no limit.
    """

    name: str
    subjects: tuple[str, ...]
    max_age_s: float = 0.0
    max_bytes: int = -1
    duplicate_window_s: float = 120.0
    retention: Literal["limits", "workqueue"] = "limits"
    telemetry: bool = False
    replicas: int = 1
    per_subject: int = 0


@dataclass(frozen=True, slots=True)
class StreamHolding:
    """What a stream may keep and what it holds now; ``oldest_at`` is Unix seconds, ``None`` if it is empty."""

    max_age_s: float
    max_bytes: int
    replicas: int
    messages: int
    bytes: int
    oldest_at: float | None


@dataclass(frozen=True, slots=True)
class BusStatistics:
    """Counters since the start; rates are the reader's business.

    ``reconnects`` counts every return of the connection; ``rebuilt`` those of them after the server had closed it for
    good (``-ERR``) or hung. ``dropped`` are messages lost to a full subscription queue, ``pending`` unanswered
    requests.
    """

    state: Literal["connected", "disconnected", "closed"]
    sent: int
    received: int
    dropped: int
    errors: int
    reconnects: int
    rebuilt: int
    pending: int
    subscriptions: int
    rtt_s: float | None
    url: str


Handler = Callable[[Delivery], None]
"""Takes a delivery at once: a plain function that only enqueues. What it raises is counted and logged, never lost."""

State = Literal["connected", "disconnected", "closed"]
"""Of a connection: working, being re-established, or ended by ourselves."""

StateListener = Callable[[State], None]


class Subscription(Protocol):
    """Interest in a subject, kept across reconnects and rebuilt connections."""

    async def unsubscribe(self) -> None:
        """End it. Does not raise when the connection is gone."""
        ...


class Claim(Protocol):
    """A message taken from a durable consumer: done with, or given back."""

    @property
    def message(self) -> Stored:
        """What was taken."""
        ...

    @property
    def attempt(self) -> int:
        """How often it was delivered, counted from 1."""
        ...

    async def ack(self) -> None:
        """It is done; never deliver it again."""
        ...

    async def retry(self, delay_s: float = 0.0) -> None:
        """Deliver it again after ``delay_s``."""
        ...

    async def working(self) -> None:
        """Still at it: restart the redelivery timer."""
        ...


class KeyValue(Protocol):
    """A bucket of last values with compare-and-set."""

    async def get(self, key: str) -> KeyEntry | None:
        """The value, or ``None`` if the key is absent, deleted or expired."""
        ...

    async def put(self, key: str, value: bytes) -> int:
        """Set whatever was there; the new revision."""
        ...

    async def create(self, key: str, value: bytes) -> int:
        """Set if absent, deleted or expired.

        Raises:
            FencedError: If the key has a value.
        """
        ...

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Set if the key's last revision is ``revision``.

        Raises:
            FencedError: If it is not.
        """
        ...

    async def delete(self, key: str) -> None:
        """Mark as deleted."""
        ...

    async def keys(self) -> list[str]:
        """Keys that have a value, sorted."""
        ...

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[KeyEntry | None]]:
        """All present values, then ``None`` once, then every change, also across outages and restores.

        Values can repeat after an outage; the reader compares revisions.
        """
        ...


class Objects(Protocol):
    """A bucket of immutable blobs."""

    async def put(self, name: str, data: bytes) -> None:
        """Store ``data`` (idempotent: the same name holds the same bytes)."""
        ...

    async def get(self, name: str) -> bytes | None:
        """The bytes, or ``None``. Bounded by the bus's own deadline.

        Raises:
            CorruptError: If the bytes are not those that were stored.
        """
        ...

    async def names(self) -> list[str]:
        """What there is, sorted."""
        ...

    async def delete(self, name: str) -> None:
        """Remove it; no error if absent."""
        ...


class Bus(Protocol):
    """A connection to the message bus. Enter it as an async context manager: it owns its background tasks.

    Every awaiting method has a deadline of its own (``timeout_s``, default 5 s) and raises ``BusDownError`` when there
    is no connection (``ConnectionLostError``, a kind of it, when the work may have run), ``DeadlineError`` when the
    answer did not come, ``TooLargeError`` and ``BadMessageError`` *before* sending what the server would close the
    connection for (payload with headers, subject length and characters).
    """

    @property
    def inbox(self) -> str:
        """Prefix of this connection's own reply subjects, without the last dot."""
        ...

    @property
    def max_payload(self) -> int:
        """Largest message, headers included, in bytes."""
        ...

    async def __aenter__(self) -> Self:
        """Connect within the deadline."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Drain: stop intake, flush, close; bounded in time; never raises for a broken connection."""
        ...

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send at most once. Honours cancellation."""
        ...

    async def flush(self, timeout_s: float = 5.0) -> None:
        """Wait until the server has seen everything sent so far."""
        ...

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float = 5.0, headers: Mapping[str, str] | None = None
    ) -> Delivery:
        """One answer; ``NotRunningError`` when nobody listens and ``DeniedError`` when it is not permitted, at once."""
        ...

    def open_reply(self, callback: Handler, subject: str = "") -> str:
        """A fresh reply subject for ``publish(..., reply=...)``; all that arrives there goes to ``callback``.

        Cheaper than a subscription: it is a token under ``inbox``. Also delivered, with empty data and a ``Status``
        header: ``503`` nobody listens, ``502`` the connection was lost, and ``403`` publishing is not permitted (only
        if ``subject``, what will be asked, is given). Deadlines are the caller's business, and so is ``close_reply``.
        """
        ...

    def close_reply(self, reply: str) -> None:
        """Deliver nothing more to this reply subject."""
        ...

    async def request_many(self, subject: str, data: bytes, *, timeout_s: float, stall_s: float) -> list[Delivery]:
        """Answers until ``stall_s`` passed without one, or ``timeout_s`` in all (ADR-47)."""
        ...

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Deliver messages to ``handler``, in order, from now on."""
        ...

    async def declare(self, spec: StreamSpec) -> None:
        """Create the stream or bring it to ``spec``."""
        ...

    async def append(
        self, subject: str, data: bytes, *, msg_id: str, expected_last: int | None = None, timeout_s: float = 5.0
    ) -> Appended:
        """Store in the stream that captures ``subject``; retried inside the deadline with the same ``msg_id``.

        ``expected_last`` is the sequence that must be the subject's last: compare-and-set.

        Raises:
            FencedError: If it was not.
            UnavailableError: If no stream captures the subject or it refuses.
        """
        ...

    async def append_many(self, messages: Sequence[tuple[str, bytes, str]], *, timeout_s: float = 10.0) -> None:
        """Store many ``(subject, data, msg_id)`` of one stream; pipelined where an ack can speak for those before it.

        Raises like ``append``; then some may be stored: send all again with the same ids.
        """
        ...

    async def append_group(
        self, messages: Sequence[tuple[str, bytes, int]], *, msg_id: str, timeout_s: float = 5.0
    ) -> list[Appended]:
        """Store all ``(subject, data, expected_last)`` of one stream or none; subjects are unlike. At most 256.

        Raises:
            FencedError: If one of the sequences was not the last of its subject: nothing is stored. (After an answer
                that was lost: or all of it was, and is overwritten since.)
            UnavailableError: If the server knows no atomic batches (2.12), or like ``append``.
        """
        ...

    async def last(self, stream: str, subject: str, *, timeout_s: float = 5.0) -> Stored | None:
        """The last message of a subject as the stream's leader has it, or ``None``. The answer to "was it stored?"."""
        ...

    def read(
        self, stream: str, *, start_seq: int = 1, subject: str = "", follow: bool = False, latest: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Stored]]:
        """Messages in order from ``start_seq``, with no durable consumer; ends at the present end unless ``follow``.

        ``latest`` begins with the last message of each subject, and does so again after each outage.
        """
        ...

    async def consume(
        self,
        stream: str,
        durable: str,
        handler: Callable[[list[Claim]], Awaitable[None]],
        *,
        subject: str = "",
        batch: int = 100,
        ack_wait_s: float = 30.0,
        max_ack_pending: int = 1000,
    ) -> None:
        """Pull for ever (until cancelled) and hand batches to ``handler``; survives outages by itself.

        A handler that raises leaves its claims to redelivery after ``ack_wait_s``.
        """
        ...

    async def stream_state(self, stream: str) -> tuple[int, int, int]:
        """(first sequence, last sequence, messages) of a stream."""
        ...

    async def stream_holding(self, stream: str) -> StreamHolding:
        """A stream's limits in force and what it holds."""
        ...

    async def stored_bytes(self) -> int:
        """Bytes that all streams and buckets take on disk."""
        ...

    async def purge(self, stream: str, *, before_seq: int) -> None:
        """Remove all messages of a stream below ``before_seq``. Repeating it changes nothing."""
        ...

    async def key_value(self, bucket: str, *, history: int = 1, max_bytes: int = -1) -> KeyValue:
        """The bucket, made if absent."""
        ...

    async def objects(self, bucket: str, *, max_bytes: int = -1) -> Objects:
        """The bucket, made if absent."""
        ...

    def on_state(self, listener: StateListener) -> None:
        """Tell ``listener`` of every change of state. It must not raise."""
        ...

    def statistics(self) -> BusStatistics:
        """Counters and state."""
        ...
