"""Memory of the scheduler's process over 200,000 tasks, once as many finished ones are kept as it ever keeps."""

from __future__ import annotations

from tests.bench.child import Child
from tests.bench.figures import Benchmark, Figure, Rounds, Trial
from tests.bench.machine import resident_bytes
from tests.bench.task_pairs import task_pairs, task_server

TASKS, SETTLED, SLICE = 200_000, 40_000, 20_000
"""``SETTLED``: twice what is kept, so that the ledger, the log and its compaction have reached their sizes."""


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """One run; memory is looked at after every 20,000 tasks."""
    rounds = Rounds({"ours": lambda: _trial(SETTLED * 2 if quick else TASKS)}, 1, warm=0)
    return [
        rounds.figure(
            f"memory over {'80,000' if quick else '200,000'} tasks: most, to what it settled at",
            lambda trials: trials["ours"]["most"] / trials["ours"]["settled"], 1.1, holds="<=",
        ),
        rounds.figure(
            "  least, to what it settled at", lambda trials: trials["ours"]["least"] / trials["ours"]["settled"], 0.9
        ),
        rounds.figure("  settled at", lambda trials: trials["ours"]["settled"] / 1e6, unit="MB", holds="<="),
    ]  # fmt: skip


def _trial(count: int) -> Trial:
    with task_server() as server, task_pairs(server, {"ours": ("task_ours",)}) as pairs:
        pair = pairs["ours"]
        _work(pair.asker, SETTLED)
        sizes = [resident_bytes(pair.worker.pid)]
        for _ in range((count - SETTLED) // SLICE):
            _work(pair.asker, SLICE)
            sizes.append(resident_bytes(pair.worker.pid))
    return {"settled": sizes[0], "most": max(sizes), "least": min(sizes)}


def _work(asker: Child, count: int) -> None:
    done = asker.call("work", count=count)["done"]
    assert done == count, f"{done} of {count} tasks were done"


BENCHMARK = Benchmark("task_memory", "memory of the scheduler over 200,000 tasks", measure)
