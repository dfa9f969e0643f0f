"""The release book: every agent's releases and pointers, in JetStream, changed by compare-and-set.

Bucket ``agents`` holds ``<agent>`` (the pointers) and ``<agent>.<n>`` (a release, created once); bucket ``modules``
holds modules by digest. Memory is a cache that ``follow`` keeps fresh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
import msgspec

from chimera.bus.contract import Bus, KeyEntry, KeyValue, Objects
from chimera.errors import BadMessageError, ConflictError, FencedError, NoAgentError, NoReleaseError, UnavailableError
from chimera.wire import decode, encode
from subjects.agent import AgentView, Candidate, Release

from .drafts import Draft
from .pointers import Act, Pointers, deployed, registered, retired, rolled_back

BUCKET, MODULES = "agents", "modules"
_MOST_ORPHANS = 100


@dataclass(slots=True)
class Record:
    """An agent as the book knows it. ``revision`` is what compare-and-set takes."""

    name: str
    pointers: Pointers
    revision: int
    releases: dict[int, Release] = field(default_factory=dict[int, Release])

    @property
    def is_live(self) -> bool:
        """True unless it is retired."""
        return self.pointers.state == "live"

    @property
    def named(self) -> set[int]:
        """Every release that its pointers name."""
        now = self.pointers
        return {number for number in (now.live, now.candidate, now.previous) if number is not None}

    def release(self, number: int) -> Release:
        """One release.

        Raises:
            NoReleaseError: If it is not in the book.
        """
        release = self.releases.get(number)
        if release is None:
            raise NoReleaseError(f"agent '{self.name}' has no release {number}")
        return release

    def view(self) -> AgentView:
        """The record as it is shown."""
        now = self.pointers
        candidate = None if now.candidate is None else Candidate(release=now.candidate, share=now.share)
        return AgentView(
            name=self.name, state=now.state, live=now.live, candidate=candidate, previous=now.previous,
            releases=[self.releases[number] for number in sorted(self.releases)],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """What an act came to; ``act`` is ``None`` if everything was so already."""

    record: Record
    act: Act | None = None


class ReleaseBook:
    """Reads and acts. Every act is safe to repeat; of two acts at once one wins and the other is fenced.

    Args:
        bus: Where the buckets are.
        time: Unix seconds, for ``created_at``.
        new_id: Makes unique ids of acts.
    """

    def __init__(self, bus: Bus, *, time: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._bus = bus
        self._time = time
        self._new_id = new_id
        self._records: dict[str, Record] = {}
        self._early: dict[str, dict[int, Release]] = {}
        self._kv: KeyValue | None = None
        self._objects: Objects | None = None
        self.synced = anyio.Event()
        self.unreadable: dict[str, str] = {}

    async def open(self) -> None:
        """Make the buckets if they are absent."""
        self._kv = await self._bus.key_value(BUCKET)
        self._objects = await self._bus.objects(MODULES)

    async def follow(self, changed: Callable[[str], None]) -> None:
        """Keep the cache fresh, for ever; ``changed`` is told each agent whose pointers moved. Sets ``synced`` once."""
        async with self._bucket.watch() as entries:
            async for entry in entries:
                if entry is None:
                    self.synced.set()
                elif self._take(entry):
                    changed(entry.key)

    def names(self) -> list[str]:
        """Every agent, retired ones included, sorted."""
        return sorted(self._records)

    def cached(self, name: str) -> Record | None:
        """An agent as last seen."""
        return self._records.get(name)

    def at_hand(self, name: str) -> Record | None:
        """An agent as last seen, if all that its pointers name was seen too. An act on it may be fenced."""
        record = self._records.get(name)
        if record is None or not record.named <= record.releases.keys():
            return None
        return record

    async def read(self, name: str) -> Record:
        """An agent as it is now, from the book itself, with every release that its pointers name.

        Raises:
            NoAgentError: If it was never registered.
        """
        entry = await self._bucket.get(name)
        if entry is None or entry.value is None:
            raise NoAgentError(f"there is no agent '{name}'")
        self._take(entry)
        record = self._records.get(name)
        if record is None:
            raise UnavailableError(f"the book's entry of '{name}' can't be read: {self.unreadable.get(name, '')}")
        for number in record.named:
            await self.fetch(record, number)
        return record

    async def fetch(self, record: Record, number: int) -> Release:
        """One release, from the cache or the book.

        Raises:
            NoReleaseError: If there is none.
        """
        if number not in record.releases:
            entry = await self._bucket.get(f"{record.name}.{number}")
            if entry is not None and number <= record.pointers.last:
                self._take(entry)
        return record.release(number)

    async def keep_module(self, digest: str, module: bytes) -> None:
        """Store a module under its digest."""
        await self._modules.put(digest, module)

    async def module(self, digest: str) -> bytes | None:
        """A module by its digest."""
        return await self._modules.get(digest)

    async def register(self, draft: Draft, *, by: str, note: str) -> Change:
        """Enter a new agent; the same draft again changes nothing.

        Raises:
            ConflictError: If there is another agent of that name.
        """
        name = draft.manifest.name
        try:
            return self._same(await self.read(name), draft)
        except NoAgentError:
            release = await self._create(draft, 0, parent=None, by=by, note=note)
        try:
            return await self._commit(name, registered(release.number), 0, "registered", release)
        except FencedError:
            return self._same(await self.read(name), draft)

    async def deploy(self, record: Record, target: Draft | int, share: float, *, by: str, note: str) -> Change:
        """Go to a release of this content, or of this number; see ``pointers.deployed``.

        Raises:
            NoReleaseError: If the number is not in the book.
            ConflictError: If the live release would go on trial.
            FencedError: If somebody else changed the agent since ``record`` was read.
        """
        now = record.pointers
        number = target if isinstance(target, int) else _existing(record, target)
        if number is not None:
            await self.fetch(record, number)
            act, then = deployed(now, number, share)
            return Change(record) if then == now else await self._commit(record.name, then, record.revision, act)
        deployed(now, now.last + 1, share)  # refuses before anything is written
        created = await self._create(_draft(target), now.last, parent=now.live, by=by, note=note)
        act, then = deployed(now, created.number, share)
        return await self._commit(record.name, then, record.revision, act, created)

    async def rollback(self, record: Record) -> Change:
        """Drop the candidate, or return to the previous release; see ``pointers.rolled_back``.

        Raises:
            NoReleaseError: If there is nothing to return to.
            FencedError: If somebody else changed the agent since ``record`` was read.
        """
        then = rolled_back(record.pointers, record.name)
        return await self._commit(record.name, then, record.revision, "rolled-back")

    async def retire(self, record: Record) -> Change:
        """Take an agent out of service; again changes nothing.

        Raises:
            FencedError: If somebody else changed the agent since ``record`` was read.
        """
        if not record.is_live:
            return Change(record)
        return await self._commit(record.name, retired(record.pointers), record.revision, "retired")

    @property
    def _bucket(self) -> KeyValue:
        if self._kv is None:
            raise UnavailableError("the release book is not open yet")
        return self._kv

    @property
    def _modules(self) -> Objects:
        if self._objects is None:
            raise UnavailableError("the release book is not open yet")
        return self._objects

    def _same(self, record: Record, draft: Draft) -> Change:
        if not record.is_live:
            raise ConflictError(f"agent '{record.name}' is retired", hint="deploy brings it back")
        if not any(draft.is_same(release) for release in record.releases.values()):
            raise ConflictError(f"there is an agent '{record.name}' already", hint="deploy changes it")
        return Change(record)

    async def _create(self, draft: Draft, last: int, *, parent: int | None, by: str, note: str) -> Release:
        """Write a release under the next free number.

        A number that another act took is never shared, whatever stands there: only its own act may point to it or
        remove it. An act that died in between leaves a release that never served.
        """
        at = datetime.fromtimestamp(self._time(), UTC).isoformat(timespec="milliseconds")
        for number in range(last + 1, last + 1 + _MOST_ORPHANS):
            release = draft.release(number, parent=parent, created_at=at, created_by=by, note=note)
            try:
                await self._bucket.create(f"{release.agent}.{number}", encode(release, "json"))
            except FencedError:
                continue
            return release
        raise FencedError(f"{_MOST_ORPHANS} other acts on '{draft.manifest.name}' are under way")

    async def _commit(
        self, name: str, then: Pointers, revision: int, act: Act, created: Release | None = None
    ) -> Change:
        then = msgspec.structs.replace(then, act=self._new_id())
        value = encode(then, "json")
        try:
            written = await (
                self._bucket.update(name, value, revision) if revision else self._bucket.create(name, value)
            )
        except FencedError:
            written = await self._own(name, then.act)
            if not written:
                await self._discard(created)
                raise
        if created is not None:
            self._remember(created)
        self._take(KeyEntry(name, value, written))
        return Change(self._records[name], act)

    async def _own(self, name: str, act: str) -> int:
        """The revision of our own write whose acknowledgement was lost; 0 if somebody else wrote."""
        entry = await self._bucket.get(name)
        if entry is None or entry.value is None:
            return 0
        return entry.revision if decode(entry.value, Pointers).act == act else 0

    async def _discard(self, created: Release | None) -> None:
        if created is not None:
            await self._bucket.delete(f"{created.agent}.{created.number}")

    def _take(self, entry: KeyEntry) -> bool:
        """Bring one value into the cache; true if it moved an agent's pointers."""
        name, _, number = entry.key.partition(".")
        try:
            return self._take_release(name, int(number), entry) if number else self._take_pointers(entry)
        except (BadMessageError, ValueError) as error:
            self.unreadable[entry.key] = str(error)
            return False

    def _take_release(self, name: str, number: int, entry: KeyEntry) -> bool:
        if entry.value is None:
            self._releases(name).pop(number, None)
        elif number not in self._releases(name):
            self._remember(decode(entry.value, Release))
        return False

    def _take_pointers(self, entry: KeyEntry) -> bool:
        record = self._records.get(entry.key)
        if record is not None and entry.revision <= record.revision:
            return False
        if entry.value is None:
            return self._records.pop(entry.key, None) is not None
        pointers = decode(entry.value, Pointers)
        # a new object, so that whoever holds the old one keeps a consistent picture
        self._records[entry.key] = Record(entry.key, pointers, entry.revision, self._releases(entry.key))
        self._early.pop(entry.key, None)
        self.unreadable.pop(entry.key, None)
        return True

    def _releases(self, name: str) -> dict[int, Release]:
        record = self._records.get(name)
        return record.releases if record is not None else self._early.setdefault(name, {})

    def _remember(self, release: Release) -> None:
        self._releases(release.agent)[release.number] = release


def _existing(record: Record, draft: Draft) -> int | None:
    """The number under which this content is live or on trial already: a repeated act makes no second release."""
    for number in (record.pointers.live, record.pointers.candidate):
        if number is not None and draft.is_same(record.release(number)):
            return number
    return None


def _draft(target: Draft | int) -> Draft:
    if isinstance(target, int):
        raise TypeError("a number is never created")
    return target
