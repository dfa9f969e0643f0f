"""Group commit: submits of 64 callers beside 64 plain publishers, both on a server that syncs before it answers."""

from __future__ import annotations

from functools import partial

from tests.bench.figures import Benchmark, Figure, Rounds, ratio
from tests.bench.submit_ack import PROFILES, WAYS
from tests.bench.task_pairs import task_pairs, task_server

CALLERS = 64


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """The peer's 64 publishes are in flight together, too: the server syncs each by itself."""
    seconds, count = (1.0, 4) if quick else (2.0, 10)
    with task_server(jetstream=PROFILES["power"]) as server, task_pairs(server, WAYS) as pairs:
        trials = {way: partial(pair.trial, CALLERS, seconds, "submit") for way, pair in pairs.items()}
        rounds = Rounds(trials, count)
    return [
        rounds.figure(
            "power, 64 callers: acknowledged tasks/s, ours to plain publishes", ratio("ours", "hand", "per_s"), 3.0
        ),
        rounds.figure("  ours", lambda trials: trials["ours"]["per_s"], unit="/s"),
        rounds.figure("  plain publishes", lambda trials: trials["hand"]["per_s"], unit="/s"),
    ]


BENCHMARK = Benchmark("power", "group commit of submits against plain publishes, synced", measure)
