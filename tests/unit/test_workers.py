"""Tasks that are kept: a cancelled job is called again in a fresh scope, and idle ones are bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import anyio
import pytest

from chimera.testing import settle
from chimera.workers import IDLE, Workers

pytestmark = pytest.mark.anyio


class Job:
    """Notes each call; cancels itself in the first one if told so."""

    def __init__(self, *, cancel: bool = False) -> None:
        self.calls = 0
        self.done = False
        self._cancel = cancel

    async def work(self, scope: anyio.CancelScope) -> None:
        """One call."""
        self.calls += 1
        if self._cancel and self.calls == 1:
            scope.cancel()
        await anyio.lowlevel.checkpoint()
        self.done = True


async def test_a_cancelled_job_is_called_again_and_its_worker_lives():
    """The rest of its work runs undisturbed, and so does the next job."""
    async with anyio.create_task_group() as group:
        workers = Workers(cast("Callable[..., None]", group.start_soon))
        first, second = Job(cancel=True), Job()
        workers.run(first)
        await settle()
        assert (first.calls, first.done) == (2, True)
        workers.run(second)
        await settle()
        assert (second.calls, second.done) == (1, True)
        group.cancel_scope.cancel()


async def test_no_more_than_a_bounded_number_wait_idle():
    """A burst leaves few tasks behind."""
    async with anyio.create_task_group() as group:
        workers = Workers(cast("Callable[..., None]", group.start_soon))
        jobs = [Job() for _ in range(3 * IDLE)]
        for job in jobs:
            workers.run(job)
        await settle()
        assert all(job.done for job in jobs)
        assert len(workers) == IDLE
        group.cancel_scope.cancel()
