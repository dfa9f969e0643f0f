"""Records between the main process and a worker: msgpack arrays, one after the other, on a socket pair.

To the worker:   ``[LOAD, seq, residence]``  ``[RUN, seq, guest, task, payload]``  ``[UNLOAD, guest]``
                 ``[SWEEP, seq, residence, task, payloads, fields, give_up, piece_s]``
From the worker: ``[READY]``  ``[LOADED, seq, status, detail]``
                 ``[RESULT, seq, started, output, run_s, cpu_s, memory, log, log_dropped, outbox]``
                 ``[FAILURE, seq, started, kind, detail, limit, run_s, cpu_s, memory, executed, log]``
                 ``[SWEPT, seq, started, status, detail, columns]``

``started`` is how many fresh instances that took. Each result comes back as soon as it is there, so that after a death
the parent knows which task ran.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgpack
import msgspec

from .contract import GuestFailure, GuestResult, Swept
from .residents import Residence

MAX_RECORD_BYTES = 24 << 20
CHUNK_BYTES = 1 << 18
LOAD, RUN, UNLOAD, READY, LOADED, RESULT, FAILURE, SWEEP, SWEPT = range(9)

pack = msgspec.msgpack.Encoder().encode
"""A record as bytes."""


class BadRecordError(Exception):
    """The other side sent what is no record of ours."""


class RecordReader:
    """Records out of a stream of bytes that arrives in arbitrary pieces; holds at most one unfinished record."""

    def __init__(self, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._unpacker: Any = cast("Any", msgpack).Unpacker(
            use_list=False, max_buffer_size=max_record_bytes + CHUNK_BYTES, strict_map_key=True
        )

    def feed(self, data: bytes) -> Iterator[tuple[Any, ...]]:
        """The records that ``data`` completes.

        Raises:
            BadRecordError: If a record is too long, or the bytes are none.
        """
        try:
            self._unpacker.feed(data)
            for record in self._unpacker:
                if type(record) is not tuple or not record:
                    raise BadRecordError("a record is a non-empty array")
                yield cast("tuple[Any, ...]", record)
        except (ValueError, RecursionError, msgpack.UnpackException) as error:
            raise BadRecordError(f"{type(error).__name__}: {error}") from error


def pack_outcome(seq: int, started: int, outcome: GuestResult | GuestFailure) -> bytes:
    """The record of a task's outcome."""
    if isinstance(outcome, GuestResult):
        return pack((
            RESULT, seq, started, outcome.output, outcome.run_s, outcome.cpu_s, outcome.memory_bytes, outcome.log,
            outcome.log_dropped, outcome.outbox,
        ))  # fmt: skip
    return pack((
        FAILURE, seq, started, outcome.kind, outcome.detail, outcome.limit, outcome.run_s, outcome.cpu_s,
        outcome.memory_bytes, outcome.executed, outcome.log,
    ))  # fmt: skip


def unpack_outcome(record: tuple[Any, ...]) -> GuestResult | GuestFailure:
    """A task's outcome from its record.

    Raises:
        BadRecordError: If it does not have the right fields: a worker is not trusted.
    """
    try:
        if record[0] == RESULT:
            _, _, _, output, run_s, cpu_s, memory, log, dropped, outbox = record
            if type(output) is bytes and type(run_s) is float and type(cpu_s) is float and not log and not outbox:
                return GuestResult(output, run_s, cpu_s, int(memory), (), int(dropped), ())
        kind = GuestResult if record[0] == RESULT else GuestFailure
        names = _RESULT_FIELDS if record[0] == RESULT else _FAILURE_FIELDS
        return msgspec.convert(dict(zip(names, record[3:], strict=True)), kind)
    except (ValueError, TypeError, msgspec.ValidationError) as error:
        raise BadRecordError(str(error)) from error


def pack_swept(seq: int, started: int, status: str, detail: str, swept: Swept | None) -> bytes:
    """The record of a piece of a sweep."""
    return pack((SWEPT, seq, started, status, detail, pack(swept)))


def unpack_swept(record: tuple[Any, ...], payloads: int, fields: int) -> Swept | None:
    """What a piece of a sweep gave; ``None`` if the guest could not be started.

    Raises:
        BadRecordError: If the columns do not fit each other: a worker is not trusted.
    """
    try:
        swept = _swept.decode(record[5])
    except (TypeError, ValueError, msgspec.DecodeError) as error:
        raise BadRecordError(str(error)) from error
    if swept is not None:
        rows = len(swept.run_s)
        lengths = {len(swept.cpu_s), *map(len, swept.outputs)}
        if lengths != {rows} or not 0 < rows <= payloads or len(swept.outputs) != fields:
            raise BadRecordError("columns of different lengths")
        if any(not 0 <= place < rows for place in swept.failures):
            raise BadRecordError("a failure of no payload")
    return swept


def unpack_residence(record: tuple[Any, ...]) -> Residence:
    """The guest that a ``LOAD`` record describes."""
    return msgspec.convert(record[2], Residence, strict=True)


_RESULT_FIELDS = ("output", "run_s", "cpu_s", "memory_bytes", "log", "log_dropped", "outbox")
_FAILURE_FIELDS = ("kind", "detail", "limit", "run_s", "cpu_s", "memory_bytes", "executed", "log")
_swept = msgspec.msgpack.Decoder(Swept | None)
