"""The worker process: runs guests that its parent loads, one task at a time, and knows nothing else.

It is started with an empty environment and one open socket. It holds no credentials and may write no files. When its
socket ends, so does it.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from .contract import GuestFailure, GuestResult
from .records import (
    CHUNK_BYTES,
    LOAD,
    LOADED,
    READY,
    RUN,
    SWEEP,
    UNLOAD,
    RecordReader,
    pack,
    pack_outcome,
    pack_swept,
    unpack_residence,
)  # fmt: skip
from .residents import Residents
from .sweep import Wish, collect

MAX_FILES = 64


def main(argv: list[str]) -> int:
    """Serve the socket until it ends: ``worker FD API POOLING MEMORY_BYTES``."""
    descriptor, api, pooling, memory_bytes = argv[1:5]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    link = socket.socket(fileno=int(descriptor))
    residents = Residents(api=api, pooling=pooling == "pooling", memory_bytes=int(memory_bytes))
    _lock_down()  # after the engine, which may leave its bytecode for the next start; no guest is here yet
    gc.collect()
    gc.freeze()
    with suppress(BrokenPipeError, ConnectionResetError), link:
        link.sendall(pack((READY,)))
        serve(link, residents)
    return 0


def serve(link: socket.socket, residents: Residents) -> None:
    """Answer records until the other side closes."""
    reader = RecordReader()
    while chunk := link.recv(CHUNK_BYTES):
        for record in reader.feed(chunk):
            answer = handle(record, residents)
            if answer:
                link.sendall(answer)
            residents.tidy()


def handle(record: tuple[Any, ...], residents: Residents) -> bytes:
    """Do what a record asks; the bytes to answer with, if any."""
    kind = record[0]
    if kind == RUN:
        _, seq, number, task, payload = record
        before = residents.instances_started(number)
        outcome = residents.run(number, task, payload)
        return pack_outcome(seq, residents.instances_started(number) - before, outcome)
    if kind == SWEEP:
        return _sweep(record, residents)
    if kind == LOAD:
        status, detail = residents.load(unpack_residence(record))
        return pack((LOADED, record[1], status, detail))
    if kind == UNLOAD:
        residents.unload(record[1])
    return b""


def _sweep(record: tuple[Any, ...], residents: Residents) -> bytes:
    """Load a guest, run payloads until the piece's time is up, and forget the guest."""
    _, seq, _, task, payloads, fields, give_up, piece_s = record
    order = unpack_residence(record)
    status, detail = residents.load(order)
    if status:
        return pack_swept(seq, 1, status, detail, None)
    try:
        swept = collect(_runs(residents, order.number, task, payloads, piece_s), Wish(fields, give_up))
        return pack_swept(seq, residents.instances_started(order.number), "", "", swept)
    finally:
        residents.unload(order.number)


def _runs(
    residents: Residents, number: int, task: str, payloads: tuple[bytes, ...], piece_s: float
) -> Iterator[GuestResult | GuestFailure]:
    ends_at = time.monotonic() + piece_s
    for payload in payloads:
        yield residents.run(number, task, payload)
        residents.tidy()
        if time.monotonic() >= ends_at:
            return


def _lock_down() -> None:
    """Give up what a worker never needs."""
    for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, MAX_FILES)):
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))
    os.environ.clear()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
