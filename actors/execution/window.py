"""Stored answers: a repeated job gets the answer it had, and a job that is asked twice at once runs once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from chimera.errors import ChimeraError, ConflictError, DeadlineError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """How much is kept: answers, bytes of them, and seconds."""

    count: int = 10_000
    max_bytes: int = 32 << 20
    age_s: float = 300.0


@dataclass(slots=True)
class Answer(Generic[T]):
    """What a run came to: a value or an error, its size in bytes, and whether a repeat should get it again."""

    value: T | None = None
    error: ChimeraError | None = None
    size: int = 0
    keep: bool = True

    def unwrap(self) -> T:
        """The value.

        Raises:
            ChimeraError: The error.
        """
        if self.error is not None:
            raise self.error
        return self.value  # pyright: ignore[reportReturnType] - exactly one of the two is set


@dataclass(slots=True)
class _Kept(Generic[T]):
    fingerprint: bytes
    answer: Answer[T]
    at: float


@dataclass(slots=True)
class _Open(Generic[T]):
    fingerprint: bytes
    scope: anyio.CancelScope
    joiners: int = 0
    done: anyio.Event | None = None
    answer: Answer[T] | None = None


class AnswerWindow(Generic[T]):
    """Answers by job id. Bounded in number, bytes and age; what still runs is bounded by whoever runs it."""

    def __init__(self, policy: WindowPolicy, now: Callable[[], float]) -> None:
        self._policy = policy
        self._now = now
        self._kept: OrderedDict[str, _Kept[T]] = OrderedDict()
        self._open: dict[str, _Open[T]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def running(self) -> list[str]:
        """Jobs under way."""
        return list(self._open)

    def recent(self, age_s: float, most: int) -> list[str]:
        """Jobs whose answer was kept in the last ``age_s`` seconds, newest first."""
        oldest = self._now() - age_s
        found: list[str] = []
        for job_id in reversed(self._kept):
            if self._kept[job_id].at < oldest or len(found) == most:
                break
            found.append(job_id)
        return found

    async def once(
        self, job_id: str, fingerprint: bytes, deadline: float, run: Callable[[], Awaitable[Answer[T]]]
    ) -> tuple[Answer[T], bool]:
        """The job's answer, and whether it was there already or under way.

        Concurrent repeats wait for the run under way. As long as one of its callers still waits, the run is not
        cancelled; when the last has gone, it is.

        Args:
            job_id: Whose answer.
            fingerprint: Digest of everything that makes the request what it is.
            deadline: When this caller gives up, in the seconds of ``now``. ``run`` must keep it by itself.
            run: Does the work; what it raises is raised to the one who ran it, and repeats try for themselves.

        Raises:
            ConflictError: If the job id was used with another fingerprint.
            DeadlineError: If the run under way did not end in time for this caller.
        """
        while True:
            kept = self.stored(job_id)
            running = self._open.get(job_id) if kept is None else None
            known = kept or running
            if known is None:
                return await self._lead(job_id, fingerprint, run), False
            if known.fingerprint != fingerprint:
                raise ConflictError(
                    f"job_id '{job_id}' was used for another request", hint="use a new job_id for a new request"
                )
            if kept is not None:
                return kept.answer, True
            if running is not None and (answer := await self._join(running, deadline)) is not None:
                return answer, True

    def stored(self, job_id: str) -> _Kept[T] | None:
        """What is kept for a job, if it is not too old."""
        kept = self._kept.get(job_id)
        if kept is None or self._now() - kept.at <= self._policy.age_s:
            return kept
        self._shrink()
        return None

    def answer(self, job_id: str) -> T | None:
        """The value kept for a job, or ``None``."""
        kept = self.stored(job_id)
        return kept.answer.value if kept else None

    async def _lead(self, job_id: str, fingerprint: bytes, run: Callable[[], Awaitable[Answer[T]]]) -> Answer[T]:
        with anyio.CancelScope() as scope:
            entry: _Open[T] = _Open(fingerprint, scope)
            self._open[job_id] = entry
            try:
                entry.answer = answer = await run()
                if answer.keep:
                    self._keep(job_id, _Kept(fingerprint, answer, self._now()))
                return answer
            finally:
                del self._open[job_id]
                if entry.done is not None:
                    entry.done.set()
        raise AssertionError("nobody cancels the scope")  # pragma: no cover

    async def _join(self, entry: _Open[T], deadline: float) -> Answer[T] | None:
        done = entry.done = entry.done or anyio.Event()
        entry.joiners += 1
        entry.scope.shield = True
        try:
            with anyio.move_on_after(max(0.0, deadline - self._now())) as scope:
                await done.wait()
        finally:
            entry.joiners -= 1
            entry.scope.shield = entry.joiners > 0
        if scope.cancelled_caught:
            raise DeadlineError(stage="running")
        return entry.answer

    def _keep(self, job_id: str, kept: _Kept[T]) -> None:
        self._kept[job_id] = kept
        self._bytes += kept.answer.size
        self._shrink()

    def _shrink(self) -> None:
        oldest = self._now() - self._policy.age_s
        while self._kept:
            first = next(iter(self._kept.values()))
            if len(self._kept) <= self._policy.count and self._bytes <= self._policy.max_bytes and first.at >= oldest:
                return
            self._bytes -= self._kept.popitem(last=False)[1].answer.size
