"""Key-value and object buckets, in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from chimera.clock import Clock
from chimera.errors import FencedError

from ._bell import Bell
from ._memory_hub import Bucket
from .contract import KeyEntry
from .subject import check_key, check_size

Operate = Callable[[], Awaitable[None]]
"""Yields to others, and raises ``BusDownError`` if the bus has no connection."""

_LOOK_S = 3600.0


class MemoryKeys:
    """A ``KeyValue`` bucket of a hub, seen from one bus."""

    def __init__(self, bucket: Bucket, operate: Operate, clock: Clock, max_payload: int) -> None:
        self._bucket, self._operate, self._clock, self._max_payload = bucket, operate, clock, max_payload
        self._watches: set[MemoryWatch] = set()

    async def get(self, key: str) -> KeyEntry | None:
        """The value, or ``None``."""
        check_key(key)
        await self._operate()
        entry = self._bucket.entries.get(key)
        return entry if entry is not None and entry.value is not None else None

    async def put(self, key: str, value: bytes) -> int:
        """Set whatever was there; the new revision."""
        return await self._set(key, value, None)

    async def create(self, key: str, value: bytes) -> int:
        """Set if absent or deleted."""
        check_key(key)
        await self._operate()
        entry = self._bucket.entries.get(key)
        if entry is not None and entry.value is not None:
            raise FencedError(f"{key} has a value")
        return self._write(key, value)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Set if the key's last revision is ``revision``."""
        return await self._set(key, value, revision)

    async def delete(self, key: str) -> None:
        """Mark as deleted."""
        await self._set(key, None, None)

    async def keys(self) -> list[str]:
        """Keys that have a value, sorted."""
        await self._operate()
        return sorted(key for key, entry in self._bucket.entries.items() if entry.value is not None)

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[KeyEntry | None]]:
        """All present values, then ``None`` once, then every change."""
        return self._watching()

    def reconnected(self) -> None:
        """Every watch begins anew with what is there."""
        for watch in self._watches:
            watch.snapshot(self._bucket)

    @asynccontextmanager
    async def _watching(self) -> AsyncGenerator[AsyncIterator[KeyEntry | None]]:
        await self._operate()
        watch = MemoryWatch(self._clock)
        watch.snapshot(self._bucket, first=True)
        self._bucket.watchers.add(watch.note)
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._bucket.watchers.discard(watch.note)
            self._watches.discard(watch)

    async def _set(self, key: str, value: bytes | None, revision: int | None) -> int:
        check_key(key)
        await self._operate()
        last = self._bucket.entries.get(key)
        if revision is not None and revision != (last.revision if last else 0):
            raise FencedError(f"wrong last revision of {key}: {last.revision if last else 0}")
        return self._write(key, value)

    def _write(self, key: str, value: bytes | None) -> int:
        check_size(value or b"", None, self._max_payload)
        self._bucket.revision += 1
        entry = KeyEntry(key, value, self._bucket.revision)
        self._bucket.entries[key] = entry
        for watcher in list(self._bucket.watchers):
            watcher(entry)
        return entry.revision


class MemoryWatch:
    """Changes of a bucket, in order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: deque[KeyEntry | None] = deque()
        self._bell = Bell()

    def __aiter__(self) -> MemoryWatch:
        return self

    async def __anext__(self) -> KeyEntry | None:
        while not self._ready:
            await self._bell.wait(self._clock, _LOOK_S)
        return self._ready.popleft()

    def snapshot(self, bucket: Bucket, *, first: bool = False) -> None:
        """All that is there, by revision; deletions only if it is not the first one, which ends with ``None``."""
        entries = sorted(bucket.entries.values(), key=lambda entry: entry.revision)
        self._ready.extend(entry for entry in entries if entry.value is not None or not first)
        if first:
            self._ready.append(None)
        self._bell.ring()

    def note(self, entry: KeyEntry) -> None:
        """A change."""
        self._ready.append(entry)
        self._bell.ring()


class MemoryObjects:
    """An ``Objects`` bucket of a hub."""

    def __init__(self, objects: dict[str, bytes], operate: Operate) -> None:
        self._objects, self._operate = objects, operate

    async def put(self, name: str, data: bytes) -> None:
        """Store ``data``."""
        await self._operate()
        self._objects[name] = bytes(data)

    async def get(self, name: str) -> bytes | None:
        """The bytes, or ``None``."""
        await self._operate()
        return self._objects.get(name)

    async def names(self) -> list[str]:
        """What there is, sorted."""
        await self._operate()
        return sorted(self._objects)

    async def delete(self, name: str) -> None:
        """Remove it; no error if absent."""
        await self._operate()
        self._objects.pop(name, None)
