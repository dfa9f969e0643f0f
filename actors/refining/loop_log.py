"""The loop's log: every experiment and every auto-tune, in one stream with one writer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import msgspec

from actors.gating import records as gating
from chimera.journal import Journal, LogKind

from . import tunelog

STREAM, SUBJECT = "LOOP", "chimera.loop.log"
MOST_BYTES = 1 << 30


class Led(msgspec.Struct, frozen=True, kw_only=True, tag="led"):
    """A node took the lead; what others write after that is refused."""

    epoch: int
    node: str
    at: float


Entry: TypeAlias = Led | gating.Entry | tunelog.TuneEntry
_decoder = msgspec.msgpack.Decoder(list[Entry])
_encode = msgspec.msgpack.Encoder().encode


def _pack(entry: Any) -> bytes:
    return _encode(entry)


def _unpack(data: bytes) -> Iterable[Any]:
    return _decoder.decode(data)


LOG: LogKind[Any] = LogKind(STREAM, SUBJECT, "optimizer", _pack, _unpack)


class LoopLog:
    """Writes entries in order, each stored before the next step is taken.

    Args:
        journal: The log.
        late: Takes an entry whose writer was cancelled while it waited: it is stored all the same.
    """

    def __init__(self, journal: Journal[Any], late: Callable[[Any], None]) -> None:
        self._journal, self._late = journal, late

    async def write(self, entry: Any) -> None:
        """Store an entry; returns once it is durable.

        Raises:
            TooLargeError: If no message can hold it.
            RestartingError: If another node leads now.
        """
        packed = _pack(entry)
        self._journal.check(packed)
        group = self._journal.write(packed)
        try:
            await group.wait()
        except asyncio.CancelledError:
            if group.stored.is_set():
                self._late(entry)
            else:
                group.then.append(partial(self._late, entry))
            raise
