"""The evolver's side: an evaluator that asks nodes over NATS. ``breeding_driver URL SEED_FILE``."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Collection

import anyio

from actors.breeding.evaluator import Evaluator
from actors.breeding.examination import Candidate, Examination
from actors.breeding.yardstick import Yardstick
from chimera import System
from chimera.interpreter import calm
from subjects.agent import ShowAgent
from tests.bench.breeding_load import OBJECTIVES, RUNGS, genome, tweets
from tests.bench.child import obey, run
from tests.support.agent_nodes import connected, evaluator_on

WARM = 8
"""Genomes by which the evaluator meets the nodes; not timed."""


def only(nodes: list[str]) -> Callable[[], Awaitable[Collection[str]]]:
    """Finds these nodes."""

    async def find() -> Collection[str]:
        return nodes

    return find


async def serve(system: System) -> None:
    """Obey, with a fresh evaluator per command: nothing is known from before."""
    view = await system.ask(ShowAgent(name="sentiment"), timeout_s=20.0)
    release = next(one for one in view.releases if one.number == view.live)
    examination = Examination(release, tweets(), Yardstick(OBJECTIVES, [], release.manifest))

    async def evaluate(nodes: list[str], genomes: int) -> dict[str, float]:
        evaluator: Evaluator = evaluator_on(system, only(nodes))
        candidates = [Candidate(genome()) for _ in range(genomes)]
        async with anyio.create_task_group() as group:
            group.start_soon(evaluator.run)
            found = await timed(evaluator, candidates)
            group.cancel_scope.cancel()
            return found
        raise AssertionError("it was cancelled")

    async def timed(evaluator: Evaluator, candidates: list[Candidate]) -> dict[str, float]:
        await evaluator.evaluate(examination, [Candidate(genome()) for _ in range(WARM)], RUNGS)  # meet the nodes
        cpu, began, before = time.process_time(), time.perf_counter(), evaluator.tally.tasks
        results = await evaluator.evaluate(examination, candidates, RUNGS)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        tasks = evaluator.tally.tasks - before
        assert tasks == len(candidates) * RUNGS[-1].stop, f"{tasks} tasks were run"
        assert not any(one.failure for one in results)
        return {
            "per_s": len(candidates) / took, "genomes": len(candidates) + WARM, "driver_us": cpu / tasks * 1e6,
            "guest_us": sum(one.cpu_s for one in results) / tasks * 1e6,
        }  # fmt: skip

    await obey({"evaluate": evaluate})


async def main() -> None:
    """Connect, then obey."""
    seed = await anyio.Path(sys.argv[2]).read_text()
    async with connected(sys.argv[1], seed.strip()) as system:
        calm()
        await serve(system)


if __name__ == "__main__":
    run(main)
