"""A log with one writer: one subject, many entries to a message.

Why it is built this way:

* *Acknowledged means stored*: whoever waits for an entry is told after the stream's PubAck, never before.
* *Group commit*: while one message is on its way, entries gather for the next. A message is one fsync however many
  entries it holds, so the ``power`` profile costs a share of an fsync per entry, without atomic batches.
* *Fencing*: every append names the sequence it follows (compare-and-set). A leader that was replaced while it slept
  writes no more: its next append is refused, it fails, and is restarted as a follower. No lease has to be trusted.
* *A woken leader does not speak for the present*: what it answers from memory it confirms first, when its last word was
  stored longer ago than ``LEASE_S``: is the end of the log still its own?
* *Nothing is undone*: an append whose answer is lost is repeated with the same id until stored or refused. So state
  may move on in memory at once; only what others see (replies, callbacks) waits for the acknowledgement.
* *Compaction* is the owner's: it writes again what is still true, and everything before is purged.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
import msgspec

from .bus.contract import Bus, StreamSpec
from .clock import Clock
from .errors import (
    BusDownError,
    ChimeraError,
    DeadlineError,
    FencedError,
    RestartingError,
    TooLargeError,
    UnavailableError,
)

E = TypeVar("E")
GROUP_BYTES = 256 * 1024
"""A message is closed when it is larger than this; one entry alone may be larger still."""

LEASE_S = 2.0
"""How long a stored word speaks for who wrote it: less than others wait before they take over from a silent leader."""

_ROOM = 8192
_TRY_S = 5.0
_CONFIRM_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class LogKind(Generic[E]):
    """What a log is.

    Attributes:
        stream: The stream.
        subject: Its only subject.
        writer: Who writes it, as it is told to people.
        pack: An entry as bytes.
        unpack: The entries of a message; raises ``msgspec.DecodeError`` for what is none.
    """

    stream: str
    subject: str
    writer: str
    pack: Callable[[E], bytes]
    unpack: Callable[[bytes], Iterable[E]]

    def spec(self, replicas: int = 1, max_bytes: int = -1) -> StreamSpec:
        """The stream as it must be."""
        return StreamSpec(self.stream, (self.subject,), replicas=replicas, max_bytes=max_bytes)


def join(packed: Sequence[bytes]) -> bytes:
    """A message: a msgpack array (array 32) of entries packed before."""
    return b"\xdd" + len(packed).to_bytes(4, "big") + b"".join(packed)


class Group:
    """Entries that travel in one message."""

    __slots__ = ("_changes", "lost", "packed", "size", "stored", "then")

    def __init__(self, changes: str) -> None:
        self._changes = changes
        self.packed: list[bytes] = []
        self.size = 0
        self.stored = asyncio.Event()  # anyio's makes whoever waits for what is stored already wait a round
        self.lost = False
        self.then: list[Callable[[], None]] = []

    async def wait(self) -> None:
        """Return when it is stored.

        Raises:
            RestartingError: If it never will be: somebody else leads now.
        """
        await self.stored.wait()
        if self.lost:
            raise RestartingError(self._changes, retry_after_s=1.0)

    def lose(self) -> None:
        """It can't be stored any more."""
        self.lost = True
        self.stored.set()


class Journal(Generic[E]):
    """The one writer of a log, once it has taken the lead.

    Args:
        bus: Where the stream is.
        clock: For pauses.
        kind: What log it is.
    """

    def __init__(self, bus: Bus, clock: Clock, kind: LogKind[E]) -> None:
        self._bus, self._clock, self._kind = bus, clock, kind
        self._changes = f"the {kind.writer} changes its leader"
        self._token = uuid.uuid4().hex[:12]
        self._count = 0
        self._groups: list[Group] = []
        self.latest: Group | None = None
        self._fenced = False
        self._storing = False
        self._known_at = -math.inf
        self._confirming = anyio.Lock()
        self._wake = anyio.Event()
        self.last_seq = 0
        self.messages = 0
        self.bytes = 0
        self.trouble = ""
        self.appended = 0
        self.entries = 0

    async def replay(self) -> AsyncIterator[E]:
        """Every entry from the beginning; afterwards ``last_seq`` is what the next append follows.

        Raises:
            UnavailableError: If a message is none of ours: nothing may be guessed.
        """
        self.last_seq = self.messages = self.bytes = 0
        async with self._bus.read(self._kind.stream) as messages:
            async for message in messages:
                try:
                    for entry in self._kind.unpack(message.data):
                        yield entry
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    where = f"message {message.seq} of {self._kind.stream}"
                    raise UnavailableError(f"{where} can't be read: {error}") from error
                self.last_seq = message.seq
                self.messages += 1
                self.bytes += len(message.data)

    async def take_lead(self, entry: E) -> bool:
        """Append ``entry`` as the next message; false if somebody else was faster: read again."""
        try:
            await self._append(join([self._kind.pack(entry)]), patient=False)
        except FencedError:
            return False
        return True

    def check(self, packed: bytes) -> None:
        """Refuse an entry that no message can hold.

        Raises:
            TooLargeError: Naming the limit.
        """
        most = self._bus.max_payload - _ROOM
        if len(packed) > most:
            raise TooLargeError(f"the entry takes {len(packed)} bytes, at most {most} can be stored")

    def write(self, packed: bytes, then: Callable[[], None] | None = None) -> Group:
        """Put an entry into the next message; ``then`` is called when it is stored, and so is the group's event set."""
        group = self._groups[-1] if self._groups else None
        if group is None or group.size + len(packed) > GROUP_BYTES:
            group = self.latest = Group(self._changes)
            if self._fenced:
                group.lose()
            self._groups.append(group)
            self._wake.set()
        group.packed.append(packed)
        group.size += len(packed)
        if then is not None:
            group.then.append(then)
        return group

    async def run(self) -> None:
        """Store what is written, one message after the other, for ever.

        Raises:
            FencedError: If somebody else has taken the lead.
        """
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            if self._fenced:
                raise FencedError(f"somebody else has written to the log: another {self._kind.writer} leads")
            while self._groups:
                group = self._groups.pop(0)
                try:
                    await self._append(join(group.packed), patient=True)
                except FencedError:
                    self._oust()
                    group.lose()
                    raise
                self.entries += len(group.packed)
                for callback in group.then:
                    callback()
                group.stored.set()

    async def barrier(self) -> None:
        """Wait until everything written so far is stored."""
        if self.latest is not None:
            await self.latest.wait()

    async def confirm(self) -> None:
        """Be sure to lead still, or to have done so a moment ago.

        While the server is away nobody can take the lead, and what is known goes on being told.

        Raises:
            RestartingError: If somebody else leads now. The writer ends with a ``FencedError``.
        """
        if self._is_old():
            async with self._confirming:
                if self._is_old():
                    await self._look()
        if self._fenced:
            raise RestartingError(self._changes, retry_after_s=1.0)

    def _is_old(self) -> bool:
        return not self._fenced and self._clock.monotonic() - self._known_at > LEASE_S

    async def _look(self) -> None:
        """Compare the end of the log with ours, unless an append is under way: its answer says it better."""
        began, last = self._clock.monotonic(), await self._end_of_log()
        if last < 0 or self._storing or self._groups:
            return
        if last > self.last_seq:
            self._oust()
        else:
            self._known_at = max(self._known_at, began)

    async def _end_of_log(self) -> int:
        """The last sequence; -1 while the server is away.

        Raises:
            RestartingError: If the server is there and does not say: others may have got further with it.
        """
        if self._bus.statistics().state != "connected":
            return -1
        with anyio.move_on_after(_CONFIRM_S):
            try:
                return (await self._bus.stream_state(self._kind.stream))[1]
            except BusDownError:
                return -1
            except ChimeraError:
                pass
        try:
            await self._bus.flush(_CONFIRM_S)
        except ChimeraError:
            return -1
        raise RestartingError("the log does not say who leads", retry_after_s=_CONFIRM_S)

    def _oust(self) -> None:
        self._fenced = True
        for lost in self._groups:
            lost.lose()
        self._groups.clear()
        self._wake.set()

    @property
    def first_seq(self) -> int:
        """Where the log begins."""
        return self.last_seq - self.messages + 1

    async def purge(self, before_seq: int) -> None:
        """Drop the messages that the entries written since have made superfluous."""
        await self._bus.purge(self._kind.stream, before_seq=before_seq)
        left = self.last_seq - before_seq + 1
        self.bytes = self.bytes * left // max(1, self.messages)
        self.messages = left

    async def _append(self, data: bytes, *, patient: bool) -> None:
        self._storing = True
        try:
            await self._insist(data, patient=patient)
        finally:
            self._storing = False

    async def _insist(self, data: bytes, *, patient: bool) -> None:
        self._count += 1
        msg_id, pause = f"{self._token}.{self._count}", _FIRST_PAUSE_S
        started, tries = self._clock.monotonic(), 0
        while True:
            began = self._clock.monotonic()
            try:
                stored = await self._bus.append(
                    self._kind.subject, data, msg_id=msg_id, expected_last=self.last_seq, timeout_s=_TRY_S
                )
                break
            except (BusDownError, DeadlineError, UnavailableError) as error:
                tries += 1
                self.trouble = self._describe(error, started)
                if not patient:
                    raise
            await self._clock.sleep(pause)
            pause = min(_LONGEST_PAUSE_S, pause * 2)
        self.trouble, self._known_at = "", began
        self.last_seq = stored.seq
        self.messages += 1
        self.bytes += len(data)
        self.appended += 1

    def _describe(self, error: ChimeraError, started: float) -> str:
        return f"the log takes nothing for {math.ceil(self._clock.monotonic() - started)} s: {error.detail}"
