"""Leases on both buses: granted, shared, ganged, renewed, given back, and never twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest

from chimera.bus import Bus
from chimera.errors import BadMessageError, ConflictError, FencedError, NoCapacityError, NoLeaseError
from chimera.system import System
from subjects.gpu_broker import CheckBroker
from subjects.lease import GetLease, GiveBack, ListLeases, Need, Renew
from tests.support import lending
from tests.support.lending import eventually, lease

pytestmark = pytest.mark.anyio


@pytest.fixture
async def system(bus: Bus) -> AsyncGenerator[System]:
    """A broker that knows two nodes of two GPUs each, with their processors."""
    await lending.wipe(bus)
    async with lending.broker(bus) as system:
        for name in ("n1", "n2"):
            await lending.join(bus, name, [*lending.gpus(2, prefix=name), lending.processors(name)])
        await lending.known(system, 6)
        yield system


async def test_a_whole_gpu_is_one_holders(system: System, bus: Bus):
    """A lease names its device by UUID, with a token, an expiry and an environment; the record has the grant."""
    granted = await lease(system, id="mine", tenant="t", layer="refinement", agent="a", ttl_s=30)
    (grant,) = granted.grants
    stored = await lending.record(bus, grant.node, grant.device)
    (mine,) = stored.grants
    assert (granted.id, granted.state, mine.lease, mine.tenant) == ("mine", "granted", "mine", "t")
    assert granted.token == grant.token == mine.token == stored.token > 0
    assert granted.environment["CUDA_VISIBLE_DEVICES"] == grant.device
    assert granted.environment["CHIMERA_LEASE_ID"] == "mine"
    assert granted.expires_at == pytest.approx((granted.granted_at or 0) + 30)
    assert (stored.free_milli, stored.free_mib) == (0, 0)


async def test_four_gpus_serve_four_and_refuse_the_fifth(system: System):
    """All devices are lent before anybody is refused; the refusal has a position and says that it may be repeated."""
    held = [await lease(system) for _ in range(4)]
    assert len({one.grants[0].device for one in held}) == 4
    with pytest.raises(NoCapacityError) as refused:
        await lease(system)
    assert (refused.value.executed, (refused.value.data or {})["position"]) == ("no", 1)
    await system.ask(GiveBack(id=held[0].id, token=held[0].token))
    again = await lease(system)
    assert again.grants[0].device == held[0].grants[0].device
    assert again.token > held[0].token


async def test_shares_fill_a_device_before_they_break_another(system: System, bus: Bus):
    """Compute and memory are counted apart; a share that does not fit goes elsewhere, and whole devices stay whole."""
    first = await lease(system, Need(milli=500, memory_mib=4_000))
    second = await lease(system, Need(milli=300, memory_mib=4_000))
    third = await lease(system, Need(milli=100, memory_mib=12_000))
    assert first.grants[0].device == second.grants[0].device != third.grants[0].device
    assert first.environment["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "50"
    assert first.environment["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=4000M"
    stored = await lending.record(bus, first.grants[0].node, first.grants[0].device)
    assert (stored.free_milli, stored.free_mib) == (200, 16_384 - 8_000)


async def test_a_share_without_memory_gets_its_part_of_it(system: System):
    """Half of the compute is half of the memory, unless something else was asked for."""
    assert (await lease(system, Need(milli=500))).grants[0].memory_mib == 8_192


async def test_a_gang_is_granted_whole_or_not_at_all(system: System, bus: Bus):
    """Four GPUs over two nodes are one lease; where one is missing none is taken."""
    gang = await lease(system, Need(devices=4, one_node=False))
    assert len({grant.device for grant in gang.grants}) == 4
    assert gang.token == max(grant.token for grant in gang.grants)
    await system.ask(GiveBack(id=gang.id))
    await lease(system)
    with pytest.raises(NoCapacityError):
        await lease(system, Need(devices=4, one_node=False))
    assert sum(len(one.grants) for one in (await lending.records(bus)).values()) == 1


async def test_a_gang_on_one_node_takes_processors_beside_it(system: System, bus: Bus):
    """Two GPUs of one node and four of its processors are one lease with three grants."""
    gang = await lease(system, Need(devices=2, cpu_milli=4_000, main_memory_mib=1_024))
    assert [grant.kind for grant in gang.grants] == ["gpu", "gpu", "cpu"]
    assert len({grant.node for grant in gang.grants}) == 1
    cpu = await lending.record(bus, gang.grants[2].node, gang.grants[2].device)
    assert (cpu.free_milli, cpu.free_mib) == (4_000, 32_768 - 1_024)
    assert gang.environment["OMP_NUM_THREADS"] == "4"


async def test_processors_are_lent_like_gpus(system: System, bus: Bus):
    """A slot of a processor is a lease with a token; the sum of all slots never exceeds the node."""
    held = [await lease(system, Need(kind="cpu", milli=4_000)) for _ in range(4)]
    assert all(one.grants[0].kind == "cpu" for one in held)
    with pytest.raises(NoCapacityError):
        await lease(system, Need(kind="cpu", milli=1))
    assert all(one.free_milli >= 0 for one in (await lending.records(bus)).values())


async def test_a_model_a_capability_and_a_node_can_be_asked_for(system: System, bus: Bus):
    """Only what suits is lent; what does not exist is refused at once, whoever would wait for it."""
    await lending.join(bus, "n3", lending.gpus(1, prefix="H", model="NVIDIA H200"))
    await lending.known(system, 7)
    assert (await lease(system, Need(models=["h200"]))).grants[0].device == "H-0"
    assert (await lease(system, Need(node="n2"))).grants[0].node == "n2"
    for impossible in (Need(models=["B200"]), Need(capability="9.0"), Need(node="n9"), Need(devices=3)):
        with pytest.raises(NoCapacityError, match="do not exist here"):
            await lease(system, impossible, wait_s=30)
    for senseless in (Need(milli=1_500), Need(kind="cpu", models=["A100"])):
        with pytest.raises(BadMessageError):
            await lease(system, senseless)


async def test_asked_twice_it_is_the_same_lease(system: System, bus: Bus):
    """The same id with the same need is one lease, also at the same moment; with another need it is a conflict."""
    got: list[Any] = []

    async def ask() -> None:
        got.append(await lease(system, id="same"))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(ask)
    assert len({one.token for one in got}) == 1
    assert sum(len(one.grants) for one in (await lending.records(bus)).values()) == 1
    with pytest.raises(ConflictError):
        await lease(system, Need(milli=200), id="same")
    await system.ask(GiveBack(id="same"))
    with pytest.raises(ConflictError):
        await lease(system, id="same")


async def test_a_renewal_needs_the_token_and_extends(system: System):
    """A lease grows by its time to live from now; an older token is refused, and so is a lease that is over."""
    granted = await lease(system, ttl_s=5)
    renewed = await system.ask(Renew(id=granted.id, token=granted.token, ttl_s=100))
    assert (renewed.expires_at or 0) > (granted.expires_at or 0) + 90
    assert renewed.token == granted.token
    with pytest.raises(FencedError):
        await system.ask(Renew(id=granted.id, token=granted.token - 1))
    with pytest.raises(FencedError):
        await system.ask(GiveBack(id=granted.id, token=granted.token - 1))
    await system.ask(GiveBack(id=granted.id, token=granted.token))
    with pytest.raises(NoLeaseError):
        await system.ask(Renew(id=granted.id, token=granted.token))


async def test_releasing_twice_is_releasing_once(system: System):
    """The second time it is answered as it ended; a lease that never was is not found."""
    granted = await lease(system)
    assert (await system.ask(GiveBack(id=granted.id))).state == "released"
    assert (await system.ask(GiveBack(id=granted.id))).state == "released"
    with pytest.raises(NoLeaseError):
        await system.ask(GiveBack(id="never-was"))


async def test_what_is_not_renewed_expires_and_stands_in_the_ledger(system: System, bus: Bus):
    """A lease ends at its time, its share is free, and one line says from when to when it had it."""
    granted = await lease(system, ttl_s=1, tenant="t", agent="a")
    (line,) = await eventually(lambda: lending.ledger(bus))
    assert (line.lease, line.device, line.end, line.tenant, line.agent) == (
        granted.id, granted.grants[0].device, "expired", "t", "a"
    )  # fmt: skip
    assert (line.began_at, line.ended_at) == (granted.granted_at, granted.expires_at)
    assert line.share == 1.0
    assert (await lending.record(bus, line.node, line.device)).free_milli == 1000


async def test_the_ledger_has_each_lease_once(system: System, bus: Bus):
    """Forty leases of a few devices at once: forty lines with forty ids, and the records have forgotten them all."""

    async def use() -> None:
        for _ in range(10):
            granted = await lease(system, Need(milli=100), wait_s=10)
            await system.ask(GiveBack(id=granted.id, token=granted.token))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(use)

    async def all_stored() -> bool:
        lines = {line.lease for line in await lending.ledger(bus)}
        return len(lines) == 40 and not any(one.lines for one in (await lending.records(bus)).values())

    await eventually(all_stored)
    assert len(await lending.ledger(bus)) == 40


async def test_leases_are_listed_and_found(system: System):
    """By tenant and node, one by id; what is over is not there."""
    mine, other = await lease(system, tenant="t1"), await lease(system, tenant="t2")
    listed = await system.ask(ListLeases(tenant="t1"))
    assert ([one.id for one in listed.leases], listed.total) == ([mine.id], 1)
    assert (await system.ask(GetLease(id=other.id))).tenant == "t2"
    assert len((await system.ask(ListLeases(node=mine.grants[0].node))).leases) >= 1
    await system.ask(GiveBack(id=mine.id))
    with pytest.raises(NoLeaseError):
        await system.ask(GetLease(id=mine.id))


async def test_health_tells_what_was_measured(system: System):
    """Devices, leases, and how long grants took."""
    await lease(system)
    told = await system.ask(CheckBroker())
    assert (told.status, told.nodes, told.devices, told.ill, told.leases) == ("pass", 2, 6, 0, 1)
    assert told.grant_p50_ms is not None
    assert told.grant_p50_ms > 0
