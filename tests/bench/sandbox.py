"""What a task costs beyond the guest's own time: one payload to a worker process and back."""

from __future__ import annotations

from functools import partial

from tests.bench.child import Child
from tests.bench.figures import Benchmark, Figure, Rounds


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """The echo guest, a fresh instance per task and a kept one, beside a bare socket echo."""
    calls, count = (200, 5) if quick else (500, 16)
    with Child("guest_peer") as child:
        ways = {way: partial(child.call, "trip", way=way, calls=calls) for way in ("fresh", "reused", "floor")}
        rounds = Rounds(ways, count)
    return [
        rounds.figure(
            "task in a worker: time above the guest's own, median", lambda trials: trials["fresh"]["above_us"], 60.0,
            unit="us", holds="<=",
        ),
        rounds.figure(
            "  the same with a kept instance", lambda trials: trials["reused"]["above_us"], unit="us", holds="<="
        ),
        rounds.figure("  the guest's own", lambda trials: trials["fresh"]["run_us"], unit="us", holds="<="),
        rounds.figure(
            "  bare socket echo to another process", lambda trials: trials["floor"]["trip_us"], unit="us", holds="<="
        ),
    ]  # fmt: skip


BENCHMARK = Benchmark("sandbox", "a task in a worker process, above the guest's own time", measure)
