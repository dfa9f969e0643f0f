"""An ask inside one process beside the same ask over NATS."""

from __future__ import annotations

from tests.bench.child import Child
from tests.bench.figures import Benchmark, Figure, Round, Rounds, Trial, ratio
from tests.bench.nats_pair import pairs

MANY = 64


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """CPU of all of an ask: both ends of the one over NATS, the one process of the local ones."""
    seconds, count = (0.3, 4) if quick else (0.7, 12)
    with pairs("ours") as peers, Child("local_peer") as local:

        def here(way: str) -> Trial:
            trial = local.call("ask", way=way, concurrency=MANY, seconds=seconds)
            return {"cpu_us": trial["cpu_s"] / trial["asked"] * 1e6}

        rounds = Rounds(
            {
                "nats": lambda: peers["ours"].ask(MANY, seconds),
                "local": lambda: here("local"),
                "bare": lambda: here("bare"),
            },
            count,
        )
    return [
        rounds.figure("local ask: times cheaper in CPU than over NATS", ratio("nats", "local", "cpu_us"), 10.0),
        rounds.figure("  the same with the server's CPU", _with_server),
        rounds.figure("  CPU per local ask", lambda trials: trials["local"]["cpu_us"], unit="us", holds="<="),
        rounds.figure("  to a bare deque and future", ratio("local", "bare", "cpu_us"), holds="<="),
    ]


def _with_server(trials: Round) -> float:
    nats = trials["nats"]
    return (nats["cpu_us"] + nats["server_us"]) / trials["local"]["cpu_us"]


BENCHMARK = Benchmark("local_ask", "CPU of an ask in one process against the ask over NATS", measure)
