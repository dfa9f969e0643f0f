"""Stops a guest that used up its CPU time or its wall time, and nobody else.

A ticking epoch blames whoever runs when the host was itself kept waiting. Here the epoch moves only when a limit is
really passed: a thread looks at the CPU clock of the guest's thread, and then sleeps for as long as the guest has left,
because CPU time cannot run faster than wall time. So an innocent guest is never interrupted, and an idle or quick
worker is not woken: one look per limit's length, however many tasks ran meanwhile.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

MIN_SLEEP_S = 0.0005


class _Watch(NamedTuple):
    interrupt: Callable[[], None]
    cpu_at: float
    wall_at: float


def thread_cpu_clock() -> Callable[[], float]:
    """A clock of the CPU seconds of the calling thread that other threads may read.

    Where the system has none (macOS), the whole process's: the guest's thread is the only busy one of a worker.
    """
    clock_id = getattr(time, "pthread_getcpuclockid", None)
    if clock_id is None:
        return time.process_time
    number: int = clock_id(threading.get_ident())
    return lambda: time.clock_gettime(number)


class Watchdog:
    """Watches the thread that made it: ``arm`` before a guest runs, ``disarm`` after it, about a microsecond each."""

    def __init__(self) -> None:
        self._cpu = thread_cpu_clock()
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._watch: _Watch | None = None
        self._wakes_at = math.inf
        self._passed = ""
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sandbox-watchdog", daemon=True)
        self._thread.start()

    def arm(self, interrupt: Callable[[], None], cpu_s: float, wall_s: float) -> None:
        """Call ``interrupt`` once if this thread spends ``cpu_s`` more or the clock runs ``wall_s`` further."""
        now = time.monotonic()
        with self._lock:
            self._passed = ""
            self._watch = _Watch(interrupt, self._cpu() + cpu_s, now + wall_s)
            earliest = now + min(cpu_s, wall_s)
            if earliest < self._wakes_at:
                self._wakes_at = earliest
                self._bell.set()

    def disarm(self) -> str:
        """Stop watching: ``cpu`` or ``wall`` if that limit was passed, else an empty text."""
        with self._lock:
            self._watch = None
            return self._passed

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._bell.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while not self._closed:
            with self._lock:
                self._bell.clear()
                delay = self._look()
                self._wakes_at = time.monotonic() + delay
            self._bell.wait(None if math.isinf(delay) else max(delay, MIN_SLEEP_S))

    def _look(self) -> float:
        """Seconds until the next look; interrupts under the lock, so that the next guest is never hit."""
        if self._watch is None:
            return math.inf
        cpu_left, wall_left = self._watch.cpu_at - self._cpu(), self._watch.wall_at - time.monotonic()
        if cpu_left > 0 and wall_left > 0:
            return min(cpu_left, wall_left)
        self._passed = "cpu" if cpu_left <= 0 else "wall"
        self._watch.interrupt()
        self._watch = None
        return math.inf
