"""Nodes that only run agents, each a process of its own around one server, and somebody who asks them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from actors.breeding.crew import Find, agents_on
from actors.breeding.evaluator import Evaluator
from chimera import System
from chimera.bus.nats import NatsBus
from chimera.clock import SystemClock
from chimera.server.roles import roles
from subjects.trial import EvaluateGenomes, GenomesEvaluation
from tests.support.running import RunningSystem


class AgentNode(RunningSystem):
    """A node without a bridge; the first one brings the server, the others use it.

    Args:
        folder: Its own.
        name: On the bus.
        first: The node with the server; ``None`` = this one.
        workers: Sandbox processes.
    """

    def __init__(self, folder: Path, name: str, first: AgentNode | None = None, *, workers: int = 1) -> None:
        settings = [f"node.name={name}", "node.roles=agent", f"sandbox.workers={workers}"]
        if first is not None:
            seed = first.data / "secrets" / "runtime.nk"
            settings += [f"nats.url={first.nats_url}", "nats.inbox_prefix=_INBOX_runtime", f"nats.seed_file={seed}"]
        super().__init__(folder / name, [part for setting in settings for part in ("--set", setting)])
        self.name = name

    def seed(self) -> str:
        """What its server knows other nodes by."""
        return (self.data / "secrets" / "runtime.nk").read_text().strip()

    def until_it_serves(self, timeout_s: float = 60.0) -> None:
        """Wait until it has said what runs where: then all of it has started."""
        self.until_it_says(timeout_s)

    def _ready(self) -> bool:
        return True


@asynccontextmanager
async def asking(first: AgentNode) -> AsyncGenerator[System]:
    """A node without actors that may ask the others."""
    async with connected(first.nats_url, first.seed()) as system:
        yield system


@asynccontextmanager
async def connected(url: str, seed: str) -> AsyncGenerator[System]:
    """The same, from any process."""
    bus = NatsBus(url, name="asking", seed=seed, inbox_prefix=roles()["runtime"].inbox_prefix)
    async with bus, System(bus, node="asking") as system:
        yield system


def evaluator_on(system: System, find: Find | None = None) -> Evaluator:
    """An evaluator that asks whoever answers, or those that are found."""
    assert system.bus is not None

    async def ask(message: EvaluateGenomes, node: str, timeout_s: float) -> GenomesEvaluation:
        return await system.ref("agent", node=node).ask(message, timeout_s=timeout_s)

    return Evaluator(ask=ask, find=find or agents_on(system.bus), clock=SystemClock())
