"""An ask over NATS beside raw nats-py's request: same payload, same server, same loop, two processes each."""

from __future__ import annotations

from functools import partial

from tests.bench.figures import Benchmark, Figure, Rounds, ratio
from tests.bench.nats_pair import pairs

MANY = 64


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """64 in flight, then one."""
    seconds, count = (0.5, 4) if quick else (1.0, 14)
    with pairs("raw", "ours") as peers:
        many = Rounds({way: partial(pair.ask, MANY, seconds) for way, pair in peers.items()}, count)
        one = Rounds({way: partial(pair.ask, 1, seconds) for way, pair in peers.items()}, count)
    return [
        many.figure("ask over NATS, 64 in flight: requests/s, ours to raw", ratio("ours", "raw", "per_s"), 0.95),
        many.figure("  CPU of both ends per request, ours to raw", ratio("ours", "raw", "cpu_us"), 0.9, holds="<="),
        one.figure("  one in flight: p50, ours to raw", ratio("ours", "raw", "p50_us"), 1.3, holds="<="),
        many.figure("  CPU per request, ours", lambda trials: trials["ours"]["cpu_us"], unit="us"),
        many.figure("  CPU per request, raw", lambda trials: trials["raw"]["cpu_us"], unit="us"),
        many.figure("  CPU per request, server", lambda trials: trials["ours"]["server_us"], unit="us"),
    ]


BENCHMARK = Benchmark("nats_ask", "typed ask with deadline over NATS against raw nats-py request/reply", measure)
