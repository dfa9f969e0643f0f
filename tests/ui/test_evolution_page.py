"""The page of an evolution in a real browser, served by the bridge as port 8003 serves it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import anyio
import pytest

from chimera import SystemClock
from chimera.errors import NoGenomeError
from chimera.http import Bridge, BridgeSettings
from chimera.metrics import Metrics
from subjects import Port
from subjects.evolution import PROGRESS, Progress
from subjects.evolver import POPULATION, GetPopulation, Population
from subjects.genome import GENOME, GenomeDetail, GetGenome
from tests.support import evolution as stage
from tests.support.bridge import FakeCaller, FakeProbe
from tests.support.browser import colours, find_browser, look

pytestmark = [pytest.mark.anyio, pytest.mark.ui, pytest.mark.slow, pytest.mark.timeout(240)]


@asynccontextmanager
async def serving(
    folder: Path, progress: Progress, population: Population, lineage: GenomeDetail | None
) -> AsyncGenerator[str]:
    """The bridge's port 8003, on any free port, over these replies; its base URL."""

    async def answer(message: Any) -> Any:
        if isinstance(message, GetPopulation):
            return population
        if isinstance(message, GetGenome):
            if lineage is None:
                raise NoGenomeError
            return lineage
        return progress

    caller = FakeCaller()
    caller.hook = answer
    settings = BridgeSettings(ports={Port.EVOLUTION: 0}, data=folder, drain_s=1.0)
    bridge = Bridge(caller, FakeProbe(), settings, metrics=Metrics(), clock=SystemClock())
    async with anyio.create_task_group() as group:
        await bridge.start()
        group.start_soon(bridge.wait)
        yield f"http://127.0.0.1:{bridge.ports[Port.EVOLUTION]}"
        await bridge.stop()
        group.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def _pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bridge serves what the page needs and nothing else."""
    monkeypatch.setattr("chimera.http.app.OPERATIONS", (PROGRESS, POPULATION, GENOME))
    find_browser()


@pytest.mark.parametrize("kind", ["front", "map"])
async def test_the_evolution_is_shown(tmp_path: Path, kind: str, record_property: Callable[[str, object], None]):
    """A browser shows four pictures with their words, says nothing on its console, and the picture is not blank."""
    progress, population = stage.with_front() if kind == "front" else stage.with_map()
    async with serving(tmp_path, progress, population, stage.lineage()) as base:
        seen = await look(f"{base}/api/evolution/progress", tmp_path, f"evolution-{kind}")
    record_property("screenshot", str(seen.picture))
    said = {"front": "Pareto front", "map": "Map of the best genome per behaviour"}[kind]
    dom = unescape(seen.dom)
    for words in (
        "<h1>Evolution v-1</h1>",
        "Lineage of v-1-240",
        "24 ancestors",
        "best ± chance",
        said,
        "3 immigrants",
    ):
        assert words in dom, words
    assert seen.dom.count("<svg") == 4
    assert seen.dom.count("<circle") >= 26
    assert seen.console == []
    assert seen.picture.stat().st_size > 20_000
    assert colours(seen.picture) > 50


async def test_a_page_without_its_lineage_is_still_a_page(tmp_path: Path):
    """What can't be had is said to be missing."""
    async with serving(tmp_path, stage.progress(), stage.population(), None) as base:
        seen = await look(f"{base}/api/evolution/progress", tmp_path, "bare")
    assert "There is no champion whose lineage is known." in seen.dom
    assert seen.dom.count("<svg") == 2
    assert seen.console == []
