"""The audit log on JetStream: written before an act, and once more with its outcome."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated

import anyio
import anyio.to_thread
import msgspec

from chimera.bus.contract import Bus, StreamSpec
from chimera.clock import Clock
from chimera.errors import ChimeraError, CorruptError, FencedError, OverloadedError, UnavailableError
from subjects.report import AuditCheck, AuditEntry

from .anchor import Anchor, AnchorFile
from .chain import GENESIS, Draft, check_chain, link

STREAM, SUBJECT = "AUDIT", "chimera.audit.log"
PATIENCE_S = 3.0
"""How long an act waits for its entry to be stored; then it is refused."""

_MOST_WAITING, _GROUP = 1000, 200
_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of the stream: entries, and who wrote them, so that a writer knows its own after a lost answer."""

    writer: str
    entries: Annotated[list[AuditEntry], msgspec.Meta(min_length=1)]


_decode = msgspec.json.Decoder(Group).decode


@dataclass(slots=True, eq=False)
class _Waiter:
    draft: Draft
    done: anyio.Event = field(default_factory=anyio.Event)
    number: int = 0


class AuditLog:
    """Appends entries, many to a message, each message following the last by compare-and-set.

    Nodes that write at once take turns: who was slower reads the new end and chains on to it.

    Args:
        bus: Where the stream is.
        clock: Stamps pauses.
        anchor: The file outside the log; ``None`` = no anchor.
        max_bytes: Most that the stream keeps.
        replicas: Copies of the stream.
    """

    def __init__(
        self, bus: Bus, clock: Clock, anchor: AnchorFile | None, *, max_bytes: int = 1 << 30, replicas: int = 1
    ) -> None:
        self._bus, self._clock, self._anchor = bus, clock, anchor
        self._spec = StreamSpec(STREAM, (SUBJECT,), max_bytes=max_bytes, replicas=replicas)
        self._writer = uuid.uuid4().hex
        self._waiting: list[_Waiter] = []
        self._wake = anyio.Event()
        self._seq, self._number, self._hash = 0, 0, GENESIS
        self.written = 0

    async def open(self) -> None:
        """Declare the stream and find its end."""
        await self._bus.declare(self._spec)
        await self._find_end()

    async def record(self, draft: Draft) -> int:
        """Store an entry; its number. Returns once it is durable.

        Raises:
            UnavailableError: If it could not be stored in time: then the act must not be done.
            OverloadedError: If too many wait.
        """
        waiter = self._queue(draft)
        with anyio.move_on_after(PATIENCE_S):
            await waiter.done.wait()
        if not waiter.number:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            raise UnavailableError(
                "the audit log takes nothing now, so that privileged acts are refused",
                hint="see whether NATS is reachable with: chimera status",
            )
        return waiter.number

    def note(self, draft: Draft) -> None:
        """Store an entry without waiting, as soon as possible: an outcome, whose act was recorded before."""
        if len(self._waiting) < _MOST_WAITING:
            self._queue(draft)

    async def run(self) -> None:
        """Write what waits, for ever."""
        while True:
            if not self._waiting:
                self._wake = anyio.Event()
                await self._wake.wait()
            if self._waiting:
                await self._write(self._waiting[:_GROUP])

    async def entries(self) -> AsyncIterator[AuditEntry]:
        """Every entry, oldest first.

        Raises:
            CorruptError: If a message holds no entries.
        """
        async with self._bus.read(STREAM) as messages:
            async for message in messages:
                try:
                    group = _decode(message.data)
                except msgspec.DecodeError as error:
                    raise CorruptError(f"message {message.seq} of {STREAM} holds no audit entries: {error}") from error
                for entry in group.entries:
                    yield entry

    async def verify(self) -> AuditCheck:
        """Follow the chain from its first entry and compare it with the anchor."""
        anchor = await anyio.to_thread.run_sync(self._anchor.read) if self._anchor else None
        try:
            found = [entry async for entry in self.entries()]
        except CorruptError as error:
            check = check_chain((), anchor=anchor.hash if anchor else "", anchor_number=anchor.number if anchor else 0)
            return msgspec.structs.replace(check, intact=False, reason=error.detail)
        return check_chain(found, anchor=anchor.hash if anchor else "", anchor_number=anchor.number if anchor else 0)

    def _queue(self, draft: Draft) -> _Waiter:
        if len(self._waiting) >= _MOST_WAITING:
            raise OverloadedError(f"{len(self._waiting)} audit entries wait to be stored", retry_after_s=1.0)
        waiter = _Waiter(draft)
        self._waiting.append(waiter)
        self._wake.set()
        return waiter

    async def _write(self, group: list[_Waiter]) -> None:
        entries, last = list[AuditEntry](), self._hash
        for number, waiter in enumerate(group, self._number + 1):
            entries.append(link(waiter.draft, number, last))
            last = entries[-1].hash
        if not await self._append(entries):
            return
        self._number, self._hash = entries[-1].number, last
        self.written += len(entries)
        await self._keep_anchor(entries[-1])  # first: what was acknowledged is anchored
        for waiter, entry in zip(group, entries, strict=True):
            waiter.number = entry.number
            waiter.done.set()
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    async def _append(self, entries: list[AuditEntry]) -> bool:
        """Store one message, however often it must be tried; false if somebody else's came first."""
        data, msg_id, pause = msgspec.json.encode(Group(self._writer, entries)), uuid.uuid4().hex, _PAUSE_S
        while True:
            try:
                self._seq = (await self._bus.append(SUBJECT, data, msg_id=msg_id, expected_last=self._seq)).seq
            except FencedError:
                return await self._is_ours(entries[0])
            except ChimeraError:  # stored or not: the same id and place make the next try safe
                await self._clock.sleep(pause)
                pause = min(_LONGEST_PAUSE_S, 2 * pause)
            else:
                return True

    async def _is_ours(self, first: AuditEntry) -> bool:
        """After a refusal: whether it was our own lost try that took the place. Else the end is read anew."""
        async with self._bus.read(STREAM, start_seq=self._seq + 1) as messages:
            async for message in messages:
                found = _decode(message.data)
                self._seq = message.seq
                if found.writer == self._writer and found.entries[0].hash == first.hash:
                    return True
                self._number, self._hash = found.entries[-1].number, found.entries[-1].hash
        return False

    async def _keep_anchor(self, entry: AuditEntry) -> None:
        if self._anchor is not None:
            await anyio.to_thread.run_sync(self._anchor.write, Anchor(entry.number, entry.hash, entry.at))

    async def _find_end(self) -> None:
        _, last, count = await self._bus.stream_state(STREAM)
        self._seq, self._number, self._hash = last, 0, GENESIS
        if not count:
            return
        async with self._bus.read(STREAM, start_seq=last) as messages:
            async for message in messages:
                entry = _decode(message.data).entries[-1]
                self._seq, self._number, self._hash = message.seq, entry.number, entry.hash
