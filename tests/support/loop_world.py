"""A node with agent and optimizer on the in-memory bus, and an agent whose answers are as good as its gene says."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

import anyio
import msgspec

from actors.agent import Agent
from actors.execution.settings import Serving
from actors.optimizer import Optimizer
from chimera import System
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.sandbox.contract import GuestFailure, GuestResult
from chimera.store.contract import Store
from chimera.testing import EventRecorder
from subjects.agent import AgentView, Feedback, Manifest, Parameter, Predict, ShowAgent
from subjects.experiment import Experiment, GetExperiment
from tests.support.guests import MODULE, FakeGuest, FakeSandbox, FakeStore

SKILLED = Manifest(
    name="echo", label="label", score="score",
    genome=[Parameter(name="skill", low=0.0, high=1.0, default=0.5), Parameter(name="crash", low=0.0, high=1.0)],
)  # fmt: skip


@dataclass(slots=True)
class SkilledGuest(FakeGuest):
    """Is right on a share ``skill`` of messages and traps on a share ``crash``: always the same ones."""

    def _answer(self, payload: bytes) -> GuestResult | GuestFailure:
        says = msgspec.json.decode(payload)
        place = int.from_bytes(blake2b(str(says["text"]).encode(), digest_size=8).digest(), "big") / 2.0**64
        skill, crash = self.spec.genome
        if place < crash:
            return GuestFailure("agent-trap", "as its gene says", run_s=0.001)
        right = place >= 1.0 - skill
        answer = {"label": says["truth"] if right else "wrong", "score": 1.0 if right else 0.0}
        return GuestResult(msgspec.json.encode(answer), 0.001, 0.001, 65536)


class SkilledSandbox(FakeSandbox):
    """Loads skilled guests."""

    guest = SkilledGuest


class LoopWorld:
    """The node, and what a test asks of it."""

    def __init__(self, system: System, bus: MemoryBus, events: EventRecorder) -> None:
        self.system, self.bus, self.events = system, bus, events
        self._rng = random.Random(7)  # noqa: S311 - which texts a test sends
        self._count = 0

    async def ask(self, message: Any) -> Any:
        """The answer of whoever takes it."""
        return await self.system.ask(message, timeout_s=20.0)

    async def serve(self, count: int, *, judge: bool = True) -> None:
        """Live traffic: tasks with a right answer, which feedback tells."""
        for _ in range(count):
            self._count += 1
            job, truth = f"j{self._count}", self._rng.choice(["up", "down"])
            input_ = {"text": f"text {self._count}", "truth": truth}
            with_trouble = await self.try_(Predict(job_id=job, agent="echo", input=input_))
            if judge and with_trouble:
                await self.ask(Feedback(job_id=job, label=truth, score=1.0))

    async def try_(self, message: Any) -> bool:
        """Ask; false if it failed."""
        try:
            await self.ask(message)
        except Exception:  # noqa: BLE001 - a crashing candidate is what some tests are about
            return False
        return True

    async def agent(self) -> AgentView:
        """The agent as the book has it."""
        return await self.ask(ShowAgent(name="echo"))

    async def until(self, id_: str, wanted: Callable[[Experiment], bool], timeout_s: float = 20.0) -> Experiment:
        """The experiment, once it is as wanted."""
        with anyio.fail_after(timeout_s):
            while True:
                found = await self.ask(GetExperiment(id=id_))
                if wanted(found):
                    return found
                await anyio.sleep(0.01)


@asynccontextmanager
async def loop_world(
    hub: MemoryHub | None = None,
    *,
    node: str = "one",
    box: SkilledSandbox | None = None,
    store: FakeStore | None = None,
) -> AsyncGenerator[LoopWorld]:
    """Agent and optimizer, running."""
    events = EventRecorder()
    async with (
        MemoryBus(hub or MemoryHub(), name=node) as bus,
        System(bus, node=node, events=events) as system,
    ):
        await system.spawn(
            Agent, sandbox=box or SkilledSandbox(), bus=bus, store=cast("Store", store or FakeStore()),
            serving=Serving(flush_s=0.001), shipped=((SKILLED, MODULE),),
        )  # fmt: skip
        await system.spawn(Optimizer, bus=bus)
        yield LoopWorld(system, bus, events)
