"""Money and joules on both buses: what was used is the ledger, budgets hold, and what is proposed rests on records."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from actors.brokering.streams import usage_spec
from actors.gpu_broker import GpuBroker
from chimera.bus import Bus
from chimera.errors import ConflictError, OverBudgetError
from chimera.system import System
from chimera.wire import encode
from subjects.capacity import PlanCapacity
from subjects.cost import Costs, GetBudget, GetCostPlan, GetCosts, Price, SetBudget, SetPrices
from subjects.gpu_broker import ConfigureBroker
from subjects.lease import SAMPLED, USED, GetLease, GiveBack, LeaseInterval, Need, Sampled
from tests.support import lending
from tests.support.lending import eventually, lease

pytestmark = pytest.mark.anyio
PRICES = [Price(model="A100", per_hour=3.0, gpus=2), Price(model="", per_hour=0.5, processors=8)]


@pytest.fixture
async def system(bus: Bus) -> AsyncGenerator[System]:
    """A broker that knows two nodes of two GPUs each, with their processors, and one of processors only."""
    await lending.wipe(bus)
    left = 60.0 - time.time() % 60.0
    if left < 15.0:  # a sample of the broker's own, taken at the full minute, would come before those it is told
        await anyio.sleep(left + 0.1)
    async with lending.broker(bus) as system:
        await fill(bus, system)
        yield system
        await system.ask(SetBudget(tenant="t"))


async def fill(bus: Bus, system: System) -> None:
    """Nodes."""
    for name in ("n1", "n2"):
        await lending.join(bus, name, [*lending.gpus(2, prefix=name), lending.processors(name)])
    await lending.join(bus, "n3", [lending.processors("n3")])
    await lending.known(system, 7)


async def use(system: System, need: Need | None = None, **fields: Any) -> None:
    """Take a lease and give it back."""
    granted = await lease(system, need, **fields)
    await system.ask(GiveBack(id=granted.id, token=granted.token))


async def costs(system: System, **fields: Any) -> Costs:
    """The ledger of the last hour."""
    return await system.ask(GetCosts(hours=1, **fields), timeout_s=15)


async def told(bus: Bus, subject: str, rows: list[LeaseInterval] | list[Sampled]) -> None:
    """Write to the ledger what another broker would."""
    await bus.declare(usage_spec())
    await bus.append_many([(subject, encode(row), uuid.uuid4().hex) for row in rows])


def line(lease: str, began_at: float, ended_at: float, **fields: Any) -> LeaseInterval:
    """A whole GPU that a tenant had."""
    given: dict[str, Any] = {
        "lease": lease, "device": "G", "node": "n1", "kind": "gpu", "model": "NVIDIA A100", "layer": "l", "tenant": "t",
        "agent": "a", "milli": 1000, "memory_mib": 0, "share": 1.0, "token": 1, "began_at": began_at,
        "ended_at": ended_at, "end": "released", "device_milli": 1000, "node_gpus": 2,
    }  # fmt: skip
    return LeaseInterval(**(given | fields))


def samples(until: float, minutes: int, lent: list[float] | None = None) -> list[Sampled]:
    """Minutes of four GPUs of which some are lent, each of which takes 100 W."""
    last = until // 60 * 60
    return [
        Sampled(
            at=last - 60 * (minutes - 1 - number), kind="gpu", model="NVIDIA A100", devices=4, total=4.0,
            lent=(lent or [1.0])[number % len(lent or [1.0])], wanted=0.0, waiting=0, busy=0.5, joules=24_000.0,
            joules_from="counter",
        )
        for number in range(minutes)
    ]  # fmt: skip


async def test_the_ledger_adds_up_to_its_intervals(system: System, bus: Bus):
    """Hours by layer, tenant and agent are the sums of the intervals in the stream, and live leases count up to now."""
    for number in range(6):
        await use(system, Need(milli=(number % 3 + 1) * 250), tenant="ab"[number % 2], agent="x")
    await use(system, Need(kind="cpu", milli=2_000), tenant="a", agent="x")
    await eventually(lambda: all_stored(bus, 7))
    stored = {(one.lease, one.device): one for one in await lending.ledger(bus)}.values()
    found = {row.tenant: row for row in (await costs(system)).lines if not row.idle}
    for tenant, row in found.items():
        own = [one for one in stored if one.tenant == tenant]
        gpus = sum((one.ended_at - one.began_at) * one.share for one in own if one.kind == "gpu") / 3600
        cpus = sum((one.ended_at - one.began_at) * one.milli / 1000 for one in own if one.kind == "cpu") / 3600
        assert row.gpu_hours == pytest.approx(gpus, rel=1e-3, abs=1e-8)
        assert (row.cpu_hours, row.leases) == (pytest.approx(cpus, rel=1e-3, abs=1e-8), len(own))
    before = found["a"].gpu_hours
    await lease(system, tenant="a", agent="x")
    await anyio.sleep(0.02)
    (row,) = (await costs(system, tenant="a")).lines
    assert (row.gpu_hours > before, row.leases) == (True, found["a"].leases + 1)


async def all_stored(bus: Bus, count: int) -> bool:
    """Whether so many leases stand in the ledger."""
    return len({line.lease for line in await lending.ledger(bus)}) >= count


async def test_a_line_that_is_told_twice_is_counted_once(system: System, bus: Bus):
    """The same interval under two message ids is one interval; another token of the same lease is another one."""
    now = time.time()
    one = line("l1", now - 600, now - 60)
    await told(bus, USED, [one])
    await bus.append(USED, encode(one), msg_id=uuid.uuid4().hex)
    await told(bus, USED, [line("l1", now - 60, now - 30, token=2)])

    async def read() -> bool:
        (row,) = (await costs(system, tenant="t")).lines or [None]
        return row is not None and row.gpu_hours == pytest.approx(570 / 3600, abs=1e-6)

    await eventually(read)
    (row,) = (await costs(system, tenant="t")).lines
    assert row.leases == 1


async def test_prices_make_money_and_outlive_the_broker(system: System, bus: Bus):
    """A GPU costs its part of the node; without a price nothing is told; another broker has prices and use, too."""
    now = time.time()
    await told(bus, USED, [line("l1", now - 1800, now), line("l2", now - 1800, now, tenant="u", model="H200")])
    await eventually(lambda: enough_lines(system, 2))
    assert (await costs(system)).cost is None
    listed = await system.ask(SetPrices(currency="EUR", prices=PRICES))
    assert (listed.currency, listed.prices) == ("EUR", PRICES)
    found = {row.tenant: row for row in (await costs(system)).lines if not row.idle}
    assert (found["t"].cost, found["u"].cost) == (pytest.approx(0.75), None)
    async with lending.broker(bus, node="b2") as other:
        await lending.known(other, 7)
        again = {row.tenant: row.cost for row in (await costs(other)).lines if not row.idle}
        assert again["t"] == pytest.approx(0.75)


async def enough_lines(system: System, count: int) -> bool:
    """Whether so many lines are known."""
    return len([row for row in (await costs(system)).lines if not row.idle]) >= count


async def test_energy_is_shared_out_and_idle_is_a_line_of_its_own(system: System, bus: Bus):
    """Of 24 kJ a minute over four GPUs a lease of one has a quarter, labelled by its source; the rest was idle."""
    now = time.time()
    end = now // 60 * 60
    await told(bus, SAMPLED, samples(now, 30))
    await told(bus, USED, [line("l1", end - 1200, end - 600)])
    await eventually(lambda: enough_lines(system, 1))
    found = await costs(system)
    mine, idle = (next(row for row in found.lines if row.idle is which) for which in (False, True))
    assert (mine.joules, mine.joules_from) == (pytest.approx(60_000), "counter")
    assert (mine.joules or 0) + (idle.joules or 0) == pytest.approx(30 * 24_000)
    assert (idle.gpu_hours, found.idle_share) == (pytest.approx(30 * 3 / 60), pytest.approx(0.75))


async def test_a_budget_refuses_what_it_does_not_cover(system: System):
    """The refusal says the budget, what is used, and when it renews; others are lent to; without it all is lent."""
    await system.ask(SetPrices(prices=PRICES))
    shown = await system.ask(SetBudget(tenant="t", amount=0.01, period_s=86_000))
    assert [(one.tenant, one.period_s) for one in shown.budgets] == [("t", 86_040)]
    granted = await lease(system, tenant="t", ttl_s=20)
    with pytest.raises(OverBudgetError) as refused:
        await lease(system, tenant="t", ttl_s=3600)
    text, data = refused.value.detail, refused.value.data or {}
    assert all(word in text for word in ("tenant t", "0.01 EUR", "used", "renews at")), text
    assert data["needs"] == pytest.approx(1.5)
    assert data["renews_at"] == shown.budgets[0].begins_at + 86_040
    assert refused.value.executed == "no"
    await use(system, tenant="u", ttl_s=3600)
    (at,) = (await system.ask(GetBudget(tenant="t"))).budgets
    assert 0 < at.used + at.committed == pytest.approx(20 * 1.5 / 3600, rel=0.2)
    assert at.left == pytest.approx(at.amount - at.used - at.committed)
    await system.ask(GiveBack(id=granted.id))
    await system.ask(SetBudget(tenant="t", amount=0))
    await use(system, tenant="t", ttl_s=3600)


async def test_two_requests_at_once_are_not_both_covered(system: System):
    """What is being granted is reserved: of four requests at the same moment a budget for one grants one."""
    await system.ask(SetPrices(prices=PRICES))
    await system.ask(SetBudget(tenant="t", amount=1.5 * 1.5, period_s=31_536_000))
    outcomes: list[str] = []

    async def ask() -> None:
        try:
            await lease(system, tenant="t", ttl_s=3600)
            outcomes.append("granted")
        except OverBudgetError:
            outcomes.append("refused")

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(ask)
    assert sorted(outcomes) == ["granted", "refused", "refused", "refused"]


async def test_a_budget_of_money_needs_prices_and_one_of_joules_a_reading(system: System):
    """What can't be held against a budget is refused with what to do, not let through."""
    await system.ask(SetPrices(prices=[]))
    with pytest.raises(ConflictError, match="no prices"):
        await system.ask(SetBudget(tenant="t", amount=1))
    await system.ask(SetBudget(tenant="t", unit="joules", amount=1e9))
    with pytest.raises(OverBudgetError, match="nothing tells what"):
        await lease(system, tenant="t")
    await system.ask(SetPrices(prices=PRICES[:1]))
    await system.ask(SetBudget(tenant="t", amount=1000))
    with pytest.raises(OverBudgetError, match="no price is set"):
        await lease(system, Need(kind="cpu", milli=100), tenant="t")


async def test_what_runs_over_its_budget_has_notice_and_is_taken_back(
    system: System, bus: Bus, monkeypatch: pytest.MonkeyPatch
):
    """A live lease whose tenant's budget is used up is given the rules' notice with the reason, then revoked."""
    monkeypatch.setattr("actors.brokering.budgeting.WATCH_S", 0.05)
    await system.ask(ConfigureBroker(notice_s=0.2))
    await system.ask(SetPrices(prices=PRICES))
    await system.ask(SetBudget(tenant="t", amount=1.0, period_s=31_536_000))
    async with lending.broker(bus, node="b2") as other:
        await lending.known(other, 7)
        granted = await lease(other, tenant="t", ttl_s=600)
        kept = await lease(other, tenant="u", ttl_s=600)
        now = time.time()
        await told(bus, USED, [line("past", now - 3000, now)])
        await eventually(lambda: revoked(bus, granted.id))
        assert (await other.ask(GetLease(id=kept.id))).state == "granted"
    ended = next(one for one in await lending.ledger(bus) if one.lease == granted.id)
    assert ended.end == "revoked"


async def test_a_budget_learns_what_other_brokers_store(system: System, bus: Bus, monkeypatch: pytest.MonkeyPatch):
    """What was added up once is not believed for ever: use that is told later counts at the door."""
    monkeypatch.setattr("actors.brokering.standings.LOOK_S", 0.05)
    monkeypatch.setattr("actors.brokering.budgeting.WATCH_S", 1000.0)
    await system.ask(SetPrices(prices=PRICES))
    await system.ask(SetBudget(tenant="t", amount=1.0, period_s=31_536_000))
    await use(system, tenant="t", ttl_s=5)
    now = time.time()
    await told(bus, USED, [line("past", now - 3000, now)])

    async def refused() -> bool:
        try:
            await use(system, tenant="t", ttl_s=5)
        except OverBudgetError:
            return True
        return False

    await eventually(refused, timeout_s=4.0)


async def revoked(bus: Bus, lease: str) -> bool:
    """Whether the ledger has a lease's end."""
    return any(one.lease == lease for one in await lending.ledger(bus))


async def test_the_plan_names_measures_with_their_basis(system: System, bus: Bus):
    """With two hours of samples and prices: a smaller mix and an empty node, labelled as modelled, most saved first."""
    assert any("are needed" in text or "no prices" in text for text in (await plan(system)).words)
    await told(bus, SAMPLED, samples(time.time(), 120, [0.0, 1.0]))
    await system.ask(SetPrices(prices=PRICES))
    await lease(system, Need(milli=500), tenant="t", ttl_s=600)

    async def enough() -> bool:
        return (await plan(system)).hours >= 2

    await eventually(enough, timeout_s=30)
    found = {one.kind: one for one in (await plan(system)).savings}
    mix = found["node-mix"]
    assert (mix.basis, mix.unit, mix.figures["proved"]) == ("modelled", "money", "yes")
    assert mix.saves == pytest.approx((3.0 + 3.0 + 0.5 - 3.0) * 24)
    assert found["consolidation"].figures["nodes"] >= 1
    assert found["consolidation"].how.startswith("chimera gpu drain --node n")


async def plan(system: System) -> Any:
    """The plan of the last day."""
    return await system.ask(GetCostPlan(hours=24), timeout_s=30)


async def test_capacity_is_forecast_from_what_was_recorded(system: System, bus: Bus):
    """Six days of a daily rhythm: a forecast with an interval and its measured error; before that, why there's none."""
    first = {one.kind: one for one in (await system.ask(PlanCapacity(hours=12), timeout_s=30)).kinds}
    assert (first["gpu"].points, first["gpu"].error, first["gpu"].there) == ([], None, 4.0)
    assert "no forecast yet" in first["gpu"].recommendation
    hour = [2.0 + 1.5 * math.sin(2 * math.pi * number / 24) for number in range(24)]
    minutes = 6 * 1440
    lent = [hour[number // 60 % 24] for number in range(1440)]
    await told(bus, SAMPLED, [row for number, row in enumerate(samples(time.time(), minutes, lent)) if number % 2])

    async def done() -> Any:
        kinds = (await system.ask(PlanCapacity(hours=12), timeout_s=30)).kinds
        found = next(one for one in kinds if one.kind == "gpu")
        return found if found.hours_of_history >= 140 else None

    found = await eventually(done, timeout_s=40)
    assert len(found.points) == 12
    assert all(point.low <= point.expected <= point.high for point in found.points)
    assert found.points[0].at > time.time()
    assert found.error < 0.2 < found.naive_error or found.naive_error < 0.2  # either knows the day
    assert 0.5 <= found.coverage <= 1.0
    assert "held-out" in found.recommendation


async def test_every_change_of_money_is_audited():
    """Prices and budgets are privileged acts, as the rules are: what asks for them is recorded before it is done."""
    assert all(GpuBroker.handlers[kind].privileged for kind in (SetPrices, SetBudget, ConfigureBroker))
    assert not any(GpuBroker.handlers[kind].privileged for kind in (GetCosts, GetCostPlan, GetBudget, PlanCapacity))
