"""Backup files of genomes: a head, packed records each with its digest, and a digest of all at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from chimera.errors import BadMessageError, BadSettingError, CorruptError

_FORMAT = "chimera genomes 1"


class Backup(NamedTuple):
    """What a file holds: whose genomes (empty = all), and the packed records. All of it was checked."""

    agent: str
    records: list[bytes]


def write_backup(path: Path, agent: str, at: float, records: Iterable[bytes]) -> int:
    """Write a backup; how many records it holds. The file is there when it is whole, or not at all.

    Raises:
        BadSettingError: If it can't be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    digest, count = hashlib.sha256(), 0
    try:
        with part.open("xb") as file:
            for packed in _pieces(agent, at, records):
                digest.update(packed)
                file.write(packed)
                count += 1
            file.write(_tail(digest.digest(), count - 1))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise BadSettingError(f"{path} can't be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return count - 1


def _pieces(agent: str, at: float, records: Iterable[bytes]) -> Iterator[bytes]:
    yield _packed({"format": _FORMAT, "agent": agent, "at": at})
    for record in records:
        yield _packed([hashlib.sha256(record).digest(), record])


def read_backup(path: Path) -> Backup:
    """A backup, all of it checked.

    Raises:
        BadMessageError: If there is no such file, or it is none of ours.
        CorruptError: If a bit of it is not what was written, or its end is missing; spoiled records are named.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadMessageError(f"{path} can't be read: {error.strerror}") from error
    return _read(path, data)


def _read(path: Path, data: bytes) -> Backup:
    pieces = _pieces_of(path, data)
    head, _ = next(pieces, (None, 0))
    if not isinstance(head, dict) or _text(head, "format") != _FORMAT:
        raise BadMessageError(f"{path} is no backup of genomes", hint="it is made by: chimera genome backup FILE")
    records, spoiled, tail = list[bytes](), list[str](), 0
    for piece, begin in pieces:
        tail = begin
        if isinstance(piece, dict):
            break
        record = _record(piece)
        if record is None:
            spoiled.append(_name(piece, len(records) + len(spoiled) + 1))
        else:
            records.append(record)
    if spoiled:
        words = f"{path}: {len(spoiled)} records are not what was written: {', '.join(spoiled[:20])}"
        raise CorruptError(words, hint="use another backup")
    if data[tail:] != _tail(hashlib.sha256(data[:tail]).digest(), len(records)):
        raise CorruptError(f"{path} is not what was written, or its end is missing", hint="use another backup")
    return Backup(_text(head, "agent"), records)


def _pieces_of(path: Path, data: bytes) -> Iterator[tuple[Any, int]]:
    """Each piece with where it begins."""
    import msgpack

    unpacker: Any = cast("Any", msgpack).Unpacker(max_buffer_size=max(1, len(data)), strict_map_key=False)
    unpacker.feed(data)
    begin = 0
    while True:
        try:
            piece: Any = unpacker.unpack()
        except msgpack.OutOfData:
            return
        except (ValueError, msgpack.UnpackException) as error:
            words = f"{path} can't be read behind byte {begin}: {str(error) or type(error).__name__}"
            raise CorruptError(words, hint="use another backup") from error
        yield piece, begin
        begin = int(unpacker.tell())


def _packed(piece: Any) -> bytes:
    return msgspec.msgpack.encode(piece)


def _tail(digest: bytes, count: int) -> bytes:
    return _packed({"digest": digest, "count": count})


def _text(head: Any, name: str) -> str:
    found = head.get(name)
    return found if isinstance(found, str) else ""


def _record(piece: Any) -> bytes | None:
    match piece:
        case [bytes() as digest, bytes() as record] if hashlib.sha256(record).digest() == digest:
            return record
        case _:
            return None


class _Named(msgspec.Struct, tag="genome"):
    id: str


def _name(piece: Any, place: int) -> str:
    match piece:
        case [_, bytes() as record]:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                return msgspec.msgpack.decode(record, type=_Named).id[:64]
        case _:
            pass
    return f"record {place}"
