"""A node with the agent actor in it, on the in-memory bus, with a fake sandbox and store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio

from actors.agent import Agent
from actors.execution.breaker import BreakerPolicy
from actors.execution.settings import Serving
from chimera import System
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.store.contract import Store
from chimera.testing import EventRecorder
from subjects.agent import (
    Manifest,
    Parameter,
    Predict,
    Prediction,
)
from tests.support.guests import MODULE, FakeSandbox, FakeStore

MANIFEST = Manifest(name="echo", label="label", genome=[Parameter(name="gain", low=0.0, high=20.0, default=1.0)])
QUICK = Serving(flush_s=0.001, breaker=BreakerPolicy(failures=3))


class World:
    """One node with an agent actor; ``hub``, ``box`` and ``store`` can outlive it."""

    def __init__(
        self, system: System, bus: MemoryBus, box: FakeSandbox, store: FakeStore, events: EventRecorder
    ) -> None:
        self.system, self.bus, self.box, self.store, self.events = system, bus, box, store, events

    async def ask(self, message: Any) -> Any:
        """The answer of this node's actor."""
        return await self.system.ref("agent", node=self.system.node).ask(message, timeout_s=5.0)

    async def predict(self, job_id: str, /, agent: str = "echo", key: str = "", **said: Any) -> Prediction:
        """One task."""
        return await self.ask(Predict(job_id=job_id, agent=agent, key=key, input=said))

    async def stored(self, stream: str, count: int, subject: str = "") -> list[Any]:
        """The first ``count`` messages of a stream, waiting for them."""
        found: list[Any] = []
        with anyio.fail_after(5):
            async with self.bus.read(stream, follow=True, subject=subject) as messages:
                async for message in messages:
                    found.append(message)
                    if len(found) == count:
                        break
        return found


@asynccontextmanager
async def world(
    hub: MemoryHub | None = None,
    *,
    node: str = "one",
    box: FakeSandbox | None = None,
    store: FakeStore | None = None,
    serving: Serving = QUICK,
    shipped: tuple[tuple[Manifest, bytes], ...] = ((MANIFEST, MODULE),),
) -> AsyncGenerator[World]:
    """A running agent actor."""
    box, store, events = box or FakeSandbox(), store or FakeStore(), EventRecorder()
    async with (
        MemoryBus(hub or MemoryHub(), name=node) as bus,
        System(bus, node=node, events=events, strict_local=True) as system,
    ):
        await system.spawn(Agent, sandbox=box, bus=bus, store=cast("Store", store), serving=serving, shipped=shipped)
        yield World(system, bus, box, store, events)
