"""Requests that wait: answered in order, by priority and fairly; leases taken back with notice, whole or not at all."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from chimera.bus import Bus
from chimera.errors import ConflictError, NoCapacityError
from chimera.system import System
from subjects.gpu_broker import ConfigureBroker, GetRules, TenantRule
from subjects.lease import GetLease, GiveBack, Lease, ListLeases, Need, Renew
from tests.support import lending
from tests.support.lending import eventually, lease

pytestmark = pytest.mark.anyio


@pytest.fixture
async def system(bus: Bus) -> AsyncGenerator[System]:
    """A broker that knows one node of two GPUs."""
    await lending.wipe(bus)
    async with lending.broker(bus) as system:
        await lending.join(bus, "n1", lending.gpus(2))
        await lending.known(system, 2)
        yield system


async def waits(system: System, name: str, place: int = 0) -> Lease:
    """A request, once it waits at the place (0 = anywhere)."""

    async def found() -> Lease | None:
        for one in (await system.ask(ListLeases())).waiting:
            if one.id == name and place in {0, one.position}:
                return one
        return None

    return await eventually(found)


async def nobody_waits(system: System) -> bool:
    """Whether no request waits."""
    return not (await system.ask(ListLeases())).waiting


async def test_who_waits_is_answered_when_something_comes_back(system: System):
    """A request with patience gets the device that another gives back, and is told its place meanwhile."""
    held = [await lease(system), await lease(system)]
    got: list[Lease] = []

    async def ask() -> None:
        got.append(await lease(system, id="patient", wait_s=15))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        waiting = await waits(system, "patient")
        assert (waiting.state, waiting.position) == ("waiting", 1)
        await system.ask(GiveBack(id=held[1].id))
    assert got[0].grants[0].device == held[1].grants[0].device


async def test_nobody_who_waits_is_granted_twice(system: System, bus: Bus):
    """With many who wait and give back at once, each lease has one device, and one line in the ledger."""

    async def cycle(number: int) -> None:
        for turn in range(4):
            held = await lease(system, id=f"l{number}-{turn}", wait_s=15)
            await system.ask(GiveBack(id=held.id, token=held.token))

    async with anyio.create_task_group() as group:
        for number in range(24):
            group.start_soon(cycle, number)

    async def all_booked() -> bool:
        return len(await lending.ledger(bus)) >= 96

    await eventually(all_booked)
    lines = await lending.ledger(bus)
    assert len({line.lease for line in lines}) == len({(line.lease, line.token) for line in lines}) == 96


async def test_who_waits_too_long_is_told_the_place_and_an_estimate(system: System):
    """The refusal comes at the end of the wait, with the position; past returns make the estimate."""
    held = [await lease(system), await lease(system)]
    await system.ask(GiveBack(id=held[0].id))
    await lease(system)
    with pytest.raises(NoCapacityError) as refused:
        await lease(system, wait_s=0.3)
    data = refused.value.data or {}
    assert data["position"] == 1
    assert data["estimate_s"] > 0
    assert not (await system.ask(ListLeases())).waiting


async def test_the_larger_priority_is_first(system: System):
    """Of two that wait, the more important one is served first, although it came later."""
    held = [await lease(system), await lease(system)]
    order: list[str] = []

    async def ask(name: str, priority: int) -> None:
        await lease(system, id=name, priority=priority, wait_s=15)
        order.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "low", 10)
        await waits(system, "low")
        group.start_soon(ask, "high", 90)
        await waits(system, "high", place=1)
        await system.ask(GiveBack(id=held[0].id))
        await lending.until(lambda: order == ["high"])
        await system.ask(GiveBack(id=held[1].id))
    assert order == ["high", "low"]


async def test_a_gang_that_waited_long_is_not_passed_by_small_ones(system: System):
    """Once its patience is over nothing is granted past it, so that two single devices add up to it."""
    await system.ask(ConfigureBroker(patience_s=0.2))
    held = [await lease(system), await lease(system)]
    got: list[str] = []

    async def ask(name: str, devices: int, priority: int) -> None:
        granted = await lease(system, Need(devices=devices), id=name, wait_s=15, priority=priority)
        got.append(name)
        await system.ask(GiveBack(id=granted.id))

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "gang", 2, 0)
        await waits(system, "gang")
        await anyio.sleep(0.3)
        group.start_soon(ask, "small", 1, 100)
        await waits(system, "small")
        await system.ask(GiveBack(id=held[0].id))
        await anyio.sleep(0.3)
        assert got == []
        await system.ask(GiveBack(id=held[1].id))
    assert got[0] == "gang"


async def test_a_request_that_waits_can_be_cancelled(system: System):
    """Releasing it ends the wait with a conflict, and nobody waits any more."""
    await lease(system, Need(devices=2))
    seen: list[Any] = []

    async def ask() -> None:
        with pytest.raises(ConflictError) as refused:
            await lease(system, id="gone", wait_s=15)
        seen.append(refused.value)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await waits(system, "gone")
        assert (await system.ask(GiveBack(id="gone"))).state == "released"
    assert len(seen) == 1
    assert not (await system.ask(ListLeases())).waiting


async def test_a_caller_that_goes_away_leaves_nothing_behind(system: System, bus: Bus):
    """Its place is free, and a lease that nobody can name is given back, at the latest when its time is over."""
    held = await lease(system, Need(devices=2))
    with anyio.move_on_after(0.3):
        await lease(system, wait_s=15)
    await eventually(lambda: nobody_waits(system))
    await system.ask(GiveBack(id=held.id))
    for number in range(20):
        answered: Lease | None = None
        with anyio.move_on_after(0.0002 * number), suppress(NoCapacityError):
            answered = await lease(system, ttl_s=1)
        if answered is not None:
            await system.ask(GiveBack(id=answered.id))

    async def all_free() -> bool:
        return not any(one.grants for one in (await lending.records(bus)).values())

    await eventually(all_free)


async def test_a_tenant_gets_back_what_it_is_owed(system: System):
    """A tenant below its quota makes one that is beyond its own give a device back, after notice; not the other way."""
    rules = {"a": TenantRule(gpus=1.0), "b": TenantRule(gpus=1.0)}
    await system.ask(ConfigureBroker(tenants=rules, notice_s=0.5))
    held = [await lease(system, tenant="a", ttl_s=60), await lease(system, tenant="a", ttl_s=60)]
    owed = await lease(system, tenant="b", wait_s=15)
    lost = {one.id for one in held} - {one.id for one in (await system.ask(ListLeases(tenant="a"))).leases}
    assert len(lost) == 1
    assert owed.grants[0].device in {one.grants[0].device for one in held if one.id in lost}
    with pytest.raises(NoCapacityError):
        await lease(system, tenant="b", wait_s=1.5)
    assert len((await system.ask(ListLeases(tenant="a"))).leases) == 1


async def test_a_renewal_does_not_outlive_notice(system: System):
    """Who has notice is told at the next renewal, cannot extend the lease beyond it, and loses it then."""
    await system.ask(ConfigureBroker(notice_s=1.0))
    low = await lease(system, Need(devices=2), preemptible=True, priority=1, ttl_s=60)
    got: list[Lease] = []

    async def ask() -> None:
        got.append(await lease(system, Need(devices=2), priority=90, wait_s=15))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)

        async def noticed() -> Lease | None:
            renewed = await system.ask(Renew(id=low.id, token=low.token))
            return renewed if renewed.revoke_at is not None else None

        told = await eventually(noticed)
        assert told.expires_at == told.revoke_at
        assert "priority" in told.reason
    assert len(got[0].grants) == 2


async def test_nobody_is_evicted_for_a_part(system: System):
    """Where preemption can't make room for all of a gang, the preemptible lease stays."""
    await system.ask(ConfigureBroker(notice_s=0.1))
    low = await lease(system, preemptible=True, priority=1, ttl_s=60)
    await lease(system, priority=99, ttl_s=60)
    with pytest.raises(NoCapacityError):
        await lease(system, Need(devices=2), priority=90, wait_s=2.5)
    assert (await system.ask(GetLease(id=low.id))).revoke_at is None


async def test_an_idle_lease_is_taken_back(system: System):
    """A holder that says that it does not use its device loses it after the idle window and the notice."""
    await system.ask(ConfigureBroker(idle_s=0.5, notice_s=0.3))
    held = await lease(system, ttl_s=60)

    async def lost() -> bool:
        return held.id not in {one.id for one in (await system.ask(ListLeases())).leases}

    await eventually(lost, 30)


async def test_a_tenant_has_no_more_than_its_most(system: System):
    """A limit refuses what is beyond it although there are devices, and at once what could never be."""
    await system.ask(ConfigureBroker(tenants={"small": TenantRule(most_gpus=1.0)}))
    await lease(system, tenant="small")
    with pytest.raises(NoCapacityError, match="at most 1 GPUs"):
        await lease(system, tenant="small")
    with pytest.raises(NoCapacityError, match="never"):
        await lease(system, Need(devices=2), tenant="small", wait_s=10)
    await lease(system, tenant="other")


async def test_rules_are_kept_and_shared(second: Bus, system: System):
    """What is configured is there for another broker, also for one that starts later; what is not given stays."""
    await system.ask(ConfigureBroker(packing="spread", idle_s=600.0))
    await system.ask(ConfigureBroker(notice_s=5.0))
    async with lending.broker(second, node="b2") as other:
        rules = await other.ref("gpu_broker", node="b2").ask(GetRules())
        assert (rules.packing, rules.idle_s, rules.notice_s) == ("spread", 600.0, 5.0)
