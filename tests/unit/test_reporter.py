"""Reports: every figure equals what was recorded, and what has no data is absent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from actors.refining.baselines import Baselines
from actors.refining.page import render
from actors.refining.reporter import Reporter, Sources
from actors.refining.windows import Windows
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.errors import LayerNotRunningError
from chimera.store.contract import Store
from chimera.testing import ManualClock
from subjects.agent import CheckHealth, Health
from subjects.event import TaskProcessed
from subjects.insight import UpdateBaseline
from subjects.report import CapacityAdvice, DailyReport, GetReport, Report, WeeklyReport
from tests.support.figures import ACCURACY, BUDGET, NOW, experiment, fill, sources, store_in, task

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open store."""
    async with store_in(tmp_path) as opened:
        yield opened


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    """A bus."""
    async with MemoryBus(MemoryHub()) as opened:
        yield opened


def reporter(bus: MemoryBus, store: Store, parts: Sources | None = None) -> tuple[Reporter, Baselines]:
    """The part under test, and the baselines it compares with."""
    clock, windows = ManualClock(), Windows(store)
    baselines = Baselines(bus=bus, windows=windows, clock=clock, report=lambda *_, **__: None)
    made = Reporter(windows=windows, baselines=baselines, sources=parts or sources(), clock=clock, node="n")
    return made, baselines


def day() -> list[TaskProcessed]:
    """Twenty tasks an hour for the last three hours, the middle one with five errors, and one two days ago."""
    tasks = [
        task(100 * hour + n, NOW - hour * 3600 + 60 * n + 1, run_ms=9.0 + 10 * hour)
        for hour in (1, 2, 3) for n in range(20)
    ]  # fmt: skip
    failed = [task(900 + n, NOW - 2 * 3600 + 60 * n + 2, outcome="agent-trap", run_ms=19.0) for n in range(5)]
    return [*tasks, *failed, task(999, NOW - 2 * 86_400)]


async def test_a_day_is_what_was_recorded(bus: MemoryBus, store: Store):
    """Tasks, errors and percentiles by hour; hours without a task have none."""
    await fill(store, day(), right=["j100"], wrong=["j101"])
    made, _ = reporter(bus, store)
    report = await made.daily(DailyReport())
    assert (report.period, report.since, report.until, report.node) == ("daily", NOW - 86_400, NOW, "n")
    assert [(hour.tasks, hour.errors, hour.p50_ms) for hour in report.hours[-4:]] == [
        (0, 0, None), (20, 0, 40.0), (25, 5, 30.0), (20, 0, 20.0),
    ]  # fmt: skip
    assert len(report.hours) == 24
    assert [hour.at for hour in report.hours[:2]] == [NOW - 86_400, NOW - 82_800]
    [agent] = report.agents
    assert (agent.tasks, agent.error_rate, agent.p50_ms, agent.accuracy) == (65, 5 / 65, 30.0, 0.5)
    assert agent.per_s == pytest.approx(65 / 86_400)


async def test_a_week_reaches_further_back(bus: MemoryBus, store: Store):
    """168 hours, and the task of two days ago is in it; ``report`` gives the same."""
    await fill(store, day())
    made, _ = reporter(bus, store)
    report = await made.weekly(WeeklyReport())
    assert (len(report.hours), report.agents[0].tasks) == (168, 66)
    assert await made.report(GetReport(period="weekly")) == report


async def test_an_earlier_day_ends_where_it_was_asked_to(bus: MemoryBus, store: Store):
    """``until`` in the past leaves out what came later; one in the future means now."""
    await fill(store, day())
    made, _ = reporter(bus, store)
    assert (await made.daily(DailyReport(until=NOW - 7200))).agents[0].tasks == 20
    assert (await made.daily(DailyReport(until=NOW + 1e6))).until == NOW


async def test_capacity_follows_littles_law(bus: MemoryBus, store: Store):
    """36,000 tasks of 1 s in the busiest hour keep ten workers busy: 13 at 80 %; the words name the figures."""
    tasks = [task(n, NOW - 3600 + n / 10, run_ms=1000.0) for n in range(36_000)]
    await fill(store, tasks)
    made, _ = reporter(bus, store, sources(workers=4))
    advice = (await made.daily(DailyReport())).capacity
    assert (advice.workers_now, advice.workers_advised) == (4, 13)
    assert advice.utilization == pytest.approx(36_000 / 86_400 / 4)
    assert "36000 tasks of 1e+03 ms" in advice.because
    assert "Little" in advice.because


async def test_without_data_nothing_is_made_up(bus: MemoryBus, store: Store):
    """An empty store gives counts of 0, no percentile, no use, no layer that does not run."""
    made, _ = reporter(bus, store)
    report = await made.daily(DailyReport())
    assert (report.agents, report.comparison, report.evolution, report.cost) == ([], [], None, None)
    assert all((hour.tasks, hour.errors, hour.p50_ms, hour.p95_ms) == (0, 0, None, None) for hour in report.hours)
    assert (report.capacity.utilization, report.capacity.workers_advised) == (None, 2)


async def test_a_layer_that_does_not_answer_has_no_workers(bus: MemoryBus, store: Store):
    """Without the agent actor the report still comes: no workers, and no use of them."""

    async def absent(_message: CheckHealth) -> Health:
        raise LayerNotRunningError("the agent is not running")

    await fill(store, day())
    parts = sources()
    made, _ = reporter(
        bus, store,
        Sources(experiments=parts.experiments, tunes=parts.tunes, patterns=parts.patterns, anomalies=parts.anomalies,
                health=absent),
    )  # fmt: skip
    capacity = (await made.daily(DailyReport())).capacity
    assert (capacity.workers_now, capacity.utilization, capacity.workers_advised) == (0, None, 1)


async def test_experiments_budget_and_findings_are_the_others_own(bus: MemoryBus, store: Store):
    """Decisions inside the window count, those before do not; budget, patterns and accuracy come as they are."""
    held = [
        experiment("e-3", verdict="roll-back", effect=-0.1), experiment("e-2", effect=0.04),
        experiment("e-1", at=NOW - 90_000),
    ]  # fmt: skip
    made, _ = reporter(bus, store, sources(held))
    report = await made.daily(DailyReport())
    lines = [(line.id, line.candidate, line.effect) for line in report.experiments]
    assert lines == [("e-3", 2, -0.1), ("e-2", 2, 0.04)]
    assert (report.promotions, report.rollbacks, report.budget, report.accuracy) == (1, 1, BUDGET, ACCURACY)
    assert len(report.patterns) == len(report.anomalies) == 1
    [tune] = report.tunes
    assert (tune["id"], tune["state"], tune["promoted"], tune["trials"]) == ("t-1", "converged", [2], None)
    assert (await made.weekly(WeeklyReport())).promotions == 2


async def test_the_baseline_stands_beside(bus: MemoryBus, store: Store):
    """With a stored baseline every figure is compared with it."""
    await fill(store, day())
    made, baselines = reporter(bus, store)
    await baselines.update(UpdateBaseline(window_s=86_400))
    report = await made.daily(DailyReport())
    [tasks] = [one for one in report.comparison if one.figure == "error_rate"]
    assert tasks.before == tasks.now == 5 / 65


def figures_of(page: str, words: Sequence[str]) -> list[str]:
    """Which of the words are not on the page."""
    return [word for word in words if word not in page]


async def test_the_page_shows_the_report(bus: MemoryBus, store: Store):
    """Every part has its heading, its figures and its plot; nothing is fetched and everything is escaped."""
    await fill(store, day())
    made, baselines = reporter(bus, store, sources([experiment("e-2", effect=0.04)]))
    await baselines.update(UpdateBaseline())
    page = render(await made.daily(DailyReport()))
    wanted = (
        "Daily report", "65 tasks, 5 of them failed", "Tasks and errors per hour", "Latency of answered tasks",
        "Effect of each candidate", "e-2", "more answers are right", "1 promotions and 0 rollbacks", "0.0123",
        "it rises by 2 ms an hour", "far above &lt;what&gt; was expected", "Evolution: no data.", "Cost: no data.",
        "recall 80%", "Little", "it got no better",
    )  # fmt: skip
    assert figures_of(page, wanted) == []
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_page_of_nothing_says_so():
    """A report without data has no plot that suggests some."""
    empty = Report(
        period="weekly", since=NOW - 604_800, until=NOW, node="n", version="1", agents=[], hours=[], comparison=[],
        experiments=[], promotions=0, rollbacks=0, budget=BUDGET, tunes=[], evolution={"generation": 7}, cost=None,
        capacity=CapacityAdvice(
            workers_now=0, workers_advised=0, utilization=None, because="no task ran: nothing to advise"
        ),
        patterns=[], anomalies=[], accuracy=None,
    )  # fmt: skip
    page = render(empty)
    wanted = ("Weekly report", "No task was recorded.", "No answered task", "Nothing was found.", "generation")
    assert figures_of(page, wanted) == []
