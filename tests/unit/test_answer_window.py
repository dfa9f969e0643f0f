"""Stored answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from actors.execution.window import Answer, AnswerWindow, WindowPolicy
from chimera.errors import AgentError, ConflictError, DeadlineError
from chimera.testing import ManualClock, settle

pytestmark = pytest.mark.anyio
FOREVER = 1e9


class Work:
    """Counts its runs; each waits for ``go``."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.go = anyio.Event()

    async def __call__(self) -> Answer[int]:
        self.runs += 1
        try:
            await self.go.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        return Answer(self.runs)


def answering(answer: Answer[int]) -> Callable[[], Awaitable[Answer[int]]]:
    """A run that has this answer at once."""

    async def run() -> Answer[int]:
        return answer

    return run


def make(**policy: float) -> tuple[AnswerWindow[int], ManualClock]:
    """A window on a clock that stands still."""
    clock = ManualClock()
    return AnswerWindow(WindowPolicy(**policy), clock.monotonic), clock  # pyright: ignore[reportArgumentType] - numbers


async def test_concurrent_repeats_run_once() -> None:
    """Three at once share one run, and two of them are told that it was a repeat."""
    window, _ = make()
    work = Work()
    replays: list[bool] = []

    async def ask() -> None:
        answer, replayed = await window.once("a", b"1", FOREVER, work)
        assert answer.unwrap() == 1
        replays.append(replayed)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
        await settle()
        work.go.set()
    assert (work.runs, sorted(replays)) == (1, [False, True, True])


async def test_a_conflict_is_seen_while_the_first_still_runs() -> None:
    """Another body under the same job id is refused at once."""
    window, _ = make()
    work = Work()
    async with anyio.create_task_group() as group:
        group.start_soon(window.once, "a", b"1", FOREVER, work)
        await settle()
        with pytest.raises(ConflictError):
            await window.once("a", b"2", FOREVER, work)
        work.go.set()


async def test_the_first_may_leave_while_a_joiner_waits() -> None:
    """The run goes on for the joiner when the caller that started it is cancelled."""
    window, _ = make()
    work = Work()
    got: list[int] = []

    async def lead(scope: anyio.CancelScope) -> None:
        with scope:
            await window.once("a", b"1", FOREVER, work)

    async def join() -> None:
        got.append((await window.once("a", b"1", FOREVER, work))[0].unwrap())

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        group.start_soon(lead, scope)
        await settle()
        group.start_soon(join)
        await settle()
        scope.cancel()
        await settle()
        assert work.cancelled == 0
        work.go.set()
    assert (got, work.runs) == ([1], 1)


async def test_when_the_last_joiner_has_left_too_the_run_is_cancelled() -> None:
    """Nobody waits: the work stops."""
    window, _ = make()
    work = Work()

    async def ask(scope: anyio.CancelScope) -> None:
        with scope:
            await window.once("a", b"1", FOREVER, work)

    scopes = [anyio.CancelScope(), anyio.CancelScope()]
    async with anyio.create_task_group() as group:
        for scope in scopes:
            group.start_soon(ask, scope)
            await settle()
        scopes[0].cancel()
        await settle()
        assert work.cancelled == 0
        scopes[1].cancel()
        await settle()
        assert work.cancelled == 1


async def test_a_joiner_may_leave_alone() -> None:
    """Cancelling one who joined leaves the run and its caller untouched."""
    window, _ = make()
    work = Work()
    got: list[int] = []

    async def lead() -> None:
        got.append((await window.once("a", b"1", FOREVER, work))[0].unwrap())

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await settle()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await window.once("a", b"1", FOREVER, work)
        work.go.set()
    assert got == [1]


async def test_a_joiner_keeps_its_own_deadline() -> None:
    """It is answered in its own time although the run takes longer."""
    window, clock = make()
    work = Work()
    async with anyio.create_task_group() as group:
        group.start_soon(window.once, "a", b"1", FOREVER, work)
        await settle()
        with pytest.raises(DeadlineError):
            await window.once("a", b"1", clock.monotonic() + 0.001, work)
        work.go.set()


async def test_a_joiner_tries_itself_when_the_first_failed_to_run() -> None:
    """What the run raises belongs to its caller; who joined leads the next try."""
    window, _ = make()
    go = anyio.Event()

    async def late() -> Answer[int]:
        await go.wait()
        raise DeadlineError(stage="queued")

    async def lead() -> None:
        with pytest.raises(DeadlineError):
            await window.once("a", b"1", FOREVER, late)

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await settle()
        group.start_soon(_set, go)
        answer, replayed = await window.once("a", b"1", FOREVER, answering(Answer(7)))
        assert (answer.unwrap(), replayed) == (7, False)


async def _set(event: anyio.Event) -> None:
    event.set()


async def test_what_is_not_kept_runs_again_and_a_kept_error_is_replayed() -> None:
    """``keep`` decides."""
    window, _ = make()
    await window.once("a", b"1", FOREVER, answering(Answer(1, keep=False)))
    assert (await window.once("a", b"1", FOREVER, answering(Answer(2))))[0].unwrap() == 2
    refused = Answer[int](error=AgentError("no"))
    await window.once("b", b"1", FOREVER, answering(refused))
    answer, replayed = await window.once("b", b"1", FOREVER, answering(Answer(3)))
    assert replayed
    with pytest.raises(AgentError):
        answer.unwrap()


async def test_bounds_in_number_bytes_and_age() -> None:
    """The oldest go first; nothing older than the age is given."""
    window, clock = make(count=3, max_bytes=100, age_s=10.0)
    for job in "abcd":
        await window.once(job, b"1", FOREVER, answering(Answer(1, size=10)))
    assert (window.answer("a"), window.answer("b"), len(window)) == (None, 1, 3)
    await window.once("e", b"1", FOREVER, answering(Answer(1, size=95)))
    assert len(window) == 1
    await clock.advance(10.1)
    assert window.answer("e") is None
    assert len(window) == 0
