"""A durable task from its submit to its result, beside a loop by hand and taskiq: 128 bytes in and out, one server."""

from __future__ import annotations

from functools import partial

from tests.bench.figures import Benchmark, Figure, Round, Rounds, ratio, unmeasured
from tests.bench.task_pairs import REDIS, TASKIQ_PYTHON, redis, task_pairs, task_server, taskiq_python

MANY = 64
_OBJECTS = "task, 64 at once: tasks/s, ours to taskiq-nats with results in its object store"
_BEST = "  ours to taskiq-nats at its best (fetch 100, results in Redis)"
_NO_TASKIQ = f"taskiq-nats is missing (uv sync --group bench, or name a Python that has it in {TASKIQ_PYTHON})"
_NO_REDIS = f"redis-server is missing (install it, or name it in {REDIS})"


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """The server syncs as by default (the ``process`` profile) for all of them."""
    seconds, count = (1.0, 4) if quick else (2.0, 10)
    ways: dict[str, tuple[str, ...]] = {"hand": ("task_hand",), "ours": ("task_ours",)}
    with redis() as url, task_server() as server:
        taskiq = bool(taskiq_python())
        ways |= {"objects": ("task_taskiq", "objects")} if taskiq else {}
        ways |= {"redis": ("task_taskiq", url)} if taskiq and url else {}
        with task_pairs(server, ways) as pairs:
            many = Rounds({way: partial(pair.trial, MANY, seconds) for way, pair in pairs.items()}, count)
            lone = {way: pairs[way] for way in ("hand", "ours")}
            one = Rounds({way: partial(pair.trial, 1, seconds) for way, pair in lone.items()}, count)
    return [
        _against(many, "objects", _OBJECTS, 10.0, "" if taskiq else _NO_TASKIQ),
        _against(many, "redis", _BEST, 4.0, _NO_TASKIQ if not taskiq else "" if url else _NO_REDIS),
        many.figure("  ours to a loop by hand (fetch 100, core reply)", ratio("ours", "hand", "per_s"), 0.7),
        many.figure("  CPU of all processes per task, ours to by hand", ratio("ours", "hand", "cpu_us"), holds="<="),
        one.figure("  one at once: p50, ours to by hand", ratio("ours", "hand", "p50_us"), 2.0, holds="<="),
        *(
            many.figure(f"  {way}: tasks/s", partial(_of, way=way, key="per_s"), unit="/s")
            for way in ways
        ),
        *(
            many.figure(f"  CPU per task, {way}: {key}", partial(_of, way=way, key=f"{key}_us"), unit="us", holds="<=")
            for way in ("ours", "hand")
            for key in ("asker", "worker", "server")
        ),
    ]  # fmt: skip


def _against(rounds: Rounds, way: str, name: str, target: float, missing: str) -> Figure:
    if missing:
        return unmeasured(name, missing, target)
    return rounds.figure(name, ratio("ours", way, "per_s"), target)


def _of(trials: Round, *, way: str, key: str) -> float:
    return trials[way][key]


BENCHMARK = Benchmark("tasks", "a durable task to its result, against a loop by hand and taskiq-nats", measure)
