"""A tell over NATS beside a core publish to a callback; what counts is what the receiver has."""

from __future__ import annotations

from functools import partial

from tests.bench.figures import Benchmark, Figure, Rounds, ratio
from tests.bench.nats_pair import pairs


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """Bursts; every message is counted once by the receiver, and their numbers add up."""
    burst, count = (10_000, 4) if quick else (30_000, 14)
    with pairs("raw", "ours") as peers:
        rounds = Rounds({way: partial(pair.tell, burst) for way, pair in peers.items()}, count)
    return [
        rounds.figure("tell over NATS: messages/s received, ours to raw", ratio("ours", "raw", "per_s"), 0.7),
        rounds.figure("  CPU of both ends per message, ours to raw", ratio("ours", "raw", "cpu_us"), holds="<="),
    ]


BENCHMARK = Benchmark("tell", "typed tell to an actor on another node against publish-to-callback", measure)
