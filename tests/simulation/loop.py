"""An event loop that owns time and order: virtual seconds, processes that a seed interleaves, pauses and kills.

Every callback belongs to the process in whose context it was made. Within a process callbacks run in the order in
which they were made, as asyncio promises; between processes the seed chooses. A process is killed between two callbacks
(so between any two awaits that wait) and never runs again: no ``finally``, no goodbye.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from chimera.clock import Timer

_LONG = 10_000_000
_CLOSES = 20


class Process:
    """What dies as one. ``skew_s`` is how far its wall clock is off.

    Args:
        loop: Runs it.
        name: For the trace.
    """

    def __init__(self, loop: SimLoop, name: str) -> None:
        self.loop, self.name = loop, name
        self.ready: deque[Step] = deque()
        self.context = contextvars.copy_context()
        self.context.run(_process.set, self)
        self.dead = self.paused = False
        self.skew_s = 0.0
        self.doom: tuple[int, Callable[[], None]] | None = None
        self.kept: list[asyncio.Task[Any]] = []

    def start(self, main: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin its main task."""
        before, self.loop.current = self.loop.current, self
        try:
            return self.context.copy().run(self.loop.create_task, main)
        finally:
            self.loop.current = before

    def call(self, callback: Callable[..., None], *args: Any, delay: float = 0.0) -> Step:
        """Run a callback in this process."""
        return self.loop.plan(delay, callback, args, self.context)

    def kill(self) -> None:
        """End it as ``kill -9`` does. What it held is kept until the simulation is over: nothing is finalised."""
        self.dead = True
        self.ready.clear()
        self.kept = [
            task for task in asyncio.all_tasks(self.loop) if isinstance(task, SimTask) and task.process is self
        ]


_process: contextvars.ContextVar[Process] = contextvars.ContextVar("simulated_process")


class SimTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address: sets of tasks are walked in the same order again."""

    def __init__(self, coro: Any, *, loop: SimLoop, **options: Any) -> None:
        self.number = next(loop.numbers)
        self.process = loop.current
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class Step(asyncio.TimerHandle):
    """A callback that is to run."""

    def __init__(
        self, rank: tuple[float, int], callback: Callable[..., object], args: tuple[Any, ...], process: Process,
        context: contextvars.Context,
    ) -> None:  # fmt: skip
        super().__init__(rank[0], callback, args, process.loop, context)
        self.rank = rank
        self.process = process

    def __lt__(self, other: Any) -> bool:
        return self.rank < other.rank

    def go(self) -> None:
        """Run it."""
        if not self.cancelled():
            self._run()


class SimLoop(asyncio.BaseEventLoop):
    """Runs simulated processes.

    Args:
        rng: Chooses which process takes its next step.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self._now = 1_000.0
        self._order = itertools.count()
        self._timers: list[Step] = []
        self.processes: list[Process] = []
        self.steps = 0
        self.over = False
        self.faults: list[str] = []
        self.numbers = itertools.count()
        self.current = self.process("world")
        self.set_task_factory(self._task)
        self.set_exception_handler(self._failed)

    def process(self, name: str) -> Process:
        """A new process."""
        process = Process(self, name)
        self.processes.append(process)
        return process

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def call_soon(self, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        """Run it in its process, after what waits there already."""
        return self.plan(0.0, callback, args, context)

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        """Run it when virtual time has moved so far."""
        return self.plan(delay, callback, args, context)

    def call_at(self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None) -> Any:
        """Run it at a virtual time."""
        return self.plan(when - self._now, callback, args, context)

    def plan(
        self, delay: float, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> Step:
        """The one way of having something done."""
        process = self.current if context is None else context.get(_process, self.current)
        when = self._now + max(0.0, delay)
        step = Step((when, next(self._order)), callback, args, process, context or contextvars.copy_context())
        if self.over or process.dead:
            step.cancel()
        elif delay > 0:
            heapq.heappush(self._timers, step)
        else:
            process.ready.append(step)
        return step

    def end(self) -> None:
        """Let nothing run any more, and take apart what is left without a word."""
        tasks = sorted(asyncio.all_tasks(self) | {task for one in self.processes for task in one.kept}, key=hash)
        self.over = True
        for task in tasks:
            task._log_destroy_pending = False  # pyright: ignore[reportAttributeAccessIssue] - not in typeshed
            coroutine: Any = task.get_coro()
            for _ in range(_CLOSES):  # a ``finally`` that awaits refuses to be closed once for each await
                with suppress(Exception):
                    coroutine.close()
                    break
        self._timers.clear()
        for process in self.processes:
            process.ready.clear()
            process.kept.clear()
        self.close()

    def _run_once(self) -> None:
        runnable = [process for process in self.processes if process.ready and not process.paused]
        if not runnable:
            self._move_on()
            return
        process = runnable[0] if len(runnable) == 1 else self._rng.choice(runnable)
        step = process.ready.popleft()
        self.steps += 1
        if self.steps > _LONG:
            raise RuntimeError("the simulation does not come to rest")
        self.current = process
        step.go()
        if process.doom is not None:
            left, then = process.doom
            process.doom = (left - 1, then) if left else None
            if not left:
                then()

    def _move_on(self) -> None:
        if not self._timers:
            raise RuntimeError("nothing is left to happen")
        self._now = max(self._now, self._timers[0].when())
        while self._timers and self._timers[0].when() <= self._now:
            step = heapq.heappop(self._timers)
            if not (step.cancelled() or step.process.dead):
                step.process.ready.append(step)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are passed over when their time comes."""

    def _task(self, loop: Any, coro: Any, **options: Any) -> SimTask:
        return SimTask(coro, loop=loop, **options)

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.over:
            self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")


class SimClock:
    """A process's own ``Clock``: everybody's virtual seconds, and a wall clock that may be off.

    Args:
        process: Whose.
        wall: The right Unix time of a virtual second 0, in a list because it jumps.
    """

    def __init__(self, process: Process, wall: list[float]) -> None:
        self._process, self._wall = process, wall

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._process.loop.time()

    def time(self) -> float:
        """Unix seconds, as this process sees them."""
        return self._process.loop.time() + self._wall[0] + self._process.skew_s

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Run it in this process."""
        return self._process.call(callback, delay=delay)

    async def sleep(self, delay: float) -> None:
        """Wait so many virtual seconds."""
        await asyncio.sleep(delay)
