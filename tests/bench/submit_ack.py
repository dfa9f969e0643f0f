"""How long the acknowledgement of a submit takes beside a publish into a stream, one at a time, at equal durability.

*Here* is an asker on the scheduler's node, as its bridge is: the log is as far from it as from the publisher. *Away* is
a process of its own: to the server, to the scheduler, to the server and back the same way are three round trips where
the publisher has one, so three times its time is the floor there.
"""

from __future__ import annotations

from functools import partial

from tests.bench.figures import Benchmark, Figure, Rounds, ratio
from tests.bench.task_pairs import TaskPair, task_pairs, task_server

PROFILES = {"process": "", "power": "sync_interval: always"}
WAYS = {"hand": ("task_hand",), "ours": ("task_ours",)}


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """Tasks that are not to start yet: what is measured is the way into the log and back, with a server per profile."""
    found: list[Figure] = []
    for profile, jetstream in PROFILES.items():
        with task_server(jetstream=jetstream) as server, task_pairs(server, WAYS) as pairs:
            worker = pairs["ours"].worker
            askers = {"raw": pairs["hand"], "here": TaskPair(worker, worker, server), "away": pairs["ours"]}
            seconds, count = (0.5, 5) if quick else (1.0, 14)
            trials = {way: partial(pair.trial, 1, seconds, "submit") for way, pair in askers.items()}
            rounds = Rounds(trials, count)
        name = f"submit to acknowledgement, {profile}: p50 on the scheduler's node, to a publish"
        found += [
            rounds.figure(name, ratio("here", "raw", "p50_us"), 2.0, holds="<="),
            rounds.figure("  from another process, to a publish", ratio("away", "raw", "p50_us"), holds="<="),
            rounds.figure("  here", lambda trials: trials["here"]["p50_us"], unit="us", holds="<="),
            rounds.figure("  away", lambda trials: trials["away"]["p50_us"], unit="us", holds="<="),
            rounds.figure("  publish", lambda trials: trials["raw"]["p50_us"], unit="us", holds="<="),
        ]
    return found


BENCHMARK = Benchmark("submit_ack", "a submit's acknowledgement against a raw JetStream publish", measure)
