"""Key-value buckets in NATS's own layout, so that ``nats kv`` shows them; compare-and-set on revisions."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from chimera.errors import FencedError, UnavailableError

from ._api import Api
from ._reading import Reading
from ._streams import Streams
from .contract import KeyEntry, Stored
from .subject import check_key

_GONE = frozenset({"DEL", "PURGE"})
_NO_MESSAGE = "404"


def bucket_config(bucket: str, history: int, max_bytes: int) -> dict[str, Any]:
    """The stream under a bucket, as every NATS client makes it."""
    return {
        "name": f"KV_{bucket}", "subjects": [f"$KV.{bucket}.>"], "max_msgs_per_subject": history,
        "max_bytes": max_bytes, "discard": "new", "allow_rollup_hdrs": True, "deny_delete": True, "allow_direct": True,
        "storage": "file", "num_replicas": 1, "duplicate_window": 120_000_000_000,
    }  # fmt: skip


class NatsKeys:
    """A ``KeyValue`` bucket.

    Args:
        api: JetStream, for reads.
        streams: JetStream, for writes.
        rng: For message ids.
        bucket: Its name.
        open_reading: Makes a reader of the bucket's stream that begins with the last value of every key.
    """

    def __init__(
        self, api: Api, streams: Streams, rng: random.Random, bucket: str, open_reading: Callable[[bool], Reading]
    ) -> None:
        self._api, self._streams, self._rng, self._open_reading = api, streams, rng, open_reading
        self._prefix = f"$KV.{bucket}."
        self._get = f"$JS.API.DIRECT.GET.KV_{bucket}.$KV.{bucket}."

    async def get(self, key: str) -> KeyEntry | None:
        """The value, or ``None`` if the key is absent, deleted or expired."""
        entry = await self._last(key)
        return entry if entry is not None and entry.value is not None else None

    async def put(self, key: str, value: bytes) -> int:
        """Set whatever was there; the new revision."""
        return await self._store(key, value)

    async def create(self, key: str, value: bytes) -> int:
        """Set if absent, deleted or expired."""
        try:
            return await self._store(key, value, expected=0)
        except FencedError:
            last = await self._last(key)
            if last is None or last.value is not None:
                raise
            return await self._store(key, value, expected=last.revision)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Set if the key's last revision is ``revision``."""
        return await self._store(key, value, expected=revision)

    async def delete(self, key: str) -> None:
        """Mark as deleted."""
        await self._store(key, b"", headers={"KV-Operation": "DEL"})

    async def keys(self) -> list[str]:
        """Keys that have a value, sorted."""
        entries: dict[str, KeyEntry] = {}
        async with self._open_reading(False) as reading:
            async for message in reading:
                entry = self._entry(message.subject, message.data, message.headers, message.seq)
                entries[entry.key] = entry
        return sorted(key for key, entry in entries.items() if entry.value is not None)

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[KeyEntry | None]]:
        """All present values, then ``None`` once, then every change, also across outages and restores."""
        return self._watching()

    @asynccontextmanager
    async def _watching(self) -> AsyncGenerator[AsyncIterator[KeyEntry | None]]:
        async with self._open_reading(True) as reading:
            yield Watch(reading, self._from_stored)

    def _from_stored(self, message: Stored) -> KeyEntry:
        return self._entry(message.subject, message.data, message.headers, message.seq)

    def _entry(self, subject: str, data: bytes, headers: Mapping[str, str], revision: int) -> KeyEntry:
        gone = headers.get("KV-Operation") in _GONE or "Nats-Marker-Reason" in headers
        return KeyEntry(subject[len(self._prefix) :], None if gone else data, revision)

    async def _last(self, key: str) -> KeyEntry | None:
        check_key(key)
        answer = await self._api.insist(self._get + key, b"", timeout_s=5.0)
        headers = answer.headers or {}
        if headers.get("Status") == _NO_MESSAGE:
            return None
        if "Nats-Sequence" not in headers:
            raise UnavailableError(f"the bucket did not answer: {headers.get('Description', 'no sequence')}")
        return self._entry(headers["Nats-Subject"], answer.data, headers, int(headers["Nats-Sequence"]))

    async def _store(
        self, key: str, value: bytes, *, expected: int | None = None, headers: Mapping[str, str] | None = None
    ) -> int:
        check_key(key)
        msg_id = f"{self._rng.getrandbits(96):024x}"
        subject = self._prefix + key
        stored = await self._streams.append(subject, value, msg_id=msg_id, expected_last=expected, headers=headers)
        return stored.seq


class Watch:
    """The iterator of a watch: snapshot, ``None``, changes; a new snapshot after every loss of the consumer."""

    def __init__(self, reading: Reading, entry_of: Callable[[Stored], KeyEntry]) -> None:
        self._reading, self._entry_of = reading, entry_of
        self._ready: deque[KeyEntry | None] = deque()
        self._generation = reading.generation
        self._behind = reading.pending
        self._told = False
        self._present: set[str] = set()
        self._seen: set[str] = set()
        self._end_snapshot()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> KeyEntry | None:
        while not self._ready:
            messages = await self._reading.take()
            if self._reading.generation != self._generation:
                self._generation, self._behind = self._reading.generation, self._reading.pending
                self._seen.clear()
            for message in messages:
                self._note(self._entry_of(message))
            self._end_snapshot()
        return self._ready.popleft()

    def _note(self, entry: KeyEntry) -> None:
        self._seen.add(entry.key)
        if entry.value is not None:
            self._present.add(entry.key)
        elif not self._told:
            return  # deleted long ago: no part of the first snapshot
        else:
            self._present.discard(entry.key)
        self._ready.append(entry)

    def _end_snapshot(self) -> None:
        """After the snapshot: what was present and is not in it was lost in an outage or a restore."""
        if self._behind < 0 or len(self._seen) < self._behind:
            return
        self._behind = -1
        for key in sorted(self._present - self._seen):
            self._present.discard(key)
            self._ready.append(KeyEntry(key, None, 0))
        if not self._told:
            self._told = True
            self._ready.append(None)
