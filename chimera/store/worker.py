"""One thread that owns the SQLite connection. Writes that wait together are committed together: one fsync for all."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread

from chimera.errors import ChimeraError, UnavailableError, flatten

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_MAX_GROUP = 256
_CLOSE_S = 10.0


@dataclass(slots=True)
class Job(Generic[T]):
    """One piece of work and who waits for it."""

    work: Work[T]
    writes: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[T]
    result: Any = None
    error: Exception | None = None
    abandoned: bool = False

    def settle(self) -> None:
        """Tell the waiter, in its own loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


@dataclass(slots=True)
class WorkerCounters:
    """What happened since the start; written by the worker's thread only."""

    writes: int = 0
    reads: int = 0
    commits: int = 0
    errors: int = 0


@dataclass(slots=True)
class SqliteWorker:
    """Runs work on the connection in its own thread: of what waits, reads first, then all writes as one group.

    A write that fails is undone alone; its group goes on. Nobody is answered before the commit.

    Attributes:
        connect: Opens the connection; runs in the thread, so it may block.
        measure: Called after each group, in the thread; never raises.
        max_queued: Jobs that may wait; one more is refused.
        timeout_s: How long one job may take, waiting included.
        open_s: How long opening may take; it checks the whole file after an unclean stop.
    """

    connect: Callable[[], sqlite3.Connection]
    measure: Callable[[], None]
    max_queued: int = 1024
    timeout_s: float = 15.0
    open_s: float = 60.0
    counters: WorkerCounters = field(default_factory=WorkerCounters)
    _queue: queue.Queue[Job[Any] | None] = field(init=False)
    _thread: threading.Thread | None = field(init=False, default=None)
    _failure: Exception | None = field(init=False, default=None)
    _ready: threading.Event = field(init=False, default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._queue = queue.Queue(self.max_queued)

    @property
    def queued(self) -> int:
        """Jobs that wait."""
        return self._queue.qsize()

    async def start(self) -> None:
        """Start the thread and wait until the connection is open.

        Raises:
            UnavailableError: If that takes longer than ``open_s``.
            Exception: What ``connect`` raised.
        """
        self._thread = threading.Thread(target=self._run, name="chimera-store", daemon=True)
        self._thread.start()
        opened = await anyio.to_thread.run_sync(self._ready.wait, self.open_s, abandon_on_cancel=True)
        if not opened:
            self._queue.put_nowait(None)
            self._thread = None
            raise UnavailableError(f"the store did not open within {self.open_s:g} s")
        if self._failure is not None:
            self._thread = None
            raise self._failure

    async def close(self) -> None:
        """Finish what waits, close the connection, end the thread; at most 10 s."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._stop, thread)

    def _stop(self, thread: threading.Thread) -> None:
        try:
            self._queue.put(None, timeout=_CLOSE_S)
        except queue.Full:
            return
        thread.join(_CLOSE_S)

    async def run(self, work: Work[T], *, writes: bool) -> T:
        """The result of ``work``; a write is committed when this returns.

        Raises:
            UnavailableError: If the store is closed, its queue is full, or SQLite refused or took too long.
        """
        if self._thread is None or not self._thread.is_alive():
            raise UnavailableError("the store is closed", hint="it opens when the node starts")
        loop = asyncio.get_running_loop()
        job: Job[T] = Job(work, writes, loop, loop.create_future())
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            self.counters.errors += 1
            raise UnavailableError(f"{self.max_queued} requests wait for the store", retry_after_s=0.5) from None
        try:
            with anyio.fail_after(self.timeout_s):
                return await job.future
        except TimeoutError:
            raise UnavailableError(f"the store did not answer within {self.timeout_s:g} s", retry_after_s=1.0) from None
        finally:
            job.abandoned = job.future.cancelled()

    def _run(self) -> None:
        try:
            connection = self.connect()
        except Exception as error:  # noqa: BLE001 - start() raises it where it is awaited
            self._failure = error
            return
        finally:
            self._ready.set()
        try:
            while self._serve(connection):
                self.measure()
        finally:
            connection.close()

    def _serve(self, connection: sqlite3.Connection) -> bool:
        """Take what waits and do it; false when it was the last."""
        group, last = self._take()
        live = [job for job in group if not job.abandoned]
        for job in live:
            if not job.writes:
                self._attempt(job, connection)
                _settle([job])
        writes = [job for job in live if job.writes]
        if writes:
            self._commit(writes, connection)
            _settle(writes)
        return not last

    def _take(self) -> tuple[list[Job[Any]], bool]:
        group: list[Job[Any]] = []
        job = self._queue.get()
        while job is not None:
            group.append(job)
            if len(group) >= _MAX_GROUP:
                return group, False
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, jobs: list[Job[Any]], connection: sqlite3.Connection) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                connection.execute("SAVEPOINT one")
                self._attempt(job, connection)
                if job.error is not None:
                    connection.execute("ROLLBACK TO one")
                connection.execute("RELEASE one")
            connection.execute("COMMIT")
            self.counters.commits += 1
        except sqlite3.Error as error:
            self._fail(jobs, error, connection)

    def _fail(self, jobs: list[Job[Any]], error: sqlite3.Error, connection: sqlite3.Connection) -> None:
        for job in jobs:
            if job.error is None:
                self.counters.errors += 1
                job.error = as_unavailable(error)
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.counters.errors += 1

    def _attempt(self, job: Job[Any], connection: sqlite3.Connection) -> None:
        try:
            job.result = job.work(connection)
        except sqlite3.Error as error:
            self.counters.errors += 1
            job.error = as_unavailable(error)
        except Exception as error:  # noqa: BLE001 - the waiter gets it; the thread must live
            self.counters.errors += 1
            job.error = (
                error if isinstance(error, ChimeraError) else UnavailableError(f"the store failed: {flatten(error)}")
            )
        if job.writes:
            self.counters.writes += 1
        else:
            self.counters.reads += 1


def _settle(jobs: list[Job[Any]]) -> None:
    """Wake each loop once for all of its jobs."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job[Any]]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, own in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_all, own)
        except RuntimeError:  # the loop ended: nobody waits any more
            continue


def _settle_all(jobs: list[Job[Any]]) -> None:
    for job in jobs:
        job.settle()


def as_unavailable(error: sqlite3.Error) -> UnavailableError:
    """What SQLite said, as our error with what to do about it."""
    text = str(error)
    if "malformed" in text or "not a database" in text:
        hint = "the file is damaged; move it away and start again: it is rebuilt from the streams"
    elif "full" in text:
        hint = "free some space on the disk of the data folder"
    elif "locked" in text or "busy" in text:
        return UnavailableError(f"SQLite: {text}", hint="another program holds the file", retry_after_s=1.0)
    else:
        hint = "see whether the data folder is writable with: chimera doctor"
    return UnavailableError(f"SQLite: {text}", hint=hint)
