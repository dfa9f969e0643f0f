"""Round trips between layers are those that happened, and settings follow from them with their reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors.refining.advice import (
    LEAST_CHECKS,
    advise_batch_size,
    advise_batch_timeout,
    advise_failures,
    advise_timeout,
    is_better,
)
from actors.refining.integration import BATCHING
from actors.refining.link import LinkSettings
from chimera.bus.memory import MemoryHub
from chimera.errors import ConflictError, LayerNotRunningError
from chimera.store.contract import Store
from subjects.agent import ConfigureBatching
from subjects.insight import CheckEvolver, GetMonitor, OptimizeIntegration
from tests.support.figures import NOW, fill, store_in, task
from tests.support.layers import Stage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open store."""
    async with store_in(tmp_path) as opened:
        yield opened


async def test_pairs_that_run_are_measured_and_others_are_absent():
    """Round trips are those that went by; a layer that does not run has no pair and no figure."""
    stage = Stage()
    stage.bus.layers = {"agent": 4.0, "scheduler": 7.0}
    async with stage.bus:
        for passed in (4.0, 4.0, 4.0, 40.0):
            stage.bus.layers["agent"] = passed
            found = await stage.monitor.monitor(GetMonitor())
    assert found.layers == {
        "agent": True, "scheduler": True, "optimizer": True, "evolver": False, "gpu_broker": False,
    }  # fmt: skip
    pairs = {(pair.source, pair.target): pair for pair in found.pairs}
    running = ("agent", "scheduler", "optimizer")
    assert set(pairs) == {(source, target) for source in running for target in running if source != target}
    agent = pairs["optimizer", "agent"]
    assert (agent.checks, agent.failures, agent.reachable) == (4, 0, True)
    assert (agent.p50_ms, agent.p95_ms) == (pytest.approx(4.0), pytest.approx(40.0))
    assert pairs["agent", "optimizer"].p50_ms == 3.5
    assert found.within_target is True


async def test_a_slow_or_silent_layer_misses_the_target():
    """Over 50 ms at p95, or no answer at all, is told; a failed check has no latency; the breaker opens."""
    stage = Stage()
    stage.bus.layers, stage.bus.refusing = {"scheduler": 60.0}, {"scheduler": "not-running"}
    async with stage.bus:
        assert (await stage.monitor.monitor(GetMonitor())).within_target is False
        stage.bus.layers = {"scheduler": None}
        for _ in range(5):
            await stage.monitor.measure()
        [pair] = stage.monitor.view().pairs
        asked = len(stage.bus.waited)
        await stage.monitor.measure()
    assert (pair.checks, pair.failures, pair.reachable, pair.breaker.state) == (4, 3, False, "open")
    assert pair.p95_ms == pytest.approx(60.0)
    assert len(stage.bus.waited) == asked


async def test_a_new_layer_is_measured_by_its_name_alone():
    """An evolver that starts is in every pair both ways; one that cannot measure is a target only; gone is gone."""
    stage = Stage()
    stage.bus.layers = {"agent": 4.0}
    async with stage.bus:
        await stage.monitor.measure()
        stage.bus.layers["evolver"] = 2.0
        await stage.monitor.measure()
        assert {(pair.source, pair.target) for pair in stage.monitor.view().pairs} >= {
            ("evolver", "agent"), ("agent", "evolver"), ("evolver", "optimizer"), ("optimizer", "evolver"),
        }  # fmt: skip
        stage.bus.refusing["evolver"] = "not-running"
        await stage.monitor.measure()
        assert {pair.source for pair in stage.monitor.view().pairs} == {"agent", "optimizer"}
        stage.bus.refusing["evolver"] = "breaker-open"
        await stage.monitor.measure()
        [back] = [pair for pair in stage.monitor.view().pairs if pair.source == "evolver" and pair.target == "agent"]
        assert (back.reachable, back.breaker.state) == (False, "open")
        del stage.bus.layers["evolver"]
        await stage.monitor.measure()
        assert not [pair for pair in stage.monitor.view().pairs if "evolver" in (pair.source, pair.target)]


async def test_nothing_measured_is_not_within_the_target():
    """Where no other layer runs there is no verdict."""
    stage = Stage()
    async with stage.bus:
        found = await stage.monitor.monitor(GetMonitor())
    assert (found.pairs, found.within_target) == ([], None)


async def test_the_evolver_is_measured_or_said_to_be_absent():
    """No evolver is an error that says so; with one there is a round trip."""
    stage = Stage()
    async with stage.bus:
        with pytest.raises(LayerNotRunningError):
            await stage.monitor.check_evolver(CheckEvolver())
        stage.bus.layers = {"evolver": 2.0}
        pair = await stage.monitor.check_evolver(CheckEvolver())
    assert (pair.target, pair.checks, pair.p50_ms) == ("evolver", 1, pytest.approx(2.0))


async def test_it_measures_every_period_and_follows_a_change_of_it():
    """One measurement a period; a shorter one is in force within a second."""
    stage = Stage()
    stage.bus.layers = {"agent": 0.0}
    async with stage.bus, anyio.create_task_group() as group:
        group.start_soon(stage.monitor.run)
        await stage.clock.advance(20.5)
        assert stage.monitor.own["agent"].checks == 3
        stage.monitor.period_s = 1.0
        await stage.clock.advance(5.0)
        assert 7 <= stage.monitor.own["agent"].checks <= 8
        group.cancel_scope.cancel()


async def test_showing_changes_nothing(store: Store):
    """``apply`` false computes the same values, applies none and asks nobody."""
    stage = Stage()
    stage.bus.layers = {"agent": 5.0}
    await fill(store, [task(n, NOW - 600 + n, run_ms=20.0) for n in range(400)])
    asked: list[Any] = []
    async with stage.bus:
        for _ in range(LEAST_CHECKS):
            await stage.monitor.measure()
        found = await stage.integration(store, asked.append).optimize(OptimizeIntegration(apply=False))
        assert stage.monitor.own["agent"].settings == LinkSettings()
    assert asked == []
    assert {one.setting for one in found.changes} >= {"integration.agent.timeout_s", "agent.batch_timeout_ms"}
    assert not any(one.applied for one in found.changes)
    assert all(one.because for one in found.changes)


async def test_what_is_better_is_applied_and_outlives_a_restart(store: Store):
    """The next check waits as long as was computed, the agent actor is told its batches, a new monitor knows."""
    hub = MemoryHub()
    stage = Stage(hub)
    stage.bus.layers = {"agent": 5.0}
    await fill(store, [task(n, NOW - 600 + n, run_ms=20.0) for n in range(400)])
    asked: list[ConfigureBatching] = []

    async def ask(message: ConfigureBatching) -> None:
        asked.append(message)

    async with stage.bus:
        for _ in range(LEAST_CHECKS):
            await stage.monitor.measure()
        found = await stage.integration(store, ask).optimize(OptimizeIntegration())
        rows = {one.setting: one for one in found.changes}
        timeout = rows["integration.agent.timeout_s"]
        assert (timeout.before, timeout.applied) == (2.0, True)
        assert timeout.after < 2.0
        stage.bus.waited.clear()
        await stage.monitor.own["agent"].measure()
        assert stage.bus.waited == [timeout.after]
        assert asked == [ConfigureBatching(batch_size=8, batch_timeout_ms=20.0)]
    again = Stage(hub)
    async with again.bus:
        await again.monitor.restore()
        assert again.monitor.own["agent"].settings.timeout_s == timeout.after


async def test_a_refused_setting_is_not_told_as_applied(store: Store):
    """If the agent actor says no, the answer says so with its reason."""
    stage = Stage()

    async def ask(_message: Any) -> None:
        raise ConflictError("not now")

    await fill(store, [task(n, NOW - 600 + n, run_ms=20.0) for n in range(400)])
    async with stage.bus:
        found = await stage.integration(store, ask).optimize(OptimizeIntegration())
    assert found.changes
    assert not any(one.applied for one in found.changes)
    assert all("not now" in one.because for one in found.changes)


async def test_too_little_measured_names_no_setting(store: Store):
    """Nothing is made up: without checks and tasks there is no change at all."""
    stage = Stage()
    await fill(store, [task(n, NOW - 60 + n) for n in range(20)])
    async with stage.bus:
        assert (await stage.integration(store).optimize(OptimizeIntegration())).changes == []


async def test_the_batching_in_force_is_the_one_before(store: Store):
    """What somebody set earlier is what a change starts from; the same value is no change."""
    stage = Stage()
    await store.set_setting(BATCHING, {"batch_size": 8, "batch_timeout_ms": 20.0})
    await fill(store, [task(n, NOW - 600 + n, run_ms=20.0) for n in range(400)])
    async with stage.bus:
        found = await stage.integration(store).optimize(OptimizeIntegration())
    assert [(one.before, one.after, one.applied) for one in found.changes] == [(8.0, 8.0, False), (20.0, 20.0, False)]


def test_timeouts_follow_the_round_trips():
    """Steady and fast = short, jittery = longer, never below twice the slowest seen, and silent below 30 checks."""
    steady, jittery = advise_timeout([5.0] * 100), advise_timeout([5.0, 45.0] * 50)
    assert steady is not None
    assert jittery is not None
    assert steady.value == 0.25
    assert 0.25 < jittery.value <= 5.0
    slow = advise_timeout([5.0] * 99 + [900.0])
    assert slow is not None
    assert slow.value >= 1.8
    assert advise_timeout([5.0] * 29) is None


def test_breakers_open_after_more_failures_where_checks_fail_alone_more_often():
    """At 2 % lone failures and 8,640 checks a day, so many in a row happen less than once a day."""
    good, bad = advise_failures(240, 0, 10.0), advise_failures(240, 24, 10.0)
    assert good is not None
    assert bad is not None
    assert 2 <= good.value < bad.value <= 10
    assert 0.0158**good.value * 8640 < 1
    assert advise_failures(29, 0, 10.0) is None


def test_batches_follow_littles_law():
    """1,000 tasks a second of 30 ms are 30 at once: 32; ten a second need no more than the least."""
    many, few = advise_batch_size(1000.0, [30.0] * 500), advise_batch_size(10.0, [30.0] * 500)
    assert many is not None
    assert few is not None
    assert (many.value, few.value) == (32.0, 8.0)
    assert advise_batch_size(10.0, [30.0] * 199) is None
    wait = advise_batch_timeout([4.0] * 190 + [9.0] * 10)
    assert wait is not None
    assert wait.value == 4.0


def test_a_fifth_is_worth_a_change():
    """Less is noise."""
    advice = advise_batch_timeout([10.0] * 500)
    assert advice is not None
    assert not is_better(9.0, advice)
    assert is_better(8.0, advice)
    assert is_better(0.0, advice)
