"""The load forecasters' word in the capacity advice: computed from the models, with their interval, never made up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actors.insight.forecast import predict, reach_s, train_forecaster
from actors.insight.model import Model
from actors.refining.baselines import Baselines
from actors.refining.outlook import outlook
from actors.refining.page import render
from actors.refining.reporter import Reporter
from actors.refining.windows import Windows
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.store.contract import Store
from chimera.testing import ManualClock
from subjects.report import DailyReport
from tests.support.figures import NOW, fill, sources, store_in, task

pytestmark = pytest.mark.anyio


def forecaster(name: str, level: float, *, until: float = NOW) -> Model:
    """A live forecaster of about so many tasks a minute, trained on the last five hours."""
    values = np.random.default_rng(1).poisson(level, 300).astype(float)
    return train_forecaster(name, "load", until - 300 * 60.0, values, 60.0, trained_at=until, horizon=24)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open store."""
    async with store_in(tmp_path) as opened:
        yield opened


def test_the_busiest_moment_ahead_is_the_models_own():
    """Expected rate and interval are the forecaster's at that moment; the workers bear its upper end at 80 %."""
    model = forecaster("echo-load", 600.0)
    found = outlook({"echo": model}, {"echo": 0.5}, NOW)
    assert found is not None
    assert NOW < found.at <= found.until == NOW + reach_s(model) == NOW + 24 * 60.0
    said = predict(model, found.at)
    assert (found.per_s, found.low_per_s, found.high_per_s) == pytest.approx(
        (said.expected / 60, said.low / 60, said.high / 60)
    )
    assert found.low_per_s < 10.0 < found.high_per_s
    assert found.workers == int(np.ceil(found.high_per_s * 0.5 / 0.8 - 1e-9))
    assert (found.confidence, found.models) == (0.9, ["echo-load/1"])


def test_several_agents_add_up_and_are_less_sure():
    """Two forecasters expect what both expect, bounds too; both intervals hold at once with 80 %."""
    one, two = forecaster("a-load", 600.0), forecaster("b-load", 60.0)
    found = outlook({"a": one, "b": two}, {"a": 0.1, "b": 0.1, "c": 0.1}, NOW)
    assert found is not None
    assert found.per_s == pytest.approx((predict(one, found.at).expected + predict(two, found.at).expected) / 60)
    assert found.confidence == pytest.approx(0.8)
    assert outlook({}, {"a": 0.1}, NOW) is None
    assert outlook({"a": one}, {}, NOW) is None


async def test_the_report_advises_for_what_is_expected(store: Store):
    """More load ahead than the busiest hour had asks for more workers; a report of the past has no forecast."""
    await fill(store, [task(n, NOW - 3000 + n, run_ms=500.0) for n in range(3000)])

    def loads(agents: Sequence[str]) -> dict[str, Model]:
        return {agent: forecaster(f"{agent}-load", 1200.0) for agent in agents}

    clock, windows = ManualClock(), Windows(store)
    async with MemoryBus(MemoryHub()) as bus:
        baselines = Baselines(bus=bus, windows=windows, clock=clock, report=lambda *_, **__: None)
        parts = replace(sources(), loads=loads)
        made = Reporter(windows=windows, baselines=baselines, sources=parts, clock=clock, node="n")
        report = await made.daily(DailyReport())
        past = await made.daily(DailyReport(until=NOW - 7200.0))
    assert report.capacity.forecast is not None
    assert report.capacity.workers_advised == report.capacity.forecast.workers > 10
    assert "workers bear" in report.capacity.because
    assert "busiest at" in render(report)
    assert past.capacity.forecast is None
