"""Leases over NATS: a grant beside the compare-and-set publish that it is made of, many callers, and a restart."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial

from tests.bench.child import Child
from tests.bench.figures import Benchmark, Figure, Rounds, Trial
from tests.bench.machine import cpu_s
from tests.bench.task_pairs import task_server
from tests.support.nats_server import NatsServer

MANY, LIVE = 64, 5_000


def measure(quick: bool) -> Iterable[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """The server syncs as by default (the ``process`` profile) for all of them."""
    with (
        task_server() as server, Child("lease_ours", server.url, "broker") as broker,
        Child("lease_ours", server.url, "asker") as asker,
    ):  # fmt: skip
        broker.call("known")
        yield from _grants(asker, quick=quick)
        yield from _many(asker, broker, server, quick=quick)
        assert asker.call("fill", count=LIVE)["leases"] >= LIVE
        yield from _many(asker, broker, server, quick=True, among=f", {LIVE} others live")
        broker.__exit__()
        yield from _restart(server, quick=quick)


def _grants(asker: Child, *, quick: bool) -> Iterable[Figure]:
    rounds = Rounds({"both": partial(asker.call, "in_turn", seconds=1.0 if quick else 2.0)}, 5 if quick else 14)
    name = "a grant from another process: p50, to a bare compare-and-set publish"
    yield rounds.figure(name, lambda trials: trials["both"]["grant_us"] / trials["both"]["bare_us"], 3.0, holds="<=")
    yield rounds.figure("  grant", lambda trials: trials["both"]["grant_us"], unit="us", holds="<=")
    yield rounds.figure("  publish", lambda trials: trials["both"]["bare_us"], unit="us", holds="<=")


def _many(asker: Child, broker: Child, server: NatsServer, *, quick: bool, among: str = "") -> Iterable[Figure]:
    def trial() -> Trial:
        brokering, serving = broker.call("cpu")["cpu_s"], cpu_s(server.pid)
        found = asker.call("ask", concurrency=MANY, seconds=2.0 if quick else 5.0)
        each = 1e6 / (2 * found["asked"])
        return {
            **found, "asker_us": found["cpu_s"] * each, "server_us": (cpu_s(server.pid) - serving) * each,
            "broker_us": (broker.call("cpu")["cpu_s"] - brokering) * each,
        }  # fmt: skip

    rounds = Rounds({"ours": trial}, 4 if quick else 8)
    name = f"{MANY} callers, one broker{among}: grants and releases"
    target = None if among else 2000.0
    yield rounds.figure(name, lambda trials: 2 * trials["ours"]["per_s"], target, unit="/s")
    for key, words in (("p50_us", "grant p50"), ("p99_us", "grant p99")):
        yield rounds.figure(f"  {words}", lambda trials, key=key: trials["ours"][key], unit="us", holds="<=")
    for key in ("broker", "server", "asker"):
        of = f"  CPU of each, {key}"
        yield rounds.figure(of, lambda trials, key=key: trials["ours"][f"{key}_us"], unit="us", holds="<=")


def _restart(server: NatsServer, *, quick: bool) -> Iterable[Figure]:
    def trial() -> Trial:
        began = time.perf_counter()
        with Child("lease_ours", server.url, "starter") as child:
            found = child.call("start")
            whole = time.perf_counter() - began
        assert found["leases"] >= LIVE, f"{found['leases']} leases are known"
        return {"seconds": found["seconds"], "whole": whole}

    rounds = Rounds({"ours": trial}, 3 if quick else 6, warm=0)
    name = f"restart with {LIVE} live leases: first grant after"
    yield rounds.figure(name, lambda trials: trials["ours"]["seconds"], 1.0, unit="s", holds="<=")
    yield rounds.figure("  with the process's own start", lambda t: t["ours"]["whole"], unit="s", holds="<=")


BENCHMARK = Benchmark("leases", "a grant against a bare publish, 64 callers, and a restart over 5,000 leases", measure)
