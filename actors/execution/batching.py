"""Opportunistic batching in front of one guest: nothing waits for a batch to fill while a worker is free."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from chimera.errors import DeadlineError, OverloadedError, RestartingError, UnavailableError
from chimera.sandbox.contract import Guest, GuestFailure, GuestResult

Outcome = GuestResult | GuestFailure
_RATE_WEIGHT = 0.2
_FIRST_GUESS_S = 0.1
_LONGEST_HINT_S = 30.0


@dataclass(slots=True)
class BatchPolicy:
    """How tasks wait; shared by all batchers, so that a change is in force at once.

    Attributes:
        size: Most tasks of one batch.
        timeout_s: Longest that a task waits here for a worker; then its batch joins the sandbox's own queue.
        queue: Tasks that may wait per guest; one more is refused.
        batches: Batches of one guest that may be with the sandbox at once.
    """

    size: int = 32
    timeout_s: float = 0.1
    queue: int = 1024
    batches: int = 64


@dataclass(slots=True)
class _Waiter:
    task: str
    payload: bytes
    since: float
    deadline: float | None
    done: anyio.Event = field(default_factory=anyio.Event)
    stage: Literal["queued", "running"] = "queued"
    outcome: Outcome | None = None
    error: Exception | None = None


class Batcher:
    """The queue of one guest. ``run`` must be under way for tasks that can't go straight through."""

    def __init__(self, guest: Guest, policy: BatchPolicy, now: Callable[[], float]) -> None:
        self._guest = guest
        self._policy = policy
        self._now = now
        self._queue: deque[_Waiter] = deque()
        self._wake = anyio.Event()
        self._slots = anyio.Event()
        self._batches = 0
        self._running = 0
        self._closed = False
        self._task_s = 0.0

    @property
    def queued(self) -> int:
        """Tasks that wait here."""
        return len(self._queue)

    @property
    def retry_after_s(self) -> float:
        """When a place should be free again, from the measured rate: seconds for the present queue."""
        return min(_LONGEST_HINT_S, max(0.001, (len(self._queue) + 1) * (self._task_s or _FIRST_GUESS_S)))

    async def submit(self, task: str, payload: bytes, deadline: float | None) -> Outcome:
        """Run one task: at once if a worker is free and nobody waits, else in turn.

        Args:
            task: Export of the guest.
            payload: Its input.
            deadline: Monotonic seconds, or ``None``.

        Raises:
            OverloadedError: If the queue is full; ``retry_after_s`` follows the measured rate.
            DeadlineError: If the deadline passed, ``stage`` tells where.
            RestartingError: If the guest was closed meanwhile.
        """
        now = self._now()
        if deadline is not None and deadline <= now:
            raise DeadlineError(stage="queued")
        if not self._queue and self._guest.ready():
            return (await self._run(task, (payload,), now, deadline))[0]
        return await self._wait(self._enqueue(_Waiter(task, payload, now, deadline)))

    async def run(self) -> None:
        """Send batches until ``close``; then return once the queue is empty and every batch came back."""
        async with anyio.create_task_group() as group:
            while not self._closed or self._queue:
                if not self._queue:
                    await self._sleep()
                    continue
                await self._wait_to_leave()
                await self._send(group)

    def close(self) -> None:
        """Take no more; ``run`` ends when what waits was served."""
        self._closed = True
        self._wake.set()

    def _enqueue(self, waiter: _Waiter) -> _Waiter:
        if self._closed:
            raise _closed()
        if len(self._queue) >= self._policy.queue:
            raise OverloadedError(
                f"{len(self._queue)} tasks wait for this agent already", retry_after_s=self.retry_after_s
            )
        self._queue.append(waiter)
        if len(self._queue) == 1 or self._is_full():
            self._wake.set()
        return waiter

    async def _wait(self, waiter: _Waiter) -> Outcome:
        left = None if waiter.deadline is None else max(0.0, waiter.deadline - self._now())
        with anyio.move_on_after(left) as scope:
            try:
                await waiter.done.wait()
            finally:
                self._forget(waiter)
        if waiter.outcome is not None:
            return waiter.outcome
        if waiter.error is None:
            waiter.error = DeadlineError(stage=waiter.stage) if scope.cancelled_caught else _stopped()
        raise waiter.error

    def _forget(self, waiter: _Waiter) -> None:
        if waiter.stage == "queued" and not waiter.done.is_set():
            self._queue.remove(waiter)

    async def _sleep(self) -> None:
        self._wake = anyio.Event()
        await self._wake.wait()

    async def _wait_to_leave(self) -> None:
        """Until a worker is free, a whole batch waits, or the first task has waited long enough."""
        while self._queue and not self._is_full() and not self._guest.ready():
            left = self._queue[0].since + self._policy.timeout_s - self._now()
            if left <= 0:
                return
            with anyio.move_on_after(left):
                await self._worker_or_arrival()

    async def _worker_or_arrival(self) -> None:
        async with anyio.create_task_group() as group:

            async def end_after(wait: Callable[[], Awaitable[Any]]) -> None:
                await wait()
                group.cancel_scope.cancel()

            self._wake = anyio.Event()
            group.start_soon(end_after, self._guest.wait_ready)
            group.start_soon(end_after, self._wake.wait)

    def _is_full(self) -> bool:
        return len(self._queue) >= self._policy.size

    async def _send(self, group: TaskGroup) -> None:
        while self._batches >= self._policy.batches:
            self._slots = anyio.Event()
            await self._slots.wait()
        batch = self._take()
        if batch:
            self._batches += 1
            group.start_soon(self._run_batch, batch)
            # let it claim its worker before the next look at ready()
            await checkpoint()

    def _take(self) -> list[_Waiter]:
        """The longest waiting tasks of one kind; the expired are shed on the way."""
        batch: list[_Waiter] = []
        passed: list[_Waiter] = []
        now = self._now()
        while self._queue and len(batch) < self._policy.size:
            waiter = self._queue.popleft()
            if waiter.deadline is not None and waiter.deadline <= now:
                waiter.error = DeadlineError(stage="queued")
                waiter.done.set()
            elif batch and waiter.task != batch[0].task:
                passed.append(waiter)
            else:
                waiter.stage = "running"
                batch.append(waiter)
        self._queue.extendleft(reversed(passed))
        return batch

    async def _run_batch(self, batch: list[_Waiter]) -> None:
        deadlines = [waiter.deadline for waiter in batch]
        last = None if None in deadlines else max(moment for moment in deadlines if moment is not None)
        try:
            outcomes = await self._run(batch[0].task, [waiter.payload for waiter in batch], self._now(), last)
            _hand_out(batch, outcomes)
        except Exception as error:  # noqa: BLE001 - every waiter raises it in its own turn
            for waiter in batch:
                waiter.error = error
        finally:
            self._batches -= 1
            self._slots.set()
            for waiter in batch:
                waiter.done.set()

    async def _run(self, task: str, payloads: Sequence[bytes], now: float, deadline: float | None) -> Sequence[Outcome]:
        self._running += 1
        try:
            left = None if deadline is None else deadline - now
            outcomes = await self._guest.run(task, payloads, timeout_s=left)
            self._measure((self._now() - now) / len(payloads))
        finally:
            self._running -= 1
        return outcomes

    def _measure(self, seconds: float) -> None:
        # this run's seconds per task, shared with the runs beside it
        each = seconds / self._running
        self._task_s += (each - self._task_s) * (_RATE_WEIGHT if self._task_s else 1.0)


def _hand_out(batch: Sequence[_Waiter], outcomes: Sequence[Outcome]) -> None:
    for waiter, outcome in zip(batch, outcomes, strict=True):
        waiter.outcome = outcome


def _closed() -> RestartingError:
    return RestartingError("the agent is being stopped", retry_after_s=1.0)


def _stopped() -> UnavailableError:
    return UnavailableError("the agent was stopped while the task ran")
