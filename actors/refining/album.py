"""What the observatory knew, kept in the object store: a restart goes on from there and counts nothing twice."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import numpy as np

from actors.insight.store import Image, RingImage
from chimera.bus.contract import Bus, Objects
from chimera.errors import ChimeraError, CorruptError
from subjects.insight import Accuracy, Anomaly

BUCKET = "insight"
KEPT = 2
"""Pictures kept: if the newest can't be read there is one before it."""

_FORMAT, _DIGEST_BYTES, _MOST_BYTES = 1, 32, 256 << 20


class PackedRing(msgspec.Struct, frozen=True, kw_only=True):
    """A ring's figures as bytes: count, sum and largest, each (steps, series) of little-endian doubles."""

    head: int
    steps: int
    count: bytes
    total: bytes
    most: bytes


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """All that was known at one moment. ``positions`` are the last sequences it contains, per stream.

    Attributes:
        told_until: Unix time up to which anomalies were told.
        ingested: Outcomes taken so far, in all lives.
        repeated: Records that came again.
        unreadable: Records that could not be decoded, by reason.
    """

    taken_at: float
    positions: dict[str, int]
    told_until: float
    ingested: int
    repeated: int
    unreadable: dict[str, int]
    anomalies: list[Anomaly]
    accuracy: Accuracy | None
    names: list[str]
    newest: float
    accepted: int
    rejected: dict[str, int]
    minutes: PackedRing
    hours: PackedRing
    format: int = _FORMAT

    @property
    def steps(self) -> tuple[int, int]:
        """How many minutes and hours its store kept."""
        return self.minutes.steps, self.hours.steps

    def image(self) -> Image:
        """The series store's part."""
        rings = [_unpacked(ring, len(self.names)) for ring in (self.minutes, self.hours)]
        return Image(self.names, self.newest, self.accepted, self.rejected, rings[0], rings[1])


def packed(image: Image, facts: dict[str, Any]) -> bytes:
    """A picture's bytes: sha256 of the rest, then msgpack, compressed. Takes 20 ms per 100 series: for a thread."""
    picture = Picture(
        names=image.names, newest=image.newest, accepted=image.accepted, rejected=image.rejected,
        minutes=_packed(image.minutes), hours=_packed(image.hours), **facts,
    )  # fmt: skip
    body = zlib.compress(msgspec.msgpack.encode(picture), 1)
    return hashlib.sha256(body).digest() + body


def unpacked(data: bytes) -> Picture:
    """A picture, verified.

    Raises:
        CorruptError: If it is none, or its checksum is wrong.
    """
    digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise CorruptError("the checksum of the observatory's picture is wrong")
    try:
        picture = msgspec.msgpack.decode(zlib.decompress(body), type=Picture)
    except (msgspec.DecodeError, zlib.error) as error:
        raise CorruptError(f"the observatory's picture can't be read: {error}") from error
    if picture.format != _FORMAT:
        raise CorruptError(f"the observatory's picture has format {picture.format}, this program reads {_FORMAT}")
    return picture


class Album:
    """The last pictures.

    Args:
        bus: Where the bucket is.
        report: Writes an event.
    """

    def __init__(self, bus: Bus, report: Callable[..., Any]) -> None:
        self._bus, self._report = bus, report
        self._bucket: Objects | None = None

    async def add(self, taken_at: float, data: bytes) -> None:
        """Keep a picture, and let older ones go."""
        bucket = await self._open()
        await bucket.put(f"{round(taken_at * 1000):015d}", data)
        for name in (await bucket.names())[:-KEPT]:
            await bucket.delete(name)

    async def newest(self) -> Picture | None:
        """The newest sound picture, or ``None``; one that can't be read is told and passed over."""
        bucket = await self._open()
        for name in reversed(await bucket.names()):
            try:
                data = await bucket.get(name)
                picture = None if data is None else await anyio.to_thread.run_sync(unpacked, data)
            except CorruptError as error:
                self._report("model-loading", f"{BUCKET}/{name}: {error.detail}; an older one is taken", level="error")
                await _drop(bucket, name)
                continue
            if picture is not None:
                return picture
        return None

    async def _open(self) -> Objects:
        if self._bucket is None:
            self._bucket = await self._bus.objects(BUCKET, max_bytes=_MOST_BYTES)
        return self._bucket


async def _drop(bucket: Objects, name: str) -> None:
    """Remove what can't be read, if that is possible now."""
    try:
        await bucket.delete(name)
    except ChimeraError:
        return


def _packed(ring: RingImage) -> PackedRing:
    count, total, most = (np.ascontiguousarray(part, "<f8").tobytes() for part in ring.parts)
    return PackedRing(head=ring.head, steps=ring.parts[0].shape[0], count=count, total=total, most=most)


def _unpacked(ring: PackedRing, series: int) -> RingImage:
    try:
        parts = [np.frombuffer(data, "<f8").reshape(ring.steps, series) for data in (ring.count, ring.total, ring.most)]
    except ValueError as error:
        raise CorruptError(f"the figures of {series} series don't fit: {error}") from error
    return RingImage(ring.head, (parts[0], parts[1], parts[2]))
