"""``POST /predict`` beside a bare starlette endpoint that echoes JSON: same uvicorn, same loop, same load."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.child import Child
from tests.bench.figures import Benchmark, Figure, Rounds, Trial, ratio
from tests.bench.machine import cpu_s, descendants
from tests.support.running import RunningSystem

CONNECTIONS = 32


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """The bridge alone (its caller answers at once), and a whole system with the sentiment agent behind it."""
    seconds, count = (1.0, 4) if quick else (2.0, 10)
    with tempfile.TemporaryDirectory() as folder:
        system = RunningSystem(Path(folder))
        system.start()
        try:
            with Child("http_peer", "bare") as bare, Child("http_peer", "bridge") as alone, Child("http_load") as load:
                ports = {
                    "bare": (bare.call("port")["port"], bare.pid),
                    "alone": (alone.call("port")["port"], alone.pid),
                    "system": (urlsplit(system.base).port, system.pid),
                }

                def trial(way: str) -> Trial:
                    port, root = ports[way]
                    before = _tree_cpu_s(root)
                    found = load.call("load", port=port, connections=CONNECTIONS, seconds=seconds)
                    return {**found, "cpu_us": (_tree_cpu_s(root) - before) / found["answered"] * 1e6}

                rounds = Rounds({way: lambda way=way: trial(way) for way in ports}, count)
        finally:
            system.close()
    return [
        rounds.figure(
            "bridge alone, /predict: requests/s, ours to bare starlette", ratio("alone", "bare", "per_s"), 0.6
        ),
        rounds.figure("  CPU per request, ours to bare", ratio("alone", "bare", "cpu_us"), holds="<="),
        rounds.figure("  whole system, /predict by sentiment: requests/s to bare", ratio("system", "bare", "per_s")),
        rounds.figure("  CPU of the whole system per request", lambda trials: trials["system"]["cpu_us"], unit="us"),
        rounds.figure("  whole system", lambda trials: trials["system"]["per_s"], unit="1/s"),
        rounds.figure("  bare starlette", lambda trials: trials["bare"]["per_s"], unit="1/s"),
    ]


def _tree_cpu_s(root: int) -> float:
    return sum(cpu_s(pid) for pid in descendants(root))


BENCHMARK = Benchmark("bridge", "POST /predict against a bare starlette endpoint that echoes JSON", measure)
