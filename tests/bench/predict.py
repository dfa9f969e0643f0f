"""A prediction by the agent actor, as its asker on the same node sees it, above the guest's own time."""

from __future__ import annotations

import tempfile
from functools import partial

from tests.bench.child import Child
from tests.bench.figures import Benchmark, Figure, Rounds


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """One in flight, both shipped agents, in a node with everything on: records, metrics, answers kept."""
    calls, count = (200, 5) if quick else (500, 16)
    with tempfile.TemporaryDirectory() as folder, Child("node_peer", folder) as child:
        agents = ("sentiment", "echo")
        rounds = Rounds({agent: partial(child.call, "predict", agent=agent, calls=calls) for agent in agents}, count)
    return [
        rounds.figure(
            "predict on the node: time above the guest's own, median", lambda trials: trials["sentiment"]["above_us"],
            60.0, unit="us", holds="<=",
        ),
        rounds.figure(
            "  the same with the echo agent", lambda trials: trials["echo"]["above_us"], 60.0, unit="us", holds="<="
        ),
        rounds.figure("  sentiment's own", lambda trials: trials["sentiment"]["run_us"], unit="us", holds="<="),
    ]  # fmt: skip


BENCHMARK = Benchmark("predict", "a prediction by the agent actor, above the guest's own time", measure)
