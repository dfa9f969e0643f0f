"""Tasks that are kept for attempts: one serves many, and to cancel a job ends that job only."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from actors.scheduling.crew import IDLE, Crew
from chimera.testing import settle

pytestmark = pytest.mark.anyio


class Work:
    """Runs jobs, which are events that end them; notes what began, what ended and in which scope."""

    def __init__(self) -> None:
        self.began: list[anyio.Event] = []
        self.ended: list[anyio.Event] = []
        self.scopes: dict[anyio.Event, anyio.CancelScope] = {}

    async def __call__(self, job: anyio.Event, scope: anyio.CancelScope) -> None:
        """Wait until the job may end."""
        self.began.append(job)
        self.scopes[job] = scope
        try:
            await job.wait()
        finally:
            del self.scopes[job]
        self.ended.append(job)


@asynccontextmanager
async def crew() -> AsyncGenerator[tuple[Crew[anyio.Event], Work, list[Callable[..., Any]]]]:
    """A crew, its work, and the tasks that were started for it."""
    started: list[Callable[..., Any]] = []
    work = Work()
    async with anyio.create_task_group() as group:

        def spawn(function: Callable[..., Any], *args: Any) -> None:
            started.append(function)
            group.start_soon(function, *args)

        yield Crew(spawn, work), work, started
        group.cancel_scope.cancel()


def done() -> anyio.Event:
    """A job that ends at once."""
    event = anyio.Event()
    event.set()
    return event


async def test_one_task_does_job_after_job() -> None:
    """A hundred jobs one after the other need one task; two at once need a second."""
    async with crew() as (made, work, started):
        for _ in range(100):
            made.take(done())
            await settle()
        assert (len(work.ended), len(started), len(made)) == (100, 1, 1)
        jobs = [anyio.Event(), anyio.Event()]
        for job in jobs:
            made.take(job)
        await settle()
        assert (work.began[-2:], len(started), len(made)) == (jobs, 2, 0)


async def test_a_cancelled_job_ends_alone_and_its_task_goes_on() -> None:
    """After a job's scope was cancelled the others run on, and the same task does the next job."""
    async with crew() as (made, work, started):
        first, second = anyio.Event(), anyio.Event()
        for job in (first, second):
            made.take(job)
        await settle()
        work.scopes[first].cancel()
        await settle()
        assert (work.ended, list(work.scopes), len(made)) == ([], [second], 1)
        third = done()
        made.take(third)
        second.set()
        await settle()
        assert (set(work.ended), len(started)) == ({second, third}, 2)


async def test_a_job_cancelled_as_it_ends_loses_no_other() -> None:
    """A cancellation in the very round in which the job's wait ends does not reach the task's wait for the next job."""
    async with crew() as (made, work, _):
        first = anyio.Event()
        made.take(first)
        await settle()
        scope = work.scopes[first]
        first.set()
        scope.cancel()
        await settle()
        assert len(made) == 1
        later = [done() for _ in range(3)]
        for job in later:
            made.take(job)
            await settle()
        assert work.ended[-3:] == later


async def test_no_more_than_a_bound_wait_for_work() -> None:
    """After a burst the tasks above the bound end."""
    async with crew() as (made, work, started):
        jobs = [anyio.Event() for _ in range(IDLE + 20)]
        for job in jobs:
            made.take(job)
        await settle()
        for job in jobs:
            job.set()
        await settle()
        assert (len(work.ended), len(started), len(made)) == (IDLE + 20, IDLE + 20, IDLE)
