"""The agent actor over the real sandbox, with the agents that ship: the memory bus stands in for the server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from actors.agent import Agent
from actors.execution.settings import Serving
from chimera import System, SystemClock
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.errors import AgentLimitError, AgentTrapError, BadModuleError, BreakerOpenError, ChimeraError
from chimera.sandbox import SandboxSettings, create_sandbox
from chimera.store.contract import Store
from edge.guests import shipped, shipped_guest
from subjects.agent import Deploy, Limits, ListAgents, Predict, Prediction, RegisterAgent, Rollback
from tests.support.guests import FakeStore

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@asynccontextmanager
async def node(folder: Path) -> AsyncGenerator[Any]:
    """A node that serves the shipped agents from real worker processes; yields a function that asks."""
    async with (
        MemoryBus(MemoryHub(), name="n") as bus,
        create_sandbox(SandboxSettings(workers=2, cache_dir=folder), SystemClock()) as sandbox,
        System(bus, node="n") as system,
    ):
        guests = [(guest.manifest, guest.module) for guest in shipped()]
        await system.spawn(
            Agent, sandbox=sandbox, bus=bus, store=cast("Store", FakeStore()), shipped=guests, serving=Serving()
        )
        ref = system.ref("agent", node="n")

        async def ask(message: Any) -> Any:
            return await ref.ask(message, timeout_s=30.0)

        yield ask


def said(job_id: str, text: str, agent: str = "sentiment") -> Predict:
    """A task."""
    return Predict(job_id=job_id, agent=agent, input={"text": text})


async def test_the_sentiment_agent_answers_and_swaps_under_load(tmp_path: Path) -> None:
    """Good is above bad; a new genome and a rollback under load fail no request."""
    async with node(tmp_path) as ask:
        good: Prediction = await ask(said("good", "I love this, it works great!"))
        bad: Prediction = await ask(said("bad", "This is terrible and sad."))
        assert good.output["compound"] > 0 > bad.output["compound"]
        releases: set[int] = set()
        running = True

        async def load(worker: int) -> None:
            count = 0
            while running:
                count += 1
                releases.add((await ask(said(f"{worker}-{count}", "fine"))).release)

        async with anyio.create_task_group() as group:
            for worker in range(4):
                group.start_soon(load, worker)
            view = await ask(Deploy(name="sentiment", genome={"capitals_increment": 0.8}))
            assert view.live == 2
            assert (await ask(said("two", "fine"))).release == 2
            assert (await ask(Rollback(name="sentiment"))).live == 1
            assert (await ask(said("three", "fine"))).release == 1
            running = False
        assert {1, 2} <= releases


async def test_hostile_agents_end_in_their_own_errors_and_leave_others_alone(tmp_path: Path) -> None:
    """A trap and an endless loop are told apart, the breaker opens, and the sentiment agent serves on."""
    async with node(tmp_path) as ask:
        for name, error in (("trap", AgentTrapError), ("infinite_loop", AgentLimitError)):
            guest = shipped_guest(name)
            await ask(RegisterAgent(module=guest.module, manifest=guest.manifest))
            await ask(Deploy(name=guest.manifest.name, limits=Limits(cpu_ms=50.0, wall_ms=500.0)))
            seen: list[type[ChimeraError]] = []
            for attempt in range(8):
                try:
                    await ask(said(f"{name}-{attempt}", "x", agent=guest.manifest.name))
                except ChimeraError as caught:
                    seen.append(type(caught))
                assert (await ask(said(f"beside-{name}-{attempt}", "fine"))).agent == "sentiment"
            assert seen[:5] == [error] * 5
            assert set(seen[5:]) == {BreakerOpenError}
        rows = {row.name: row for row in (await ask(ListAgents())).agents}
        assert rows["sentiment"].breaker.state == "closed"
        unknown = shipped_guest("unknown_import")
        with pytest.raises(BadModuleError):
            await ask(RegisterAgent(module=unknown.module, manifest=unknown.manifest))
