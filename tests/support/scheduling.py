"""A scheduler beside an agent that a test scripts, on a bus of the test's choice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from actors.scheduler import Scheduler
from chimera import Actor, handles
from chimera.bus import Bus
from chimera.clock import Clock
from chimera.system import System
from subjects.agent import Predict, Prediction, Timings

Work = Callable[[Predict], Awaitable[dict[str, Any]]]


class FakeAgent(Actor, name="agent", mailbox=4096, concurrency=1024):
    """Answers ``predict`` as ``work`` says, and remembers every job."""

    def __init__(self, *, work: Work, jobs: list[Predict]) -> None:
        self._work, self._jobs = work, jobs

    @handles
    async def predict(self, message: Predict) -> Prediction:
        """Do the work."""
        self._jobs.append(message)
        output = await self._work(message)
        timings = Timings(queue_ms=0.0, run_ms=1.0, total_ms=1.0)
        return Prediction(
            job_id=message.job_id, agent=message.agent, release=1, output=output, timings=timings, node=self.ctx.node
        )


async def echo(message: Predict) -> dict[str, Any]:
    """The input is the output."""
    return message.input


@asynccontextmanager
async def scheduling(
    bus: Bus, *, node: str = "n1", clock: Clock | None = None, work: Work | None = echo,
    jobs: list[Predict] | None = None, **arguments: Any,
) -> AsyncGenerator[System]:  # fmt: skip
    """A node with a scheduler and, unless ``work`` is ``None``, an agent."""
    async with System(node=node, clock=clock) as system:
        await system.attach(bus)
        if work is not None:
            await system.spawn(FakeAgent, work=work, jobs=[] if jobs is None else jobs)
        await system.spawn(Scheduler, bus=bus, **arguments)
        yield system
