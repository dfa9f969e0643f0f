"""Writes records by compare-and-set: changes of one device are written together, those of different ones at once.

* A change is a pure function of the present records. It is applied to what is cached, and stored only if that was the
  truth; otherwise the truth is read from the stream's leader and the change is applied anew.
* A gang's change is one atomic batch over all its records.
* An unknown outcome is not guessed: the leader is asked, and the change, which says the same when it is applied twice,
  goes on from there.
* Changes are taken in the order in which they came, on every device: so no two gangs can wait for each other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio
import msgspec

from actors.scheduling.crew import Crew
from chimera.bus.contract import Bus, Stored
from chimera.clock import Clock
from chimera.errors import ChimeraError, FencedError, NoDeviceError, UnavailableError

from .record import Record, Refusal, pack, unpack
from .registry import Known, Registry
from .streams import DEVICE, DEVICES, key_of, subject_of

Apply = Callable[[list[Record]], "list[Record] | Refusal"]
"""Records in the order of the change's keys to their successors; those it leaves alone are given back as they are."""

MOST_FOLDED = 64
MOST_WAITING = 100_000
_PATIENCE_S = 10.0
_TRY_S = 4.0
_AGAIN_S = 0.05
_RECORDS = f"{DEVICE}."


@dataclass(slots=True, eq=False)
class Change:
    """Something that is to be done to one or more records."""

    keys: tuple[str, ...]
    apply: Apply
    future: asyncio.Future[list[Record] | Refusal]


@dataclass(slots=True, eq=False)
class Lane:
    """What is to be done to one device, in order; ``busy`` while something is being stored."""

    key: str
    waiting: deque[Change] = field(default_factory=deque[Change])
    busy: bool = False


@dataclass(slots=True, eq=False)
class Job:
    """Changes that are stored with one message, or a gang's with one group."""

    changes: list[Change]
    lanes: list[Lane]


class Book:
    """The records of all devices, as cached and as written.

    Args:
        bus: Where the stream is.
        clock: For deadlines.
        registry: The cache.
        spawn: Starts a background task.
        token: Makes this instance's message ids its own.
    """

    def __init__(
        self, bus: Bus, clock: Clock, registry: Registry, spawn: Callable[..., None], token: str
    ) -> None:  # fmt: skip
        self._bus, self._clock, self.registry, self._token = bus, clock, registry, token
        self._lanes: dict[str, Lane] = {}
        self._crew: Crew[Job] = Crew(spawn, self._work)
        self._count = 0
        self._waiting = 0
        self.on_page: dict[str, Callable[[Stored], None]] = {}
        self.read_to = 0
        self.highest = 0
        self.doubtful: set[str] = set()
        self.conflicts = 0
        self.written = 0

    # -- reading -------------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read all records there are."""
        async with self._bus.read(DEVICES) as source:
            async for stored in source:
                self._take(stored)

    async def follow(self) -> None:
        """Take every record as it is written, by whomever, for ever."""
        while True:
            try:
                async with self._bus.read(DEVICES, follow=True, latest=True) as source:
                    async for stored in source:
                        self._take(stored)
            except ChimeraError:
                await self._clock.sleep(1.0)

    async def catch_up(self, timeout_s: float = 1.0) -> None:
        """Wait until everything is known that was stored before, by whomever."""
        end = (await self._bus.stream_state(DEVICES))[1]
        with anyio.move_on_after(timeout_s):
            while self.read_to < end:
                await self._clock.sleep(0.005)

    def _take(self, stored: Stored) -> None:
        self.read_to = stored.seq
        self.highest = max(self.highest, stored.seq)
        if not stored.subject.startswith(_RECORDS):
            self.on_page.get(stored.subject, _unread)(stored)
            return
        key = key_of(stored.subject)
        known = self.registry.known.get(key)
        if known is None or stored.seq > known.seq:
            self._put(key, stored)
        elif (stored.seq, _write_of(stored)) != (known.seq, known.write):
            self.doubtful.add(key)  # late, or of a store that was set back: only its leader can tell

    def _put(self, key: str, stored: Stored | None) -> None:
        """Take what is stored for a device; what can't be read is nobody's to lend."""
        if stored is None:
            self.registry.put(key, None, 0, "")
            return
        try:
            record = unpack(stored.data) if stored.data else None
        except msgspec.DecodeError as error:
            self.registry.put(key, None, stored.seq, _write_of(stored))
            self.registry.unreadable[key] = str(error)
        else:
            self.registry.put(key, record, stored.seq, _write_of(stored))

    async def refresh(self, key: str) -> None:
        """Read a device's record from the stream's leader: the truth, also if it is older than what was known."""
        stored = await self._bus.last(DEVICES, subject_of(key), timeout_s=_TRY_S)
        known = self.registry.known.get(key)
        if known is None or stored is None or (stored.seq, _write_of(stored)) != (known.seq, known.write):
            self._put(key, stored)

    async def resolve_doubts(self, most: int = 256) -> None:
        """Ask the leader for devices of which something older came than was known."""
        for key in list(self.doubtful)[:most]:
            self.doubtful.discard(key)
            lane = self._lanes.get(key)
            if lane is None or not lane.busy:  # what is being written finds out by itself
                await self.refresh(key)

    # -- writing -------------------------------------------------------------------------------------------------------

    async def change(self, keys: Sequence[str], apply: Apply) -> list[Record] | Refusal:
        """Have a change made and stored; what it made of the records, or why they do not allow it.

        Raises:
            NoDeviceError: If a device is not known.
            UnavailableError: If it can't be stored in time; then it may have been, and asking again finds out.
        """
        if self._waiting >= MOST_WAITING:
            raise UnavailableError("too many changes wait to be stored", retry_after_s=1.0)
        future: asyncio.Future[list[Record] | Refusal] = asyncio.get_running_loop().create_future()
        change = Change(tuple(keys), apply, future)
        for key in change.keys:
            self._lanes.setdefault(key, Lane(key)).waiting.append(change)
        self._waiting += 1
        self._pump(change.keys[0])
        try:
            return await future
        finally:
            self._waiting -= 1

    async def create(self, record: Record) -> None:
        """Write the first record of a device; nothing if it has one by now."""
        known = self.registry.known.get(record.key, Known())
        if known.record is None and record.key not in self.registry.unreadable:
            await self._replace(record.key, pack(record), known.seq)

    async def forget(self, key: str) -> None:
        """Write that a device is none any more. The caller has made sure that nobody has anything of it."""
        known = self.registry.known.get(key)
        if known is not None:
            await self._replace(key, b"", known.seq)

    async def _replace(self, key: str, data: bytes, seq: int) -> None:
        write = self.make_id()
        try:
            stored = await self._bus.append(subject_of(key), data, msg_id=write, expected_last=seq)
        except FencedError:
            await self.refresh(key)
            return
        self.registry.put(key, unpack(data) if data else None, stored.seq, write)

    def make_id(self) -> str:
        """An id for a message of this instance."""
        self._count += 1
        return f"{self._token}.{self._count}"

    def _pump(self, key: str) -> None:
        """Begin what may begin on a device now."""
        lane = self._lanes[key]
        if lane.busy or not lane.waiting:
            return
        head = lane.waiting[0]
        if len(head.keys) == 1:
            changes: list[Change] = []
            while lane.waiting and len(lane.waiting[0].keys) == 1 and len(changes) < MOST_FOLDED:
                changes.append(lane.waiting.popleft())
            lane.busy = True
            self._crew.take(Job(changes, [lane]))
            return
        lanes = [self._lanes[one] for one in head.keys]
        if all(not one.busy and one.waiting and one.waiting[0] is head for one in lanes):
            for one in lanes:
                one.waiting.popleft()
                one.busy = True
            self._crew.take(Job([head], lanes))

    async def _work(self, job: Job, scope: anyio.CancelScope) -> None:  # noqa: ARG002 - nobody cancels one
        try:
            outcomes = await self._store(job)
        except ChimeraError as error:
            for change in job.changes:
                if not change.future.done():
                    change.future.set_exception(error)
        else:
            for change, outcome in zip(job.changes, outcomes, strict=True):
                if not change.future.done():
                    change.future.set_result(outcome)
        finally:
            for lane in job.lanes:
                lane.busy = False
            for lane in job.lanes:
                self._pump(lane.key)

    async def _store(self, job: Job) -> list[list[Record] | Refusal]:
        deadline = self._clock.monotonic() + _PATIENCE_S
        while True:
            before = {lane.key: self._present(lane.key) for lane in job.lanes}
            after = dict(before)
            outcomes = [_applied(change, after) for change in job.changes]
            fresh = [key for key, record in after.items() if record is not before[key]]
            if not fresh:
                return outcomes
            if len(job.lanes) > 1:
                fresh = list(after)  # a record that is left as it was may be another by now: only writing it tells
            try:
                await self._write(fresh, after)
            except FencedError:
                self.conflicts += 1
            except (ChimeraError, OSError) as error:
                if self._clock.monotonic() >= deadline:
                    raise UnavailableError(f"it can't be stored now: {error}") from error
            else:
                return outcomes
            await self._look(job, fresh, deadline)
            if all(self.registry.record(key) == after[key] for key in fresh):
                return outcomes  # it was stored, and the answer was lost

    async def _write(self, keys: list[str], after: dict[str, Record]) -> None:
        write, seqs = self.make_id(), {key: self.registry.known[key].seq for key in keys}
        if len(keys) == 1:
            key = keys[0]
            stored = await self._bus.append(
                subject_of(key), pack(after[key]), msg_id=write, expected_last=seqs[key], timeout_s=_TRY_S
            )
            self._stored(key, after[key], stored.seq, write)
        else:
            group = [(subject_of(key), pack(after[key]), seqs[key]) for key in keys]
            places = await self._bus.append_group(group, msg_id=write, timeout_s=_TRY_S)
            for number, (key, stored) in enumerate(zip(keys, places, strict=True)):
                self._stored(key, after[key], stored.seq, f"{write}.{number}")

    def _stored(self, key: str, record: Record, seq: int, write: str) -> None:
        self.written += 1
        self.highest = max(self.highest, seq)
        if seq >= self.registry.known[key].seq:
            self.registry.put(key, record, seq, write)
        else:
            self.doubtful.add(key)

    async def _look(self, job: Job, keys: list[str], deadline: float) -> None:
        """Ask the leader what is stored; until the deadline, for without an answer nothing may be decided."""
        while True:
            try:
                for key in keys:
                    await self.refresh(key)
            except (ChimeraError, OSError) as error:
                if self._clock.monotonic() >= deadline:
                    raise UnavailableError(f"what is stored can't be read now: {error}") from error
                await self._clock.sleep(_AGAIN_S)
            else:
                if self._clock.monotonic() >= deadline:
                    raise UnavailableError(f"{', '.join(lane.key for lane in job.lanes)}: too many write there")
                return

    def _present(self, key: str) -> Record:
        record = self.registry.record(key)
        if record is None:
            raise NoDeviceError(f"there is no device {key}")
        return record


def _unread(_stored: Stored) -> None:
    """A page that a newer broker keeps."""


def _write_of(stored: Stored) -> str:
    return stored.headers.get("Nats-Msg-Id", "")


def _applied(change: Change, records: dict[str, Record]) -> list[Record] | Refusal:
    outcome = change.apply([records[key] for key in change.keys])
    if not isinstance(outcome, Refusal):
        records.update(zip(change.keys, outcome, strict=True))
    return outcome
