"""How long the acknowledgement of a submit takes beside a publish into a stream, one at a time, at equal durability."""

from __future__ import annotations

from functools import partial

from tests.bench.figures import Benchmark, Figure, Rounds, ratio
from tests.bench.task_pairs import task_pairs, task_server

PROFILES = {"process": "", "power": "sync_interval: always"}
WAYS = {"hand": ("task_hand",), "ours": ("task_ours",)}


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """Tasks that are not to start yet: what is measured is the way into the log and back, with a server per profile."""
    seconds, count = (0.5, 5) if quick else (1.0, 14)
    found: list[Figure] = []
    for profile, jetstream in PROFILES.items():
        with task_server(jetstream=jetstream) as server, task_pairs(server, WAYS) as pairs:
            trials = {way: partial(pair.trial, 1, seconds, "submit") for way, pair in pairs.items()}
            rounds = Rounds(trials, count)
        name = f"submit to acknowledgement, {profile}: p50, ours to a raw publish"
        found += [
            rounds.figure(name, ratio("ours", "hand", "p50_us"), 2.0, holds="<="),
            rounds.figure("  ours", lambda trials: trials["ours"]["p50_us"], unit="us", holds="<="),
            rounds.figure("  raw publish", lambda trials: trials["hand"]["p50_us"], unit="us", holds="<="),
        ]
    return found


BENCHMARK = Benchmark("submit_ack", "a submit's acknowledgement against a raw JetStream publish", measure)
