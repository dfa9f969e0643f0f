"""How long an event loop was kept from turning, and by what."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

_BEAT_S, _SAMPLE_S, _SUSPECT_S = 0.001, 0.002, 0.008


class StallWatch:
    """Longest time between two turns of the loop.

    Attributes:
        wall_s: By the clock: what else the machine does counts too.
        cpu_s: By the CPU time of all threads of this process: a loop that waits for the interpreter's lock is kept from
            turning, one that waits for another process is not. Of threads that run beside it the rest counts too.
        stalls: What ran while the loop did not turn, innermost frame last, with the CPU time that took.
    """

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0
        self.stalls: dict[str, float] = {}
        self._at, self._stop = time.perf_counter(), False
        self._suspect = ""

    async def beat(self) -> None:
        """Turn with the loop, until cancelled."""
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            self._at, self._suspect = wall, ""
            await anyio.sleep(_BEAT_S)
            passed = time.perf_counter() - wall - _BEAT_S
            spent = min(passed, time.process_time() - cpu)
            if self._suspect:
                self.stalls[self._suspect] = max(spent, self.stalls.get(self._suspect, 0.0))
            self.wall_s, self.cpu_s = max(self.wall_s, passed), max(self.cpu_s, spent)

    def sample(self, thread: int) -> None:
        """See what a loop's thread does that does not turn, until told to stop."""
        while not self._stop:
            time.sleep(_SAMPLE_S)
            if time.perf_counter() - self._at > _SUSPECT_S and not self._suspect:
                frames: Any = sys._current_frames()  # pyright: ignore[reportPrivateUsage] - the documented way
                lines = traceback.extract_stack(frames.get(thread))[-6:]
                self._suspect = " < ".join(f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in lines)

    def end(self) -> None:
        """No more samples."""
        self._stop = True


@asynccontextmanager
async def watched() -> AsyncGenerator[StallWatch]:
    """The stalls of this thread's loop while the block runs."""
    watch = StallWatch()
    sampler = threading.Thread(target=watch.sample, args=(threading.get_ident(),), daemon=True)
    async with anyio.create_task_group() as group:
        group.start_soon(watch.beat)
        sampler.start()
        try:
            yield watch
        finally:
            watch.end()
            group.cancel_scope.cancel()
    sampler.join()
