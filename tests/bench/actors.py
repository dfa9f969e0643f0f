"""Ten thousand supervised actors in one process: what each takes, and how long they take to start."""

from __future__ import annotations

from tests.bench.child import Child
from tests.bench.figures import Benchmark, Figure, Rounds, Trial

COUNT = 10_000


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """A fresh process per trial; afterwards each actor is asked once."""
    rounds = Rounds({"crowd": _crowd}, 3 if quick else 8, warm=0)
    return [
        rounds.figure(
            "10,000 actors: memory of each", lambda trials: trials["crowd"]["each_bytes"] / 1024, 4.0,
            unit="KiB", holds="<=",
        ),
        rounds.figure(
            "  started in", lambda trials: trials["crowd"]["seconds"], 0.3, unit="s", holds="<=",
        ),
        rounds.figure("  of that CPU", lambda trials: trials["crowd"]["cpu_s"], unit="s", holds="<="),
        rounds.figure(
            "  more memory of each once asked", lambda trials: trials["crowd"]["more_bytes"] / 1024,
            unit="KiB", holds="<=",
        ),
    ]  # fmt: skip


def _crowd() -> Trial:
    with Child("crowd") as child:
        return {**child.call("spawn", count=COUNT), **child.call("ask_all", count=COUNT)}


BENCHMARK = Benchmark("actors", "memory and start of 10,000 supervised actors", measure)
