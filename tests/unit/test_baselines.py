"""The baseline: figures equal those of what was recorded, a preview changes nothing, and what is kept outlives us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.refining.baselines import NEXT, Baselines
from actors.refining.keeping import BUCKET
from actors.refining.windows import Windows
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.errors import CorruptError
from chimera.store.contract import Store
from chimera.testing import ManualClock
from subjects.insight import PreviewBaseline, UpdateBaseline
from tests.support.figures import NOW, fill, store_in, task

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open store."""
    async with store_in(tmp_path) as opened:
        yield opened


def baselines(bus: MemoryBus, store: Store, most: int = 200_000) -> Baselines:
    """The part under test."""
    return Baselines(bus=bus, windows=Windows(store, most), clock=ManualClock(), report=lambda *_, **__: None)


async def test_figures_are_those_that_were_recorded(store: Store):
    """Counts, rates, percentiles and accuracy of the window are what the records give by hand."""
    tasks = [task(n, NOW - 100 + n / 10, run_ms=float(n)) for n in range(1, 101)]
    tasks += [task(n, NOW - 50, outcome="agent-trap") for n in range(101, 126)] + [task(999, NOW - 7200)]
    await fill(store, tasks, right=["j1", "j2", "j3"], wrong=["j4"])
    async with MemoryBus(MemoryHub()) as bus:
        [found] = (await baselines(bus, store).preview(PreviewBaseline(window_s=3600))).now
    assert (found.agent, found.tasks, found.error_rate, found.availability) == ("sentiment", 125, 0.2, 0.8)
    assert found.per_s == pytest.approx(125 / 3600)
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == (51.0, 96.0, 100.0)
    assert found.cpu_ms == pytest.approx(sum(range(1, 101)) / 200)
    assert found.accuracy == 0.75


async def test_a_preview_changes_nothing_and_names_the_post(store: Store):
    """However often it is asked, no baseline is there afterwards."""
    await fill(store, [task(1, NOW - 1)])
    async with MemoryBus(MemoryHub()) as bus:
        part = baselines(bus, store)
        for _ in range(2):
            shown = await part.preview(PreviewBaseline())
            assert (shown.stored_at, shown.baseline, shown.updated, shown.next) == (None, [], False, NEXT)
        assert NEXT == "POST /api/optimization/baseline/update"
        assert await (await bus.key_value(BUCKET)).keys() == []


async def test_a_baseline_outlives_the_process_and_is_the_same_on_every_node(store: Store):
    """What one node stored, another compares with."""
    await fill(store, [task(n, NOW - 3000 + n) for n in range(2000)])
    hub = MemoryHub()
    async with MemoryBus(hub, name="a") as one:
        stored = await baselines(one, store).update(UpdateBaseline(note="before the change"))
    assert (stored.updated, stored.stored_at, stored.baseline, stored.next) == (True, NOW, [], "")
    async with MemoryBus(hub, name="b") as other:
        shown = await baselines(other, store).preview(PreviewBaseline())
    assert shown.stored_at == NOW
    assert shown.baseline == shown.now == stored.now
    assert {each.verdict for each in shown.comparison if each.figure in {"p50_ms", "error_rate"}} == {"same"}


async def test_what_got_slower_is_told_with_its_interval(store: Store):
    """After the tasks take twice as long the comparison says worse, and its interval holds the true change."""
    before = [task(n, NOW - 7200 + n, run_ms=10.0 + n % 7) for n in range(3000)]
    after = [task(5000 + n, NOW - 3500 + n, run_ms=20.0 + 2 * (n % 7)) for n in range(3000)]
    await fill(store, before)
    hub, clock = MemoryHub(), ManualClock()
    clock.jump(-3600)
    async with MemoryBus(hub) as bus:
        early = Baselines(bus=bus, windows=Windows(store), clock=clock, report=lambda *_, **__: None)
        await early.update(UpdateBaseline())
        await fill(store, after)
        shown = await baselines(bus, store).preview(PreviewBaseline())
    p50 = next(each for each in shown.comparison if each.figure == "p50_ms")
    assert (p50.before, p50.now, p50.verdict) == (14.0, 27.0, "worse")
    assert p50.low is not None
    assert p50.high is not None
    assert p50.low <= 13.0 <= p50.high


async def test_nothing_is_stored_where_nothing_ran(store: Store):
    """An empty window keeps the baseline that is there, and the answer says why."""
    await fill(store, [task(1, NOW - 5000)])
    async with MemoryBus(MemoryHub()) as bus:
        part = baselines(bus, store)
        assert (await part.update(UpdateBaseline(window_s=7200))).updated
        answer = await part.update(UpdateBaseline(window_s=60))
        assert not answer.updated
        assert "no task ended" in answer.next
        assert len((await part.preview(PreviewBaseline())).baseline) == 1


async def test_counts_stay_exact_where_only_some_tasks_are_looked_at(store: Store):
    """A window that is too large is sampled; what is counted is counted whole."""
    tasks = [task(n, NOW - 1000 + n / 10, outcome="shed" if n % 10 == 0 else "ok") for n in range(1, 5001)]
    await fill(store, tasks)
    async with MemoryBus(MemoryHub()) as bus:
        [found] = (await baselines(bus, store, most=500).preview(PreviewBaseline())).now
    assert (found.tasks, found.error_rate) == (5000, 0.1)
    assert found.per_s == pytest.approx(5000 / 3600)


async def test_something_else_in_its_place_is_told(store: Store):
    """A value that is no baseline is an error that names the key, not an empty baseline."""
    async with MemoryBus(MemoryHub()) as bus:
        await (await bus.key_value(BUCKET)).put("baseline", b'{"hello": 1}')
        with pytest.raises(CorruptError, match="OPTIMIZER/baseline"):
            await baselines(bus, store).preview(PreviewBaseline())
