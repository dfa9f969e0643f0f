"""The main process's end of one worker: records out, outcomes in, death noticed at once, a stuck worker killed."""

from __future__ import annotations

import asyncio
import subprocess
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol, cast

import anyio

from chimera.clock import Clock, Timer

from .contract import GuestFailure, GuestResult, Swept
from .records import (
    FAILURE,
    LOAD,
    LOADED,
    READY,
    RESULT,
    RUN,
    SWEEP,
    SWEPT,
    UNLOAD,
    BadRecordError,
    RecordReader,
    pack,
    unpack_outcome,
    unpack_swept,
)  # fmt: skip
from .residents import Residence
from .sweep import Wish

WINDOW = 8
"""Payloads of a batch that are under way: the next ones are already there when a worker ends one. What a caller that
goes away leaves to run is bounded by this."""


class WorkerDiedError(Exception):
    """The worker ended while something waited for it."""


class Batch:
    """Payloads for one guest, run in turn on one worker. ``done`` completes when they ended, or the worker did."""

    __slots__ = ("agent", "begun", "done", "kill_s", "number", "outcomes", "payloads", "sent", "task")

    def __init__(
        self, agent: str, number: int, task: str, payloads: Sequence[bytes], kill_s: float, *, begun: float = 0.0
    ) -> None:
        self.begun = begun
        self.agent, self.number, self.task, self.payloads, self.kill_s = agent, number, task, payloads, kill_s
        self.outcomes: list[GuestResult | GuestFailure] = []
        self.sent = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wants_more(self) -> bool:
        """Whether another payload should be sent: none is once the caller went away."""
        return self.sent < len(self.payloads) and not self.done.done()

    def finish(self) -> None:
        """Wake the caller, if it is still there."""
        if not self.done.done():
            self.done.set_result(None)


class Piece(Batch):
    """Payloads of a sweep: one record there, one back. ``status`` and ``swept`` say what came; neither = it died."""

    __slots__ = ("detail", "order", "piece_s", "status", "swept", "wish")

    def __init__(
        self, agent: str, order: Residence, task: str, payloads: Sequence[bytes], *, wish: Wish, piece_s: float,
        kill_s: float,
    ) -> None:  # fmt: skip
        super().__init__(agent, order.number, task, payloads, kill_s)
        self.order, self.wish, self.piece_s = order, wish, piece_s
        self.status = self.detail = ""
        self.swept: Swept | None = None


class LinkOwner(Protocol):
    """Whoever hands out the workers."""

    def worker_free(self, link: WorkerLink, batch: Batch) -> None:
        """A batch ended and the worker waits."""
        ...

    def worker_died(self, link: WorkerLink, batch: Batch | None) -> None:
        """The worker ended, with this batch unfinished."""
        ...


class WorkerLink(asyncio.Protocol):
    """One worker process, one batch or one load at a time."""

    def __init__(self, process: subprocess.Popen[bytes], owner: LinkOwner, clock: Clock) -> None:
        self.process, self._owner, self._clock = process, owner, clock
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = anyio.Event()
        self.alive = True
        self.overdue = False
        self.loaded: set[int] = set()
        self.claims: deque[asyncio.Future[None]] = deque()
        self.instances = 0
        self._reader = RecordReader()
        self._transport: asyncio.Transport | None = None
        self._batch: Batch | None = None
        self._loading: asyncio.Future[tuple[str, str]] | None = None
        self._sent = self._answered = 0
        self._kill_s = self._kill_at = 0.0
        self._timer: Timer | None = None

    def start(self, batch: Batch) -> None:
        """Run a batch; its ``done`` tells when it ended."""
        self._batch = batch
        self._expect(batch.kill_s)
        if isinstance(batch, Piece):
            self._send_piece(batch)
        else:
            self._send_more(batch, WINDOW)

    async def load(self, order: Residence, kill_s: float) -> tuple[str, str]:
        """Load a guest: an empty status, or what went wrong.

        Raises:
            WorkerDiedError: If the worker ended, or was killed because it took longer than ``kill_s``.
        """
        if not self.alive:
            raise WorkerDiedError
        self._loading = asyncio.get_running_loop().create_future()
        self._expect(kill_s)
        self._write(pack((LOAD, order.number, order)))
        status, detail = await self._loading
        if not status:
            self.loaded.add(order.number)
        return status, detail

    def unload(self, number: int) -> None:
        """Forget a guest, after whatever runs now."""
        if number in self.loaded:
            self.loaded.discard(number)
            self._write(pack((UNLOAD, number)))

    def kill(self) -> None:
        """End the process with SIGKILL: wasmtime's handlers swallow the gentler signals."""
        if self.process.poll() is None:
            self.process.kill()

    def close(self) -> None:
        """Hang up: a healthy worker ends by itself."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take records in; a worker that sends nonsense is killed."""
        try:
            for record in self._reader.feed(data):
                self._take(record)
        except (BadRecordError, IndexError, TypeError, ValueError):
            self.kill()
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The worker ended, or is about to."""
        del exc
        self.alive = False
        self.kill()
        if self._timer is not None:
            self._timer.cancel()
        batch, self._batch = self._batch, None
        waiting = [self.ready, *self.claims, *([self._loading] if self._loading else [])]
        for future in waiting:
            if not future.done():
                future.set_exception(WorkerDiedError("the worker ended"))
        self.lost.set()
        self._owner.worker_died(self, batch)
        if batch is not None:
            batch.finish()

    def _take(self, record: tuple[Any, ...]) -> None:
        kind = record[0]
        if kind in {RESULT, FAILURE}:
            self._take_outcome(record)
        elif kind == SWEPT:
            self._take_swept(record)
        elif kind == LOADED and self._loading is not None:
            loading, self._loading, self._kill_s = self._loading, None, 0.0
            if not loading.done():
                loading.set_result((str(record[2]), str(record[3])))
        elif kind == READY and not self.ready.done():
            self.ready.set_result(None)
        else:
            raise BadRecordError(f"unexpected record {kind!r}")

    def _take_outcome(self, record: tuple[Any, ...]) -> None:
        batch = self._batch
        if batch is None or isinstance(batch, Piece) or record[1] != self._answered:
            raise BadRecordError("an outcome of no task")
        self._answered += 1
        self.instances += 1 if record[2] else 0
        batch.outcomes.append(unpack_outcome(record))
        if batch.wants_more():
            self._send_more(batch, 1)
        elif len(batch.outcomes) == batch.sent:
            self._end(batch)
            return
        self._kill_at = self._clock.monotonic() + batch.kill_s

    def _take_swept(self, record: tuple[Any, ...]) -> None:
        piece = self._batch
        if not isinstance(piece, Piece) or record[1] != self._answered:
            raise BadRecordError("a piece of no sweep")
        self._answered += 1
        self.instances += int(record[2])
        piece.swept = unpack_swept(record, len(piece.payloads), len(piece.wish.fields))
        piece.status, piece.detail = str(record[3]), str(record[4])
        self._end(piece)

    def _end(self, batch: Batch) -> None:
        self._batch, self._kill_s = None, 0.0
        self._owner.worker_free(self, batch)
        batch.finish()

    def _send_piece(self, piece: Piece) -> None:
        wish = piece.wish
        self._write(pack((
            SWEEP, self._sent, piece.order, piece.task, piece.payloads, wish.fields, wish.give_up, piece.piece_s,
        )))  # fmt: skip
        self._sent += 1

    def _send_more(self, batch: Batch, count: int) -> None:
        for _ in range(min(count, len(batch.payloads) - batch.sent)):
            self._write(pack((RUN, self._sent, batch.number, batch.task, batch.payloads[batch.sent])))
            self._sent += 1
            batch.sent += 1

    def _write(self, data: bytes) -> None:
        if self._transport is not None and self.alive:
            self._transport.write(data)

    def _expect(self, kill_s: float) -> None:
        """Kill the worker if nothing comes within ``kill_s``; one timer serves many tasks."""
        self._kill_s = kill_s
        self._kill_at = self._clock.monotonic() + kill_s
        if self._timer is None:
            self._timer = self._clock.call_later(kill_s, self._look)
            self._timer_at = self._kill_at
        elif self._kill_at < self._timer_at:
            self._timer.cancel()
            self._timer = self._clock.call_later(kill_s, self._look)
            self._timer_at = self._kill_at

    def _look(self) -> None:
        self._timer = None
        if not self._kill_s or not self.alive:
            return
        left = self._kill_at - self._clock.monotonic()
        if left <= 0:
            self.overdue = True
            self.kill()
            return
        self._timer = self._clock.call_later(left, self._look)
        self._timer_at = self._kill_at
