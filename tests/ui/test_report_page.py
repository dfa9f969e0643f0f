"""The report's page in a real browser, served by the bridge from figures that the test recorded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors.refining.baselines import Baselines
from actors.refining.reporter import Reporter
from actors.refining.windows import Windows
from chimera import SystemClock
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.http import Bridge, BridgeSettings
from chimera.metrics import Metrics
from chimera.testing import ManualClock
from subjects import Port
from subjects.insight import UpdateBaseline
from subjects.report import DAILY, WEEKLY, Report
from tests.support.bridge import FakeCaller, FakeProbe
from tests.support.browser import Seen, colours, find_browser, look
from tests.support.figures import NOW, experiment, fill, sources, store_in, task

pytestmark = [pytest.mark.anyio, pytest.mark.ui, pytest.mark.slow, pytest.mark.timeout(240)]

SCRIPT = "<script>document.title = 'changed'</script>"


@asynccontextmanager
async def recorded(folder: Path) -> AsyncGenerator[Reporter]:
    """A reporter over three days of tasks, busier by day, slower and with errors on the last evening."""
    clock = ManualClock()
    async with store_in(folder) as store, MemoryBus(MemoryHub()) as bus:
        tasks = [
            task(
                10_000 * hour + n, NOW - hour * 3600 + 30 * n + 1, run_ms=20.0 + 10 * (hour < 4) + n % 13,
                outcome="agent-trap" if hour < 4 and n % 9 == 0 else "ok",
            )
            for hour in range(1, 73) for n in range(20 + 5 * (hour % 12))
        ]  # fmt: skip
        await fill(store, tasks)
        windows = Windows(store)
        baselines = Baselines(bus=bus, windows=windows, clock=clock, report=lambda *_, **__: None)
        await baselines.update(UpdateBaseline(window_s=86_400.0, note="a test"))
        held = [experiment("e-2", effect=0.04), experiment("e-1", verdict="roll-back", effect=-0.11, at=NOW - 5000)]
        yield Reporter(windows=windows, baselines=baselines, sources=sources(held), clock=clock, node="test-node")


@asynccontextmanager
async def serving(folder: Path, answer: Callable[[Any], Awaitable[Report]]) -> AsyncGenerator[str]:
    """The bridge's port 8002, on any free port; its base URL."""
    caller = FakeCaller()
    caller.hook = answer
    settings = BridgeSettings(ports={Port.REFINEMENT: 0}, data=folder, drain_s=1.0)
    bridge = Bridge(caller, FakeProbe(), settings, metrics=Metrics(), clock=SystemClock())
    async with anyio.create_task_group() as group:
        await bridge.start()
        group.start_soon(bridge.wait)
        yield f"http://127.0.0.1:{bridge.ports[Port.REFINEMENT]}"
        await bridge.stop()
        group.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def _reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bridge serves the two reports and nothing else."""
    monkeypatch.setattr("chimera.http.app.OPERATIONS", (DAILY, WEEKLY))
    find_browser()


@pytest.mark.parametrize("period", ["daily", "weekly"])
async def test_the_report_is_shown(tmp_path: Path, period: str, record_property: Callable[[str, object], None]):
    """A browser shows text, tables and three plots, says nothing on its console, and the picture is not blank."""
    async with recorded(tmp_path) as reporter:

        async def answer(message: Any) -> Report:
            return await (reporter.daily if period == "daily" else reporter.weekly)(message)

        async with serving(tmp_path, answer) as base:
            seen: Seen = await look(f"{base}/api/reports/{period}", tmp_path, f"report-{period}")
            report = await answer((DAILY if period == "daily" else WEEKLY).request())
    record_property("screenshot", str(seen.picture))
    tasks, errors = sum(hour.tasks for hour in report.hours), sum(hour.errors for hour in report.hours)
    assert errors > 0
    assert f"<h1>{period.title()} report</h1>" in seen.dom
    assert f"{tasks:,} tasks, {errors:,} of them failed." in seen.dom
    for words in ("test-node", "e-2", "more answers are right", "it rises by 2 ms an hour", "of them failed"):
        assert words in seen.dom
    assert seen.dom.count("<svg") == 3
    assert seen.dom.count("<table") >= 4
    assert seen.dom.count("<rect") >= len(report.hours)
    assert seen.console == []
    assert seen.picture.stat().st_size > 20_000
    assert colours(seen.picture) > 50


async def test_a_script_that_got_in_would_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The policy in the header stops what escaping might miss; and the console check sees it."""

    def spoiled(_report: Report) -> str:
        return f"<!doctype html><html><head><title>as it was</title></head><body>{SCRIPT}</body></html>"

    monkeypatch.setattr("actors.refining.page.render", spoiled)
    async with recorded(tmp_path) as reporter, serving(tmp_path, reporter.daily) as base:
        seen = await look(f"{base}/api/reports/daily", tmp_path, "spoiled")
    assert "<title>as it was</title>" in seen.dom
    assert any("Content Security Policy" in line for line in seen.console)
