"""A stream and its durable consumers, in memory, with JetStream's rules."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from chimera.clock import Clock
from chimera.errors import FencedError, UnavailableError

from .contract import Appended, Stored, StreamHolding, StreamSpec
from .subject import matches


@dataclass(slots=True)
class Pending:
    """A message taken and not yet acknowledged."""

    due: float
    attempts: int


@dataclass(slots=True)
class Consumer:
    """Where a durable consumer is."""

    subject: str
    ack_wait_s: float
    max_ack_pending: int
    next_seq: int = 1
    pending: dict[int, Pending] = field(default_factory=dict[int, Pending])


class MemoryStream:
    """Messages in order of their sequence.

    Args:
        spec: Limits and subjects.
        clock: For ages, duplicates and redelivery.
    """

    def __init__(self, spec: StreamSpec, clock: Clock) -> None:
        self.spec = spec
        self._clock = clock
        self._messages: dict[int, Stored] = {}
        self._sizes = 0
        self._last_seq = 0
        self._last_of: dict[str, int] = {}
        self._of: dict[str, deque[int]] = {}
        self._ids: dict[str, tuple[int, float]] = {}
        self._consumers: dict[str, Consumer] = {}
        self._listeners: set[Callable[[], None]] = set()

    def captures(self, subject: str) -> bool:
        """True if what is published there is stored here."""
        return any(matches(pattern, subject) for pattern in self.spec.subjects)

    def listen(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever something may have become readable."""
        self._listeners.add(callback)

    def unlisten(self, callback: Callable[[], None]) -> None:
        """Do not call it any more."""
        self._listeners.discard(callback)

    def append(
        self, subject: str, data: bytes, headers: Mapping[str, str], msg_id: str, expected_last: int | None
    ) -> Appended:
        """Store one message, unless its id is known.

        Raises:
            FencedError: If ``expected_last`` is not the subject's last sequence.
            UnavailableError: If a work queue is full.
        """
        self._expire()
        known = self._ids.get(msg_id) if msg_id else None
        last = self._last_of.get(subject, 0)
        if known is not None and (expected_last is None or known[0] == last):
            return Appended(self.spec.name, known[0], duplicate=True)
        if expected_last is not None and expected_last != last:
            raise FencedError(f"wrong last sequence: {last}", data={"err_code": 10071})
        self._make_room(len(data))
        self._last_seq += 1
        seq, now = self._last_seq, self._clock.time()
        self._messages[seq] = Stored(self.spec.name, seq, subject, bytes(data), now, dict(headers))
        self._sizes += len(data)
        self._last_of[subject] = seq
        if self.spec.per_subject:
            self._keep_last(subject)
        if msg_id:
            self._ids[msg_id] = (seq, self._clock.monotonic() + self.spec.duplicate_window_s)
        self._tell()
        return Appended(self.spec.name, seq)

    def append_group(self, messages: Sequence[tuple[str, bytes, int]], msg_id: str) -> list[Appended]:
        """Store all of ``(subject, data, expected_last)`` or none.

        Raises:
            FencedError: If one of the sequences is not its subject's last.
        """
        ids = [f"{msg_id}.{number}" for number in range(len(messages))]
        known = [self._ids.get(one, (0, 0.0))[0] for one in ids]
        if all(
            seq and self._last_of.get(subject, 0) == seq for seq, (subject, _, _) in zip(known, messages, strict=True)
        ):
            return [Appended(self.spec.name, seq, duplicate=True) for seq in known]
        for subject, _, expected_last in messages:
            if (last := self._last_of.get(subject, 0)) != expected_last:
                raise FencedError(f"wrong last sequence: {last}", data={"err_code": 10071})
        return [
            self.append(subject, data, {"Nats-Msg-Id": one}, one, expected_last)
            for one, (subject, data, expected_last) in zip(ids, messages, strict=True)
        ]

    def last(self, subject: str) -> Stored | None:
        """The last message of a subject."""
        self._expire()
        return self._messages.get(self._last_of.get(subject, 0))

    def latest(self, subject: str) -> list[Stored]:
        """The last message of every subject that matches (empty: all), in order."""
        self._expire()
        found = [self._messages[seq] for seq in sorted(self._last_of.values())]
        return [message for message in found if not subject or matches(subject, message.subject)]

    def state(self) -> tuple[int, int, int]:
        """(first sequence, last sequence, messages)."""
        self._expire()
        first = next(iter(self._messages), self._last_seq + 1 if self._last_seq else 0)
        return first, self._last_seq, len(self._messages)

    def holding(self) -> StreamHolding:
        """Limits and contents."""
        self._expire()
        oldest = next(iter(self._messages.values()), None)
        return StreamHolding(
            self.spec.max_age_s, self.spec.max_bytes, self.spec.replicas, len(self._messages), self._sizes,
            oldest.time if oldest else None,
        )  # fmt: skip

    def size(self) -> int:
        """Bytes of the messages."""
        return self._sizes

    def purge(self, before_seq: int) -> None:
        """Remove the messages below ``before_seq``."""
        for seq in [seq for seq in self._messages if seq < before_seq]:
            self._remove(seq)

    def after(self, seq: int, subject: str, limit: int) -> list[Stored]:
        """Up to ``limit`` messages from ``seq`` on whose subject matches (empty: all)."""
        self._expire()
        found: list[Stored] = []
        for at, message in self._messages.items():
            if at >= seq and (not subject or matches(subject, message.subject)):
                found.append(message)
                if len(found) == limit:
                    break
        return found

    def consumer(self, durable: str, subject: str, ack_wait_s: float, max_ack_pending: int) -> Consumer:
        """The durable consumer, made if absent, brought to these settings."""
        consumer = self._consumers.setdefault(durable, Consumer(subject, ack_wait_s, max_ack_pending))
        consumer.subject, consumer.ack_wait_s, consumer.max_ack_pending = subject, ack_wait_s, max_ack_pending
        return consumer

    def take(self, consumer: Consumer, batch: int) -> list[tuple[Stored, int]]:
        """Messages to work on, each with the number of its delivery: those due again first."""
        now = self._clock.monotonic()
        taken = [self._again(consumer, seq, now) for seq, held in sorted(consumer.pending.items()) if held.due <= now]
        found = [item for item in taken[:batch] if item is not None]
        room = min(batch - len(found), consumer.max_ack_pending - len(consumer.pending))
        for message in self.after(consumer.next_seq, consumer.subject, room) if room > 0 else ():
            consumer.next_seq = message.seq + 1
            consumer.pending[message.seq] = Pending(now + consumer.ack_wait_s, 1)
            found.append((message, 1))
        return found

    def _again(self, consumer: Consumer, seq: int, now: float) -> tuple[Stored, int] | None:
        message, held = self._messages.get(seq), consumer.pending[seq]
        if message is None:
            del consumer.pending[seq]
            return None
        held.due, held.attempts = now + consumer.ack_wait_s, held.attempts + 1
        return message, held.attempts

    def due_in(self, consumer: Consumer) -> float | None:
        """Seconds until the next redelivery, ``None`` if nothing is pending."""
        dues = [held.due for held in consumer.pending.values()]
        return max(0.0, min(dues) - self._clock.monotonic()) if dues else None

    def ack(self, consumer: Consumer, seq: int) -> None:
        """Done: a work queue forgets the message."""
        if consumer.pending.pop(seq, None) is not None and self.spec.retention == "workqueue":
            self._remove(seq)
        self._tell()

    def postpone(self, consumer: Consumer, seq: int, delay_s: float) -> None:
        """Deliver it again in ``delay_s``."""
        if (held := consumer.pending.get(seq)) is not None:
            held.due = self._clock.monotonic() + delay_s
        self._tell()

    def _make_room(self, size: int) -> None:
        limit = self.spec.max_bytes
        if limit < 0 or self._sizes + size <= limit:
            return
        if self.spec.retention == "workqueue":
            raise UnavailableError("maximum bytes exceeded")
        while self._messages and self._sizes + size > limit:
            self._remove(next(iter(self._messages)))

    def _expire(self) -> None:
        now = self._clock.monotonic()
        while self._ids and (oldest := next(iter(self._ids.items())))[1][1] <= now:
            del self._ids[oldest[0]]
        if self.spec.max_age_s > 0:
            horizon = self._clock.time() - self.spec.max_age_s
            while self._messages and next(iter(self._messages.values())).time <= horizon:
                self._remove(next(iter(self._messages)))

    def _keep_last(self, subject: str) -> None:
        seqs = self._of.setdefault(subject, deque())
        seqs.append(self._last_seq)
        while len(seqs) > self.spec.per_subject:
            self._remove(seqs.popleft())

    def _remove(self, seq: int) -> None:
        message = self._messages.pop(seq, None)
        if message is None:
            return
        self._sizes -= len(message.data)
        if self._last_of.get(message.subject) == seq:
            del self._last_of[message.subject]

    def _tell(self) -> None:
        for callback in list(self._listeners):
            callback()
