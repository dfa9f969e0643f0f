"""A changed setting is measured again, and goes back by itself unless it holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from actors.refining.advice import LEAST_CHECKS
from actors.refining.link import LinkSettings
from actors.refining.probation import BATCHING
from actors.refining.verifying import PATIENCE_S, OnTrial, Sample, chance_of_more, judge, slow_sample
from chimera.bus.memory import MemoryHub
from chimera.store.contract import Store
from subjects.agent import ConfigureBatching
from subjects.insight import Change, OptimizeIntegration
from tests.support.figures import NOW, fill, store_in, task
from tests.support.layers import Stage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An open store."""
    async with store_in(tmp_path) as opened:
        yield opened


async def applied(stage: Stage, store: Store) -> ConfigureBatching:
    """A stage on which a shorter timeout for the agent and new batches were just put in force; the batches."""
    stage.bus.layers = {"agent": 5.0}
    await fill(store, [task(n, NOW - 600 + n, run_ms=20.0 + n % 10) for n in range(400)])

    async def ask(message: ConfigureBatching) -> None:
        await store.set_setting(BATCHING, msgspec.to_builtins(message))

    for _ in range(LEAST_CHECKS):
        await stage.monitor.measure()
    found = await stage.integration(store, ask).optimize(OptimizeIntegration())
    assert set(found.on_trial) == {"agent", BATCHING}
    return await in_force(store)


async def in_force(store: Store) -> ConfigureBatching:
    """The batching that the agent actor was told last."""
    return msgspec.convert(await store.setting(BATCHING), ConfigureBatching)


async def measured_again(stage: Stage, checks: float | None) -> None:
    """Enough checks that take so many ms, or are never answered."""
    stage.bus.layers = {"agent": checks}
    for _ in range(LEAST_CHECKS):
        await stage.clock.advance(100.0 if checks is None else 0.0)  # so that an open breaker asks again
        await stage.monitor.measure()
    await stage.probation.look()


async def test_what_holds_stays(store: Store):
    """With as few failures as before a change is kept, told with its evidence, and may be changed again."""
    stage = Stage()
    async with stage.bus:
        await applied(stage, store)
        after = stage.monitor.own["agent"].settings
        await stage.probation.look()
        assert stage.probation.under_way == {"agent", BATCHING}, "nothing was measured since"
        await measured_again(stage, 6.0)
        assert stage.monitor.own["agent"].settings == after != LinkSettings()
    assert stage.probation.under_way == {BATCHING}
    [verified] = stage.probation.ended
    assert (verified.verdict, verified.changes[0].setting) == ("kept", "integration.agent.timeout_s")
    name, words, fields = stage.events[-1]
    assert (name, fields["before"], fields["after"], fields["taken_back"]) == (
        "resource-optimization", [0, 31], [0, 30], False,
    )  # fmt: skip
    assert "0 of 31 checks failed before, 0 of 30 after" in words


async def test_a_change_after_which_checks_fail_goes_back(store: Store):
    """Failures that were not there before take the timeout back to what it was."""
    stage = Stage()
    async with stage.bus:
        await applied(stage, store)
        assert stage.monitor.own["agent"].settings != LinkSettings()
        await measured_again(stage, None)
        assert stage.monitor.own["agent"].settings == LinkSettings()
    assert stage.probation.ended[0].verdict == "worse"
    assert stage.events[-1][2]["level"] == "warning"


BEFORE = ConfigureBatching(batch_size=32, batch_timeout_ms=2.0)


@pytest.mark.parametrize(("slower", "verdict"), [(25.0, "worse"), (0.0, "kept")])
async def test_batches_after_which_tasks_are_slower_go_back(store: Store, slower: float, verdict: str):
    """More tasks over what 95 % took before bring the former batches back; as fast as before, they stay."""
    await store.set_setting(BATCHING, msgspec.to_builtins(BEFORE))
    stage = Stage()
    async with stage.bus:
        after = await applied(stage, store)
        began = stage.clock.time()
        await fill(store, [task(10_000 + n, began + 1 + n / 10, run_ms=20.0 + n % 10 + slower) for n in range(300)])
        await stage.clock.advance(60.0)
        await stage.probation.look()
        assert stage.probation.ended[0].verdict == verdict
        assert await in_force(store) == (BEFORE if verdict == "worse" else after)


@pytest.mark.parametrize("meanwhile", [None, ConfigureBatching(batch_size=64, batch_timeout_ms=9.0)])
async def test_what_cannot_be_measured_goes_back_and_what_others_changed_stays(
    store: Store, meanwhile: ConfigureBatching | None
):
    """After an hour without tasks the batches are as before; but a person's own setting is left alone."""
    await store.set_setting(BATCHING, msgspec.to_builtins(BEFORE))
    stage = Stage()
    async with stage.bus:
        await applied(stage, store)
        if meanwhile is not None:
            await store.set_setting(BATCHING, msgspec.to_builtins(meanwhile))
        await stage.clock.advance(PATIENCE_S)
        await stage.probation.look()
        assert await in_force(store) == (meanwhile or BEFORE)
    [words] = [words for _, words, fields in stage.events if fields.get("what") == BATCHING]
    assert ("somebody else" in words) is (meanwhile is not None)


async def test_a_restart_remembers_what_is_on_trial_and_a_second_call_leaves_it(store: Store):
    """What was noted before the change brings it back after a crash; meanwhile nobody changes it again."""
    hub = MemoryHub()
    stage = Stage(hub)
    async with stage.bus:
        await applied(stage, store)
    again = Stage(hub)
    again.bus.layers = {"agent": 800.0}
    async with again.bus:
        await again.monitor.restore()
        part = again.integration(store)
        await again.probation.restore()
        assert again.probation.under_way == {"agent", BATCHING}
        for _ in range(LEAST_CHECKS):
            await again.monitor.measure()
        changes: list[Change] = (await part.optimize(OptimizeIntegration())).changes
        assert not any(one.applied for one in changes if one.setting.startswith(("agent.", "integration.agent")))


def test_the_chance_is_fishers():
    """Against the tea-tasting table: 4 of 4 where half are right by chance is 1 in 70; no difference is likely."""
    assert chance_of_more(Sample(count=4, bad=0), Sample(count=4, bad=4)) == pytest.approx(1 / 70)
    assert chance_of_more(Sample(count=4, bad=1), Sample(count=4, bad=3)) == pytest.approx(17 / 70)
    assert chance_of_more(Sample(count=400, bad=20), Sample(count=200, bad=0)) == pytest.approx(1.0)
    assert chance_of_more(Sample(count=20_000, bad=1000), Sample(count=20_000, bad=1300)) < 1e-9


def test_it_is_judged_once_enough_was_measured():
    """Too little says nothing for an hour; then it goes back."""
    trial = OnTrial(what="agent", changes=[], since=0.0, least=30, before=Sample(count=30, bad=0), link=LinkSettings())
    assert judge(trial, Sample(count=29, bad=29), PATIENCE_S - 1) is None
    assert judge(trial, Sample(count=29, bad=0), PATIENCE_S) == "unmeasured"
    assert judge(trial, Sample(count=30, bad=1), 1.0) == "kept"
    assert judge(trial, Sample(count=30, bad=9), 1.0) == "worse"
    assert slow_sample([1.0, None, 3.0], 2.0) == Sample(count=3, bad=2)
