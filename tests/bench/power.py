"""Group commit: submits of 64 callers beside a plain publish loop, both on a server that syncs before it answers.

Also shown, held against nothing: 64 plain publishes in flight together. The server syncs each by itself, so that what
they reach is the disk's doing.
"""

from __future__ import annotations

from functools import partial

from tests.bench.figures import Benchmark, Figure, Rounds, ratio
from tests.bench.submit_ack import PROFILES, WAYS
from tests.bench.task_pairs import task_pairs, task_server

CALLERS = 64


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """Acknowledged per second, three ways in turn."""
    seconds, count = (1.0, 4) if quick else (2.0, 10)
    with task_server(jetstream=PROFILES["power"]) as server, task_pairs(server, WAYS) as pairs:
        ours, hand = pairs["ours"], pairs["hand"]
        trials = {
            "ours": partial(ours.trial, CALLERS, seconds, "submit"),
            "loop": partial(hand.trial, 1, seconds, "submit"),
            "flight": partial(hand.trial, CALLERS, seconds, "submit"),
        }
        rounds = Rounds(trials, count)
    return [
        rounds.figure(
            "power, 64 callers: acknowledged tasks/s, ours to a publish loop", ratio("ours", "loop", "per_s"), 3.0
        ),
        rounds.figure("  ours to 64 plain publishes in flight", ratio("ours", "flight", "per_s")),
        rounds.figure("  ours", lambda trials: trials["ours"]["per_s"], unit="/s"),
        rounds.figure("  a publish loop", lambda trials: trials["loop"]["per_s"], unit="/s"),
        rounds.figure("  64 publishes in flight", lambda trials: trials["flight"]["per_s"], unit="/s"),
    ]


BENCHMARK = Benchmark("power", "group commit of submits against plain publishes, synced", measure)
