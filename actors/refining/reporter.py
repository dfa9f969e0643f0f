"""Daily and weekly reports: figures of what was recorded, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import anyio.to_thread
import msgspec
import numpy as np

from actors.insight.baseline import Summary
from actors.insight.model import Model
from actors.queueing.littles import desired_workers
from chimera import __version__
from chimera.clock import Clock
from chimera.errors import ChimeraError
from chimera.store.contract import Tally
from subjects.agent import CheckHealth, Health
from subjects.experiment import Experiment, ExperimentList, Experiments
from subjects.insight import AnomalyList, GetAnomalies, GetPatterns, PatternList
from subjects.optimizer import GetStatus, OptimizationStatus, Tune
from subjects.report import (
    CapacityAdvice,
    DailyReport,
    ExperimentLine,
    GetReport,
    Hour,
    LoadForecast,
    Report,
    WeeklyReport,
)

from .baselines import Baselines
from .benchmarks import quantiles
from .outlook import outlook
from .windows import Window, Windows

Period = Literal["daily", "weekly"]
HOUR_S = 3600.0
HOURS: dict[Period, int] = {"daily": 24, "weekly": 168}
_HEALTH_S = 2.0


async def nothing(_since: float, _until: float) -> None:
    """What a layer that is not there tells of itself."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a report's parts come from, beside the store.

    Attributes:
        experiments: Lists experiments and the error budget.
        tunes: Lists auto-tunes.
        patterns: Finds patterns.
        anomalies: Finds anomalies.
        health: Asks the agent actor how it does.
        evolution: What was evolved between two Unix times, ``None`` if that layer does not run.
        cost: What was spent between them, ``None`` if nobody counts it.
        loads: The live load forecasters of these agents.
    """

    experiments: Callable[[Experiments], Awaitable[ExperimentList]]
    tunes: Callable[[GetStatus], Awaitable[OptimizationStatus]]
    patterns: Callable[[GetPatterns], Awaitable[PatternList]]
    anomalies: Callable[[GetAnomalies], Awaitable[AnomalyList]]
    health: Callable[[CheckHealth], Awaitable[Health]]
    evolution: Callable[[float, float], Awaitable[dict[str, Any] | None]] = nothing
    cost: Callable[[float, float], Awaitable[dict[str, Any] | None]] = nothing
    loads: Callable[[Sequence[str]], dict[str, Model]] = lambda _agents: {}


class Reporter:
    """Makes reports.

    Args:
        windows: Reads what was recorded.
        baselines: Compares with the stored baseline.
        sources: The other parts.
        clock: Time.
        node: Name of this node.
    """

    def __init__(self, *, windows: Windows, baselines: Baselines, sources: Sources, clock: Clock, node: str) -> None:
        self._windows, self._baselines = windows, baselines
        self._sources, self._clock, self._node = sources, clock, node

    async def daily(self, message: DailyReport) -> Report:
        """The last 24 hours, or those before ``until``."""
        return await self._report("daily", message.until)

    async def weekly(self, message: WeeklyReport) -> Report:
        """The last seven days, or those before ``until``."""
        return await self._report("weekly", message.until)

    async def report(self, message: GetReport) -> Report:
        """Either.

        Raises:
            UnavailableError: If the store or the bus can't be reached: a report with holes would not be one.
        """
        return await self._report(message.period, message.until)

    async def _report(self, period: Period, until: float) -> Report:
        now = self._clock.time()
        until = min(until, now) if until else now
        since = until - HOURS[period] * HOUR_S
        window = await self._windows.read(since, until, HOURS[period])
        summaries = await anyio.to_thread.run_sync(window.summaries)
        hours = await anyio.to_thread.run_sync(_hours, window)
        listed = await self._sources.experiments(Experiments(limit=1000))
        experiments = [one for one in listed.experiments if _overlaps(one.started_at, one.ended_at, since, until)]
        tunes = (await self._sources.tunes(GetStatus())).tunes
        patterns = await self._sources.patterns(GetPatterns())
        anomalies = await self._sources.anomalies(GetAnomalies(since=since))
        return Report(
            period=period, since=since, until=until, node=self._node, version=__version__,
            agents=_figures(summaries), hours=hours, comparison=await self._baselines.compare(summaries),
            experiments=[_line(one) for one in experiments],
            promotions=_verdicts(listed.experiments, "promote", since, until),
            rollbacks=_verdicts(listed.experiments, "roll-back", since, until),
            budget=listed.budget,
            tunes=[_tune(one) for one in tunes if _overlaps(one.started_at, one.ended_at, since, until)],
            evolution=await self._sources.evolution(since, until), cost=await self._sources.cost(since, until),
            capacity=await self._capacity(window, hours),
            patterns=[one for one in patterns.patterns if one.until >= since and one.since < until],
            anomalies=[one for one in anomalies.anomalies if one.at < until],
            accuracy=anomalies.accuracy,
        )  # fmt: skip

    async def _capacity(self, window: Window, hours: Sequence[Hour]) -> CapacityAdvice:
        workers = await self._workers()
        tasks = sum(tally.tasks for tally in window.tallies.values())
        if not tasks:
            return CapacityAdvice(
                workers_now=workers, workers_advised=workers, utilization=None, because="no task ran: nothing to advise"
            )
        run_s = sum(tally.run_ms for tally in window.tallies.values()) / tasks / 1e3
        busiest = max(hour.tasks for hour in hours) / HOUR_S
        mean = tasks / (window.until - window.since)
        words = (
            f"{tasks} tasks of {run_s * 1e3:.3g} ms on average; {busiest:.3g} a second in the busiest hour keep "
            f"{busiest * run_s:.3g} workers busy (Little: L = rate * time), advised for 80 % use"
        )
        advised, forecast = desired_workers(busiest, run_s, 0), self._outlook(window)
        if forecast is not None:
            advised = max(advised, forecast.workers)
            words += (
                f"; ahead at most {forecast.per_s:.3g} a second are expected, {forecast.low_per_s:.3g} to "
                f"{forecast.high_per_s:.3g}, which {forecast.workers} workers bear"
            )
        return CapacityAdvice(
            workers_now=workers, workers_advised=advised,
            utilization=mean * run_s / workers if workers else None, because=words, forecast=forecast,
        )  # fmt: skip

    def _outlook(self, window: Window) -> LoadForecast | None:
        """What is expected from now on; a report of the past says nothing of the time after it."""
        now = self._clock.time()
        if window.until < now - HOUR_S:
            return None
        run_s = {agent: one.run_ms / one.tasks / 1e3 for agent, one in window.tallies.items() if one.tasks}
        return outlook(self._sources.loads(list(run_s)), run_s, now)

    async def _workers(self) -> int:
        """Workers of the execution layer now; 0 if it does not run or does not answer."""
        with anyio.move_on_after(_HEALTH_S):
            try:
                return (await self._sources.health(CheckHealth())).workers
            except ChimeraError:
                return 0
        return 0


def _figures(summaries: dict[str, Summary]) -> list[Any]:
    return [summary.figures for _, summary in sorted(summaries.items())]


def _hours(window: Window) -> list[Hour]:
    """Counts are the store's, exact; percentiles are those of the tasks that were looked at."""
    begins = [window.since + number * HOUR_S for number in range(len(window.parts))]
    rows = zip(begins, window.parts, _latencies(window, len(begins)), strict=True)
    return [_hour(*row) for row in rows]


def _latencies(window: Window, count: int) -> list[list[float]]:
    """Latencies of answered tasks by hour."""
    found = [list[float]() for _ in range(count)]
    for sample in window.samples.values():
        answered = sample.failed == 0
        places: list[int] = np.clip((sample.at[answered] - window.since) // HOUR_S, 0, count - 1).astype(int).tolist()
        passed: list[float] = sample.total_ms[answered].tolist()
        for place, one in zip(places, passed, strict=True):
            found[place].append(one)
    return found


def _hour(at: float, tallies: Sequence[Tally], latencies: list[float]) -> Hour:
    p50, p95, _ = quantiles(latencies) if latencies else (None, None, None)
    return Hour(
        at=at, tasks=sum(tally.tasks for tally in tallies), errors=sum(tally.errors for tally in tallies),
        p50_ms=p50, p95_ms=p95,
    )  # fmt: skip


def _overlaps(began: float, ended: float | None, since: float, until: float) -> bool:
    return began < until and (ended is None or ended >= since)


def _verdicts(experiments: Sequence[Experiment], verdict: str, since: float, until: float) -> int:
    decisions = [decision for one in experiments for decision in one.decisions]
    return sum(decision.verdict == verdict and since <= decision.at < until for decision in decisions)


def _line(experiment: Experiment) -> ExperimentLine:
    """The candidate that was decided on, or that leads."""
    last = experiment.decisions[-1] if experiment.decisions else None
    chosen = max(
        experiment.variants,
        key=lambda variant: (last is not None and variant.release == last.release, variant.primary.e_better),
        default=None,
    )
    return ExperimentLine(
        id=experiment.id, agent=experiment.agent, state=experiment.state,
        candidate=chosen.release if chosen else None, effect=chosen.primary.effect if chosen else None,
        messages=experiment.messages, reason=last.reason if last else "",
    )  # fmt: skip


def _tune(tune: Tune) -> dict[str, Any]:
    """An auto-tune without its trials' genomes; their number and the best are told only if the list has them."""
    found = msgspec.structs.asdict(tune)
    kept = ("id", "agent", "state", "algorithm", "metric", "started_at", "ended_at", "start_value", "promoted",
            "used_replayed", "used_harmed", "improvement", "reason")  # fmt: skip
    best = tune.best.value if tune.best else None
    return {name: found[name] for name in kept} | {"trials": len(tune.trials) or None, "best": best}
