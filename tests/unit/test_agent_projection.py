"""Agents reach the store in their newest state, whatever the store does meanwhile."""

from __future__ import annotations

from typing import Any, cast

import anyio
import pytest

from actors.execution.projection import AgentProjection
from chimera.errors import UnavailableError
from chimera.store.contract import Store
from subjects.agent import AgentView

pytestmark = pytest.mark.anyio


class FlakyStore:
    """Refuses for as long as it is down; keeps what it took, in order."""

    def __init__(self) -> None:
        self.down = False
        self.taken: list[tuple[str, int]] = []

    async def save_agent(self, view: AgentView) -> None:
        """Take it or refuse."""
        await anyio.lowlevel.checkpoint()
        if self.down:
            raise UnavailableError("the database is away")
        self.taken.append((view.name, view.live))


class Bench:
    """A projection whose pauses end when the test says so."""

    def __init__(self) -> None:
        self.store, self.reports, self.pauses = FlakyStore(), list[str](), list[float]()
        self.steps = anyio.Semaphore(0)
        self.projection = AgentProjection(cast("Store", self.store), self._sleep, self._report)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self.steps.acquire()

    def _report(self, name: str, message: str, **_: Any) -> None:
        self.reports.append(f"{name}: {message}")

    async def save(self, name: str, live: int) -> None:
        """Save an agent that serves release ``live``."""
        await self.projection.save(
            AgentView(name=name, state="live", live=live, candidate=None, previous=None, releases=[])
        )


async def test_saved_at_once_while_the_store_is_there():
    """Nothing is kept, nothing is reported."""
    bench = Bench()
    await bench.save("a", 1)
    assert bench.store.taken == [("a", 1)]
    assert (len(bench.projection), bench.reports) == (0, [])


async def test_what_the_store_missed_is_saved_when_it_is_back():
    """Each agent once, in its newest state, after pauses that grow; then the projection rests."""
    bench = Bench()
    async with anyio.create_task_group() as group:
        group.start_soon(bench.projection.run)
        bench.store.down = True
        for name, live in (("a", 1), ("b", 1), ("a", 2)):
            await bench.save(name, live)
        assert len(bench.projection) == 2
        assert bench.reports[0] == "data-access: agent 'a' is projected later: the database is away"
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            bench.steps.release()
        await anyio.wait_all_tasks_blocked()
        assert bench.store.taken == []
        assert bench.pauses == [0.5, 1.0, 2.0, 4.0]
        bench.store.down = False
        bench.steps.release()
        await anyio.wait_all_tasks_blocked()
        assert sorted(bench.store.taken) == [("a", 2), ("b", 1)]
        assert (len(bench.projection), len(bench.pauses)) == (0, 4)
        group.cancel_scope.cancel()


async def test_a_newer_state_is_not_overwritten_by_an_older_one():
    """An agent that changes again after the store is back is not put back by what was kept."""
    bench = Bench()
    async with anyio.create_task_group() as group:
        group.start_soon(bench.projection.run)
        bench.store.down = True
        await bench.save("a", 1)
        bench.store.down = False
        await bench.save("a", 2)
        await anyio.wait_all_tasks_blocked()
        bench.steps.release()
        await anyio.wait_all_tasks_blocked()
        assert bench.store.taken == [("a", 2)]
        group.cancel_scope.cancel()
