"""A scheduler that starts again over 100,000 queued tasks: until it takes and answers for them."""

from __future__ import annotations

from tests.bench.child import Child
from tests.bench.figures import Benchmark, Figure, Rounds, Trial
from tests.bench.task_pairs import task_server

TASKS = 100_000


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """The tasks are submitted once; then actors are started on them in fresh processes, again and again."""
    with task_server() as server:
        with Child("task_ours", server.url, "worker") as worker, Child("task_ours", server.url, "asker") as asker:
            worker.call("cpu")
            asker.call("fill", count=TASKS)
        rounds = Rounds({"ours": lambda: _trial(server.url)}, 3 if quick else 6, warm=0)
    return [
        rounds.figure(
            "restart with 100,000 queued tasks: ready after", lambda trials: trials["ours"]["seconds"], 3.0,
            unit="s", holds="<=",
        ),
    ]  # fmt: skip


def _trial(url: str) -> Trial:
    with Child("task_ours", url, "starter") as child:
        found = child.call("start")
    assert found["depth"] == TASKS, f"{found['depth']} of {TASKS} tasks are queued"
    return {"seconds": found["seconds"]}


BENCHMARK = Benchmark("task_restart", "a scheduler's restart over 100,000 queued tasks", measure)
