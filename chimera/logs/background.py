"""A log handler that never makes the event loop wait: a bounded queue, and a thread of its own that writes."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

from .line import LogLine, line_of
from .names import EventName, Layer

_MAX_BATCH = 512
_CLOSE_S = 3.0


class Sink(Protocol):
    """Where rendered lines go. Called by one thread only."""

    def write(self, lines: list[bytes]) -> None:
        """Write them.

        Raises:
            OSError: If it can't be done now; the lines count as dropped.
        """
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


@dataclass(frozen=True, slots=True)
class LogStatistics:
    """Lines since the start: written, dropped (queue full or not writable), and those that wait."""

    written: int
    dropped: int
    waiting: int


class StreamSink:
    """A text stream, such as standard error; it stays open."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, lines: list[bytes]) -> None:
        """Write and flush."""
        try:
            self._stream.write(b"".join(lines).decode("utf-8", "replace"))
            self._stream.flush()
        except ValueError as error:  # the stream was closed
            raise OSError(str(error)) from error

    def close(self) -> None:
        """Nothing: the stream is not ours."""


class BackgroundHandler(logging.Handler):
    """Renders in the caller's thread, where the context is; queues; writes in its own thread.

    When the queue is full the line is dropped and counted, and a ``log-dropped`` line says how many as soon as there is
    room. ``emit`` takes no lock and never raises.
    """

    def __init__(self, sink: Sink, render: Callable[[LogLine], bytes], *, node: str, max_waiting: int = 10_000) -> None:
        super().__init__()
        self._sink = sink
        self._render = render
        self._node = node
        self._max_waiting = max_waiting
        self._queue: queue.SimpleQueue[bytes | threading.Event | None] = queue.SimpleQueue()
        self._reached: list[threading.Event] = []
        self._written = 0
        self._dropped = 0
        self._told = 0
        self._thread = threading.Thread(target=self._run, name="chimera-log", daemon=True)
        self._closed = False
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue a record that passes the filters, without the lock: ``emit`` is safe in many threads at once."""
        passed = bool(self.filter(record))
        if passed:
            self.emit(record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line."""
        if self._closed or self._queue.qsize() >= self._max_waiting:
            self._dropped += 1
            return
        try:
            self._queue.put(self._render(line_of(record, self._node)))
        except Exception:  # noqa: BLE001 - a line that can't be rendered must not harm who logs it
            self._dropped += 1

    def statistics(self) -> LogStatistics:
        """Counters and what waits."""
        return LogStatistics(self._written, self._dropped, self._queue.qsize())

    def flush(self) -> None:
        """Wait until what was logged so far is written; at most 3 s. Not for an event loop that serves."""
        if not self._closed:
            mark = threading.Event()
            self._queue.put(mark)
            mark.wait(_CLOSE_S)

    def close(self) -> None:
        """Write what waits and end the thread; at most 3 s."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join(_CLOSE_S)
        super().close()

    def _run(self) -> None:
        last = False
        while not last:
            batch, last = self._take()
            missing = self._dropped - self._told
            if missing:
                self._told += missing
                batch.append(self._render(self._dropped_line(missing)))
            self._write(batch)
            while self._reached:
                self._reached.pop().set()
        self._sink.close()

    def _write(self, batch: list[bytes]) -> None:
        try:
            self._sink.write(batch)
            self._written += len(batch)
        except OSError:
            self._dropped += len(batch)

    def _take(self) -> tuple[list[bytes], bool]:
        batch: list[bytes] = []
        line = self._queue.get()
        while line is not None:
            if isinstance(line, threading.Event):
                self._reached.append(line)
            else:
                batch.append(line)
            if len(batch) >= _MAX_BATCH:
                return batch, False
            try:
                line = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _dropped_line(self, count: int) -> LogLine:
        return LogLine(
            at=time.time(), level="warning", layer=Layer.NODE, event=EventName.LOG_DROPPED, node=self._node,
            message=f"{count} lines were dropped: they came faster than they could be written", fields={"count": count},
        )  # fmt: skip
