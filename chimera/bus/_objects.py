"""Object buckets in NATS's own layout, so that ``nats object`` shows them: chunks pipelined, read back in one stream.

nats-py's object store hangs when an object is deleted under a reader and copies quadratically; this one is bounded.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import msgspec

from chimera.clock import Clock
from chimera.errors import BadMessageError, CorruptError, DeadlineError, UnavailableError

from ._api import Api
from ._reading import Reading
from ._streams import Streams

DEADLINE_S = 60.0
"""For one object, either way."""

_CHUNK_BYTES = 128 * 1024
_NO_MESSAGE = "404"
_LONGEST_NAME = 256


class ObjectInfo(msgspec.Struct, omit_defaults=True):
    """An object's description on the wire (ADR-20)."""

    name: str
    bucket: str
    nuid: str
    size: int = msgspec.field(default=-1)
    chunks: int = msgspec.field(default=-1)
    digest: str = ""
    mtime: str = ""
    deleted: bool = False
    options: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


def bucket_config(bucket: str, max_bytes: int) -> dict[str, Any]:
    """The stream under a bucket, as every NATS client makes it."""
    return {
        "name": f"OBJ_{bucket}", "subjects": [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"], "max_bytes": max_bytes,
        "discard": "new", "allow_rollup_hdrs": True, "allow_direct": True, "storage": "file", "num_replicas": 1,
    }  # fmt: skip


class NatsObjects:
    """An ``Objects`` bucket.

    Args:
        api: JetStream, for reads.
        streams: JetStream, for writes.
        clock: Dates the objects.
        rng: Names the chunks.
        bucket: Its name.
        open_reading: Makes a reader of the bucket's stream from (subject, first sequence).
    """

    def __init__(
        self, api: Api, streams: Streams, clock: Clock, rng: random.Random, *, bucket: str,
        open_reading: Callable[[str, int], Reading],
    ) -> None:  # fmt: skip
        self._api, self._streams, self._clock, self._rng = api, streams, clock, rng
        self._bucket, self._open_reading = bucket, open_reading

    async def put(self, name: str, data: bytes) -> None:
        """Store ``data`` (idempotent: the same name holds the same bytes)."""
        digest = _digest(data)
        before = await self._info(name)
        if before is not None and not before.deleted and before.digest == digest:
            return
        nuid = f"{self._rng.getrandbits(96):024x}"
        cut = [data[at : at + _CHUNK_BYTES] for at in range(0, len(data), _CHUNK_BYTES)]
        subject = f"$O.{self._bucket}.C.{nuid}"
        await self._streams.append_many(
            [(subject, chunk, f"{nuid}.{index}") for index, chunk in enumerate(cut)], timeout_s=DEADLINE_S
        )
        await self._describe(
            ObjectInfo(name, self._bucket, nuid, len(data), len(cut), digest, options={"max_chunk_size": _CHUNK_BYTES})
        )
        if before is not None and not before.deleted:
            await self._purge(before.nuid)

    async def get(self, name: str) -> bytes | None:
        """The bytes, or ``None``.

        Raises:
            DeadlineError: If it takes longer than ``DEADLINE_S``.
            CorruptError: If the bytes are not those that were stored.
        """
        info = await self._info(name)
        if info is None or info.deleted:
            return None
        try:
            with anyio.fail_after(DEADLINE_S):
                data = await self._read(info)
        except TimeoutError as error:
            raise DeadlineError(f"the object {name} could not be read within {DEADLINE_S:.0f} s") from error
        if _digest(data) == info.digest:
            return data
        after = await self._info(name)
        if after is None or after.deleted:
            return None  # it was deleted while we read
        if after.nuid != info.nuid:
            return await self.get(name)
        raise CorruptError(f"the object {name} is damaged: its digest is not {info.digest}")

    async def names(self) -> list[str]:
        """What there is, sorted."""
        infos: dict[str, ObjectInfo] = {}
        async with self._open_reading(f"$O.{self._bucket}.M.>", 0) as reading:
            async for message in reading:
                infos[message.subject] = msgspec.json.decode(message.data, type=ObjectInfo)
        return sorted(info.name for info in infos.values() if not info.deleted)

    async def delete(self, name: str) -> None:
        """Remove it; no error if absent."""
        info = await self._info(name)
        if info is None or info.deleted:
            return
        await self._describe(ObjectInfo(name, self._bucket, info.nuid, 0, 0, deleted=True))
        await self._purge(info.nuid)

    async def _read(self, info: ObjectInfo) -> bytes:
        if info.size == 0:
            return b""
        parts: list[bytes] = []
        async with self._open_reading(f"$O.{self._bucket}.C.{info.nuid}", 1) as reading:
            async for message in reading:
                parts.append(message.data)
                if len(parts) >= info.chunks:
                    break
        return b"".join(parts)

    async def _info(self, name: str) -> ObjectInfo | None:
        subject = self._described_at(name)
        answer = await self._api.insist(f"$JS.API.DIRECT.GET.OBJ_{self._bucket}.{subject}", b"", timeout_s=5.0)
        headers = answer.headers or {}
        if headers.get("Status") == _NO_MESSAGE:
            return None
        if "Nats-Sequence" not in headers:
            raise UnavailableError(f"the bucket did not answer: {headers.get('Description', 'no sequence')}")
        return msgspec.json.decode(answer.data, type=ObjectInfo)

    async def _describe(self, info: ObjectInfo) -> None:
        info.mtime = datetime.fromtimestamp(self._clock.time(), UTC).isoformat().replace("+00:00", "Z")
        await self._streams.append(
            self._described_at(info.name), msgspec.json.encode(info),
            msg_id=f"{self._rng.getrandbits(96):024x}", headers={"Nats-Rollup": "sub"},
        )  # fmt: skip

    async def _purge(self, nuid: str) -> None:
        await self._api.call(f"STREAM.PURGE.OBJ_{self._bucket}", {"filter": f"$O.{self._bucket}.C.{nuid}"})

    def _described_at(self, name: str) -> str:
        if not 0 < len(name.encode()) <= _LONGEST_NAME:
            raise BadMessageError(f"an object's name has 1 to {_LONGEST_NAME} bytes")
        return f"$O.{self._bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


def _digest(data: bytes) -> str:
    return "SHA-256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
