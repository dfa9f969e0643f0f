"""Benchmarks: what was measured is what the asker saw, runs are kept, and only like is compared with like."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import msgspec
import pytest

from actors.refining.benchmarks import MOST_AT_ONCE, NEXT, Benchmarks, quantiles, ratio_of
from actors.refining.machine import describe_machine
from actors.refining.workload import inputs
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.clock import Clock
from chimera.errors import ConflictError, NoAgentError, OverloadedError, UnavailableError
from chimera.testing import ManualClock, settle
from subjects.insight import Benchmark, ListBenchmarks, RunBenchmark
from subjects.trial import Evaluate, Evaluation, Tried
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class FakeAgent:
    """Answers after a time that a test knows."""

    def __init__(self, clock: ManualClock, seconds: float = 0.01) -> None:
        self.clock, self.seconds = clock, seconds
        self.asked: list[Evaluate] = []
        self.at_once = self.most_at_once = 0
        self.failing = 0
        self.release = 3
        self.error: Exception | None = None

    async def evaluate(self, message: Evaluate) -> Evaluation:
        """One result, after a while."""
        if self.error is not None:
            raise self.error
        self.asked.append(message)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.clock.sleep(self.seconds)
        self.at_once -= 1
        failed = self.failing > 0
        self.failing -= failed
        tried = Tried(outcome="agent-error" if failed else "ok", output={}, run_ms=5.0, cpu_ms=4.0)
        return Evaluation(
            agent=message.name, release=self.release, checksum="", node="n", results=[tried], failed=int(failed)
        )


def part(bus: MemoryBus, agent: FakeAgent, clock: Clock) -> Benchmarks:
    """The part under test."""
    return Benchmarks(bus=bus, evaluate=agent.evaluate, clock=clock, node="n", report=lambda *_, **__: None)


async def run(benchmarks: Benchmarks, clock: ManualClock, message: RunBenchmark) -> list[Benchmark]:
    """Run it while time goes on."""
    found: list[Benchmark] = []

    async def work() -> None:
        found.extend((await benchmarks.run(message)).runs)
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        for _ in range(10_000):
            await clock.advance(0.001)
            await anyio.lowlevel.checkpoint()
    return found


async def test_a_run_is_what_was_measured():
    """Ten tasks at a time of 10 ms each: the figures are those, the warm-up does not count."""
    clock = ManualClock()
    agent = FakeAgent(clock)
    async with MemoryBus(MemoryHub()) as bus:
        [done] = await run(part(bus, agent, clock), clock, RunBenchmark(tasks=100, concurrency=10))
    assert (done.tasks, done.failed, done.concurrency, done.release, done.agent) == (100, 0, 10, 3, "sentiment")
    assert done.p50_ms == done.p99_ms == pytest.approx(10.0, abs=1.01)
    assert done.seconds == pytest.approx(0.1, abs=0.011)
    assert done.per_s == pytest.approx(100 / done.seconds)
    assert done.cpu_ms_per_task == 4.0
    assert agent.most_at_once == 10
    assert [one.inputs[0] for one in agent.asked[-100:]] == inputs(100)


async def test_listing_runs_nothing():
    """A preview asks no agent and names the POST."""
    clock = ManualClock()
    agent = FakeAgent(clock)
    async with MemoryBus(MemoryHub()) as bus:
        shown = await part(bus, agent, clock).list(ListBenchmarks())
    assert (shown.runs, shown.ratio, shown.ran, shown.next) == ([], {}, False, NEXT)
    assert agent.asked == []
    assert NEXT == "POST /api/benchmarking/run"


async def test_the_second_run_is_compared_with_the_first():
    """Twice as slow is a ratio of two, and both runs are kept for every node, newest first."""
    clock, hub = ManualClock(), MemoryHub()
    agent = FakeAgent(clock)
    async with MemoryBus(hub) as bus:
        [first] = await run(part(bus, agent, clock), clock, RunBenchmark(tasks=20, concurrency=2))
        agent.seconds = 0.02
        await run(part(bus, agent, clock), clock, RunBenchmark(tasks=20, concurrency=2))
    async with MemoryBus(hub, name="other") as bus:
        shown = await part(bus, agent, clock).list(ListBenchmarks())
    assert [one.id for one in shown.runs][1] == first.id
    assert shown.ratio["p50_ms"] == pytest.approx(2.0, rel=0.15)
    assert shown.ratio["before"] == first.id


async def test_failed_tasks_are_counted_and_not_timed():
    """A task that failed fast makes nothing look faster."""
    clock = ManualClock()
    agent = FakeAgent(clock)
    agent.failing = 16 + 5
    async with MemoryBus(MemoryHub()) as bus:
        [done] = await run(part(bus, agent, clock), clock, RunBenchmark(tasks=20, concurrency=1))
    assert done.failed == 5
    assert done.per_s == pytest.approx(15 / done.seconds)


@pytest.mark.parametrize("error", [NoAgentError("there is no x"), OverloadedError("busy"), UnavailableError("away")])
async def test_an_agent_that_refuses_is_the_answer(error: Exception):
    """What the agent actor says comes out as it is, and nothing is stored."""
    clock = ManualClock()
    agent = FakeAgent(clock)
    agent.error = error
    async with MemoryBus(MemoryHub()) as bus:
        benchmarks = part(bus, agent, clock)
        with pytest.raises(type(error)):
            await benchmarks.run(RunBenchmark(tasks=10))
        assert (await benchmarks.list(ListBenchmarks())).runs == []


async def test_two_runs_do_not_measure_each_other():
    """While one runs a second is refused."""
    clock = ManualClock()
    agent = FakeAgent(clock, seconds=1.0)
    async with MemoryBus(MemoryHub()) as bus, anyio.create_task_group() as group:
        benchmarks = part(bus, agent, clock)
        group.start_soon(benchmarks.run, RunBenchmark(tasks=10))
        await until(lambda: bool(agent.asked))
        with pytest.raises(OverloadedError):
            await benchmarks.run(RunBenchmark(tasks=10))
        assert agent.most_at_once <= MOST_AT_ONCE
        group.cancel_scope.cancel()


async def test_a_release_that_changes_meanwhile_is_no_benchmark():
    """Half of one release and half of another is no figure of either."""
    clock = ManualClock()
    agent = FakeAgent(clock)
    seen: list[BaseException] = []
    async with MemoryBus(MemoryHub()) as bus, anyio.create_task_group() as group:
        benchmarks = part(bus, agent, clock)

        async def work() -> None:
            try:
                await benchmarks.run(RunBenchmark(tasks=50, concurrency=1))
            except ConflictError as error:
                seen.append(error)

        group.start_soon(work)
        while not seen:
            agent.release = 3 if len(agent.asked) < 40 else 4
            await clock.advance(0.01)
            await anyio.lowlevel.checkpoint()
        await settle()
    assert "changed from release 3 to 4" in str(seen[0])


def test_only_the_same_machine_is_compared():
    """Another processor, node or workload gives no ratio; other versions do: they are what is compared."""
    machine = {**describe_machine("n"), "workload": "v1"}
    one = Benchmark(
        id="1", at=1.0, agent="a", tasks=10, failed=0, concurrency=1, seconds=1.0, per_s=10.0, p50_ms=1.0, p95_ms=2.0,
        p99_ms=3.0, cpu_ms_per_task=None, release=1, machine=machine,
    )  # fmt: skip
    faster = msgspec.structs.replace(one, id="2", per_s=20.0)
    assert ratio_of([faster, one])["per_s"] == 2.0
    for name in ("node", "cpu", "cores", "workload"):
        assert ratio_of([faster, msgspec.structs.replace(one, machine={**machine, name: "other"})]) == {}
    assert ratio_of([faster, msgspec.structs.replace(one, machine={**machine, "wasmtime": "1"})])["per_s"] == 2.0
    assert ratio_of([faster, msgspec.structs.replace(one, concurrency=2)]) == {}


def test_the_workload_is_the_same_everywhere_and_does_not_repeat():
    """10,000 sentences differ, and the first stay the first."""
    texts = [given["text"] for given in inputs(10_000)]
    assert len(set(texts)) == 10_000
    assert texts[:20] == [given["text"] for given in inputs(20)]
    assert texts[0] == "The battery is good."
    assert max(map(len, texts)) < 200


def test_quantiles_are_order_statistics():
    """Of 1 to 100 the 50th, 95th and 99th; of one value that value."""
    values = [float(n * 37 % 101) for n in range(1, 101)]
    assert quantiles(values) == (50.0, 95.0, 99.0)
    assert quantiles([7.0]) == (7.0, 7.0, 7.0)
