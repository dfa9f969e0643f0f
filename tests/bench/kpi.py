"""KPI ingestion: the stream into SQLite and into the observatory at once, by one process on one core.

The server is a real one in the ``process`` profile. ``backlog`` is what a process that starts finds waiting;
``sustained`` comes at 5000 a second while it runs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.bench.child import Child
from tests.bench.figures import Benchmark, Figure
from tests.bench.machine import OtherLoad
from tests.support.nats_server import NatsServer

RATE = 5000
_SECOND_S = 1.0
_PATIENCE_S = 120.0


@contextmanager
def _stage() -> Generator[tuple[Child, Child]]:
    """A server, who stores outcomes, and who ingests them."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server = NatsServer(Path(folder) / "nats")
        stack.callback(server.kill)
        server.start()
        data = Path(folder) / "data"
        data.mkdir()
        source = stack.enter_context(Child("kpi_source", server.url))
        node = stack.enter_context(Child("kpi_node", server.url, str(data)))
        yield source, node


def _backlog(source: Child, node: Child, count: int) -> dict[str, float]:
    """Seconds and core time until a backlog is both in the store and in the series."""
    source.call("send", count=count)
    before, began = node.call("state"), time.perf_counter()
    node.call("begin")
    state = _await(node, count)
    seconds = time.perf_counter() - began
    return {"per_s": count / seconds, "cpu_us": (state["cpu_s"] - before["cpu_s"]) / count * 1e6}


def _await(node: Child, count: int) -> dict[str, Any]:
    """Ask until all is ingested and saved."""
    end = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < end:
        state = node.call("state")
        if state["ingested"] >= count and state["saved"] >= count:
            return state
        time.sleep(0.05)
    raise AssertionError(f"not ingested within {_PATIENCE_S:.0f} s: {node.call('state')}")


def _sustained(source: Child, node: Child, seconds: int) -> dict[str, float]:
    """Every second's state while outcomes come at the rate."""
    first = node.call("state")
    states: list[dict[str, Any]] = []
    with ThreadPoolExecutor(1) as sender:
        sending = sender.submit(source.call, "send", count=seconds * RATE, rate=RATE)
        while not sending.done():
            time.sleep(_SECOND_S)
            state = node.call("state")
            states += [] if sending.done() else [state]
        offered = seconds * RATE / sending.result()["seconds"]
    last = _await(node, first["ingested"] + seconds * RATE)
    half = states[len(states) // 2 :]
    return {
        "offered": offered,
        "per_s": (half[-1]["ingested"] - half[0]["ingested"]) / (half[-1]["at"] - half[0]["at"]),
        "cores": (half[-1]["cpu_s"] - half[0]["cpu_s"]) / (half[-1]["at"] - half[0]["at"]),
        "lag": max(state["lag"] for state in half),
        "lag_ms": 1e3 * max(state["lag_s"] for state in half),
        "unsaved": half[-1]["ingested"] - half[-1]["saved"],
        "grown": (half[-1]["resident"] - half[0]["resident"]) / 1e6,
        "resident": half[-1]["resident"] / 1e6,
        "late_p99_ms": sorted(state["late_p99_ms"] for state in half)[len(half) // 2],
        "late_ms": max(state["late_ms"] for state in half),
        "rejected": last["rejected"],
    }


def _run(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    load = OtherLoad()
    count, seconds = (20_000, 6) if quick else (100_000, 60)
    with _stage() as (source, node):
        backlog = _backlog(source, node, count)
        sustained = _sustained(source, node, seconds)
    used = load.cores()

    def figure(name: str, value: float, unit: str, target: float | None = None, holds: Any = "<=") -> Figure:
        return Figure(name, value, unit, target, holds, (value,), used)

    return [
        figure("backlog into SQLite and series, one core", backlog["per_s"], "events/s", float(RATE), ">="),
        figure("  CPU per event", backlog["cpu_us"], "us"),
        figure("offered while it runs", sustained["offered"], "events/s"),
        figure("  ingested", sustained["per_s"], "events/s", 0.98 * sustained["offered"], ">="),
        figure("  cores used", sustained["cores"], "", 1.0),
        figure("  most lag", sustained["lag"], "messages", float(RATE)),
        figure("  most lag in time", sustained["lag_ms"], "ms"),
        figure("  not yet in the store at the end", sustained["unsaved"], "events"),
        figure("  memory grown over the second half", sustained["grown"], "MB", 16.0),
        figure("  memory", sustained["resident"], "MB"),
        figure("  event loop late, p99", sustained["late_p99_ms"], "ms"),
        figure("  event loop late, most", sustained["late_ms"], "ms"),
        figure("  refused", sustained["rejected"], "events", 0.0),
    ]


BENCHMARK = Benchmark("kpi", "KPI events a second into SQLite and the observatory on one core, lag, memory", _run)
