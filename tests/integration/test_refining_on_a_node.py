"""The optimizer's parts on a whole node: real server, real guests, real store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors.refining.baselines import Baselines
from actors.refining.benchmarks import Benchmarks
from actors.refining.integration import Integration
from actors.refining.keeping import BUCKET
from actors.refining.monitor import LayerMonitor
from actors.refining.probation import Probation
from actors.refining.windows import Windows
from chimera.config import load
from chimera.node import Node
from subjects.agent import ConfigureBatching, Predict
from subjects.insight import GetMonitor, ListBenchmarks, OptimizeIntegration, RunBenchmark, UpdateBaseline

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(120)]

TASKS = 250


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node on free ports."""
    flags = {"nats.port": "0", "node.data_dir": str(tmp_path), "node.roles": "agent,scheduler", "sandbox.workers": "1"}
    async with Node(load(env={"HOME": str(tmp_path)}, flags=flags).settings) as running:
        yield running


def quiet(*_: Any, **__: Any) -> None:
    """No events."""


async def projected(node: Node, count: int) -> None:
    """Wait until the store has so many outcomes."""
    with anyio.fail_after(30):
        while sum(tally.tasks for tally in await node.parts.need("store").tally(0.0, 1e11)) < count:  # noqa: ASYNC110 - another task stores them
            await anyio.sleep(0.05)


async def test_baseline_benchmark_and_round_trips_are_real(node: Node):
    """Tasks that ran are in the baseline, a benchmark leaves none, round trips were measured, settings are applied."""
    bus, store, clock = node.parts.need("bus"), node.parts.need("store"), node.parts.clock
    for number in range(TASKS):
        await node.ask(Predict(job_id=f"j{number}", input={"text": "I love this"}))
    await projected(node, TASKS)

    baselines = Baselines(bus=bus, windows=Windows(store), clock=clock, report=quiet)
    stored = await baselines.update(UpdateBaseline())
    assert [(one.agent, one.tasks, one.error_rate) for one in stored.now] == [("sentiment", TASKS, 0.0)]

    benchmarks = Benchmarks(bus=bus, evaluate=node.ask, clock=clock, node=node.node(), report=quiet)
    [done] = (await benchmarks.run(RunBenchmark(tasks=40, concurrency=4))).runs
    assert (done.tasks, done.failed, done.release) == (40, 0, 1)
    assert 0 < done.p50_ms <= done.p95_ms <= done.p99_ms
    assert done.cpu_ms_per_task is not None
    assert (await benchmarks.list(ListBenchmarks())).runs == [done]
    assert [tally.tasks for tally in await store.tally(0.0, 1e11)] == [TASKS]

    monitor = LayerMonitor(bus=bus, clock=clock)
    for _ in range(30):
        await monitor.measure()
    seen = await monitor.monitor(GetMonitor())
    assert (seen.layers["agent"], seen.layers["scheduler"], seen.layers["evolver"]) == (True, True, False)
    measured = {(pair.source, pair.target): pair for pair in seen.pairs if pair.p50_ms}
    assert {("agent", "scheduler"), ("scheduler", "agent"), ("optimizer", "agent")} <= set(measured)
    assert all(pair.breaker.state == "closed" for pair in measured.values())

    shipped = ConfigureBatching(batch_size=32, batch_timeout_ms=2.0)
    probation = Probation(monitor=monitor, bus=bus, store=store, ask=node.ask, clock=clock, report=quiet)
    part = Integration(
        monitor=monitor, store=store, ask=node.ask, batching=shipped, clock=clock, probation=probation, report=quiet
    )  # fmt: skip
    changes = (await part.optimize(OptimizeIntegration())).changes
    assert {one.setting for one in changes if one.applied} >= {"agent.batch_size"}
    assert (await store.setting("agent.batching"))["batch_size"] == 8
    assert {"baseline", "benchmarks", "links"} <= set(await (await bus.key_value(BUCKET)).keys())
