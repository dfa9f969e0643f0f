"""Benchmark runs: the shipped workload against the live release, measured where the asker stands, stored, compared."""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread

from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.errors import ChimeraError, ConflictError, OverloadedError, UnavailableError
from subjects.insight import RUN_BENCHMARK, Benchmark, BenchmarkList, ListBenchmarks, RunBenchmark
from subjects.trial import Evaluate, Evaluation

from .keeping import Kept
from .machine import describe_machine, same_machine
from .workload import SEED, inputs

MOST_KEPT = 100
MOST_AT_ONCE = 32
"""Tasks in flight at most: half of the trials that a node takes at once, so that the gate's go on."""

DEFAULT_AGENT = "sentiment"
NEXT = f"{RUN_BENCHMARK.http[0].method} {RUN_BENCHMARK.http[0].path}"
_TASK_S = 10.0
_WARM_UP = 16
_FIGURES = ("per_s", "p50_ms", "p95_ms", "p99_ms", "cpu_ms_per_task")

Run = Callable[[Evaluate], Awaitable[Evaluation]]


@dataclass(slots=True)
class _Tally:
    latencies: list[float] = field(default_factory=list[float])
    cpu_ms: list[float] = field(default_factory=list[float])
    failed: int = 0
    release: int = 0


class Benchmarks:
    """Runs and keeps benchmarks. Tasks run as trials: they leave nothing in records, baselines or experiments.

    Args:
        bus: Keeps the runs.
        evaluate: Asks the agent actor of this node.
        clock: Time.
        node: Name of this node.
        report: Writes an event.
    """

    def __init__(self, *, bus: Bus, evaluate: Run, clock: Clock, node: str, report: Callable[..., Any]) -> None:
        self._kept = Kept(bus, "benchmarks", list[Benchmark])
        self._evaluate, self._clock, self._node, self._report = evaluate, clock, node, report
        self._turn = anyio.Lock()

    async def list(self, message: ListBenchmarks) -> BenchmarkList:
        """Stored runs, newest first; runs nothing."""
        return _shown(await self._kept.read() or [], message.limit, ran=False)

    async def run(self, message: RunBenchmark) -> BenchmarkList:
        """Run the workload now, store the result, and compare it with the run before on this machine.

        Raises:
            OverloadedError: If a run is under way, or the node takes no more trials.
            NoAgentError: If there is no such agent.
            UnavailableError: If no task was answered: then nothing is stored.
        """
        if self._turn.locked():
            raise OverloadedError("a benchmark is running; two would measure each other", retry_after_s=5.0)
        async with self._turn:
            done = await self._measure(message)
            runs = [done, *(await self._kept.read() or [])][:MOST_KEPT]
            await self._kept.write(runs)
        self._report(
            "response-time", f"benchmark: {done.per_s:.0f} tasks a second, p95 {done.p95_ms:.1f} ms",
            agent=done.agent, per_s=done.per_s, p95_ms=done.p95_ms, failed=done.failed,
        )  # fmt: skip
        return _shown(runs, 20, ran=True)

    async def _measure(self, message: RunBenchmark) -> Benchmark:
        agent = message.agent or DEFAULT_AGENT
        machine = {**await anyio.to_thread.run_sync(describe_machine, self._node), "workload": SEED}
        concurrency = min(message.concurrency, MOST_AT_ONCE, message.tasks)
        await self._drive(agent, inputs(_WARM_UP), concurrency)
        began, at = self._clock.monotonic(), self._clock.time()
        tally = await self._drive(agent, inputs(message.tasks), concurrency)
        seconds = self._clock.monotonic() - began
        if not tally.latencies:
            raise UnavailableError(f"none of {message.tasks} tasks was answered by {agent}")
        p50, p95, p99 = quantiles(tally.latencies)
        return Benchmark(
            id=uuid.uuid4().hex[:12], at=at, agent=agent, tasks=message.tasks, failed=tally.failed,
            concurrency=concurrency, seconds=seconds, per_s=len(tally.latencies) / seconds if seconds > 0 else 0.0,
            p50_ms=p50, p95_ms=p95, p99_ms=p99, release=tally.release, machine=machine,
            cpu_ms_per_task=statistics.fmean(tally.cpu_ms) if any(tally.cpu_ms) else None,
        )  # fmt: skip

    async def _drive(self, agent: str, work: list[dict[str, Any]], concurrency: int) -> _Tally:
        tally, feed = _Tally(), iter(work)
        failures: list[ChimeraError] = []

        async def worker(group: anyio.abc.TaskGroup) -> None:
            try:
                await self._work(agent, feed, tally)
            except ChimeraError as error:
                failures.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for _ in range(concurrency):
                group.start_soon(worker, group)
        if failures:
            raise failures[0]
        return tally

    async def _work(self, agent: str, feed: Iterator[dict[str, Any]], tally: _Tally) -> None:
        for given in feed:
            began = self._clock.monotonic()
            answer = await self._evaluate(Evaluate(name=agent, inputs=[given], deadline_ms=int(_TASK_S * 1e3)))
            passed_ms = (self._clock.monotonic() - began) * 1e3
            if tally.release and answer.release != tally.release:
                raise ConflictError(f"{agent} changed from release {tally.release} to {answer.release} meanwhile")
            tally.release = answer.release
            tally.failed += answer.failed
            if not answer.failed:
                tally.latencies.append(passed_ms)
                tally.cpu_ms.append(answer.results[0].cpu_ms)


def quantiles(values: list[float]) -> tuple[float, float, float]:
    """p50, p95 and p99 as the least value that so many are not above (the inverted distribution function)."""
    ordered = sorted(values)
    at = [ordered[max(0, -(-len(ordered) * share // 100) - 1)] for share in (50, 95, 99)]
    return at[0], at[1], at[2]


def ratio_of(runs: list[Benchmark]) -> dict[str, Any]:
    """The newest run over the one before it of the same agent, concurrency and machine; empty if there is none."""
    for former in runs[1:]:
        new = runs[0]
        alike = (new.agent, new.concurrency) == (former.agent, former.concurrency)
        if alike and same_machine(new.machine, former.machine):
            pairs = {name: (getattr(new, name), getattr(former, name)) for name in _FIGURES}
            found = {name: now / before for name, (now, before) in pairs.items() if now is not None and before}
            return {**found, "run": new.id, "before": former.id}
    return {}


def _shown(runs: list[Benchmark], limit: int, *, ran: bool) -> BenchmarkList:
    return BenchmarkList(runs=runs[:limit], ratio=ratio_of(runs), ran=ran, next="" if ran else NEXT)
