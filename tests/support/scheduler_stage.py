"""A scheduler on the in-memory bus with a fake agent, on a clock that the test moves."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio

from chimera.bus import Bus, MemoryBus, MemoryHub
from chimera.system import System
from chimera.testing import ManualClock, settle
from subjects.agent import Predict
from subjects.scheduler import (
    GetTask,
    Submit,
)
from subjects.task import TaskView
from tests.support.scheduling import scheduling


class Stage:
    """A hub, a clock that stands still, and nodes on demand."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.clock = ManualClock()
        self.hub = MemoryHub(self.clock)
        self._stack = stack

    async def node(self, name: str = "n1", **arguments: Any) -> System:
        bus = await self._stack.enter_async_context(MemoryBus(self.hub, name=name))
        system = await self._stack.enter_async_context(scheduling(bus, node=name, clock=self.clock, **arguments))
        await settle()
        return system

    async def run_on(self) -> None:
        while True:
            await self.clock.advance(1.0)
            await anyio.lowlevel.checkpoint()

    async def bus(self, name: str) -> Bus:
        return await self._stack.enter_async_context(MemoryBus(self.hub, name=name))


async def submit(system: System, **fields: Any) -> str:
    """Submit one task; its id."""
    body: dict[str, Any] = {"input": {"x": 1}, **fields}
    answer = await system.ask(Submit(**body))
    return answer.receipts[0].id


async def view(system: System, task: str) -> TaskView:
    """A task after everything that can happen now has happened."""
    await settle(60)
    return await system.ask(GetTask(id=task))


class Gate:
    """Work that waits until it is let go."""

    def __init__(self) -> None:
        self.open = anyio.Event()

    async def __call__(self, message: Predict) -> dict[str, Any]:
        await self.open.wait()
        return message.input


class Failing:
    """Work that fails so many times, then succeeds."""

    def __init__(self, times: int, error: Exception) -> None:
        self.times, self.error = times, error

    async def __call__(self, message: Predict) -> dict[str, Any]:
        self.times -= 1
        if self.times >= 0:
            raise self.error
        return message.input
