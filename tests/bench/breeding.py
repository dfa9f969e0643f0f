"""Genomes of the sentiment agent measured on rated tweets, over NATS, on one node and on two, beside a bare loop.

On a machine that others use, too, rates say little; CPU time per task tells what evaluation costs besides the guests.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.breeding_load import TASKS
from tests.bench.child import Child
from tests.bench.figures import Benchmark, Figure, Rounds, Trial, ratio
from tests.bench.machine import cpu_s, descendants
from tests.support.agent_nodes import AgentNode


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """Nodes with one sandbox process each; bare loops have as many in one process."""
    genomes, count = (24, 4) if quick else (48, 12)
    with tempfile.TemporaryDirectory() as folder:
        first = AgentNode(Path(folder), "one")
        try:
            first.start()
            second = AgentNode(Path(folder), "two", first)
            try:
                second.start()
                return _figures([first, second], Path(folder) / "modules", genomes, count)
            finally:
                second.close()
        finally:
            first.close()


def _figures(nodes: Sequence[AgentNode], modules: Path, genomes: int, count: int) -> list[Figure]:
    first, pids = nodes[0], [node.pid for node in nodes]
    seed = str(first.data / "secrets" / "runtime.nk")
    with Child("breeding_driver", first.nats_url, seed) as driver, Child("breeding_bare", str(modules)) as bare:
        ways: dict[str, Callable[[], Trial]] = {
            name: partial(_trial, driver, [driver.pid, *pids[:most]], genomes, nodes=["one", "two"][:most])
            for name, most in (("one", 1), ("two", 2))
        }
        for way in ("sweep", "load"):
            for workers in (1, 2):
                ways[f"{way}{workers}"] = partial(_trial, bare, [bare.pid], genomes, workers=workers, way=way)
        rounds = Rounds(ways, count)
    return [
        rounds.figure("genomes on two nodes over NATS, beside one node", ratio("two", "one", "per_s"), 1.6),
        rounds.figure("  beside a bare loop over the same two sandbox processes", ratio("two", "sweep2", "per_s"), 0.7),
        rounds.figure("  by CPU time, all processes together", ratio("sweep2", "two", "cpu_us"), 0.7),
        rounds.figure("  beside a bare loop that loads and runs each genome", ratio("two", "load2", "per_s")),
        rounds.figure("  the bare loop's own gain from a second process", ratio("sweep2", "sweep1", "per_s")),
        rounds.figure("  one node beside a bare loop over one", ratio("one", "sweep1", "per_s")),
        rounds.figure("  genomes of 384 tweets on two nodes", lambda trials: trials["two"]["per_s"], unit="/s"),
        *(
            rounds.figure(f"  CPU time a task, {what}", _of(way, key), unit="us", holds="<=")
            for what, way, key in (
                ("two nodes and all", "two", "cpu_us"), ("of that the guest's", "two", "guest_us"),
                ("of that the evaluator's", "two", "driver_us"), ("bare loop", "sweep2", "cpu_us"),
                ("bare loop that loads", "load2", "cpu_us"),
            )
        ),
    ]  # fmt: skip


def _trial(child: Child, pids: Sequence[int], genomes: int, **arguments: Any) -> Trial:
    before = _cpu_s(pids)
    answer = child.call("evaluate", genomes=genomes, **arguments)
    return {**answer, "cpu_us": (_cpu_s(pids) - before) / (answer["genomes"] * TASKS) * 1e6}


def _cpu_s(pids: Sequence[int]) -> float:
    return sum(cpu_s(one) for pid in pids for one in descendants(pid))


def _of(way: str, key: str) -> Callable[[Any], float]:
    return lambda trials: trials[way][key]


BENCHMARK = Benchmark("breeding", "evaluation of genomes over NATS, beside a bare loop", measure)
