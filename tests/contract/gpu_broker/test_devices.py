"""Devices as nodes tell of them: ill, silent, fenced, used by strangers, drained, forgotten; several brokers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from actors.brokering.changes import Ask, grant
from actors.brokering.record import Record, pack
from actors.brokering.streams import DEVICE, DEVICES
from chimera.bus import Bus
from chimera.clock import SystemClock
from chimera.errors import ConflictError, NoCapacityError, NoDeviceError
from chimera.system import System
from subjects.device import DeviceView, Drain, Forget, GetDevices, Undrain
from subjects.gpu_broker import BrokerHealth, CheckBroker, ConfigureBroker
from subjects.lease import Allocate, GiveBack, Need, Renew
from tests.support import lending
from tests.support.lending import PlayedNode, eventually, lease

pytestmark = pytest.mark.anyio


@pytest.fixture
async def system(bus: Bus) -> AsyncGenerator[System]:
    """A broker that knows nothing yet."""
    await lending.wipe(bus)
    async with lending.broker(bus) as system:
        yield system


@pytest.fixture
async def node(system: System, bus: Bus) -> PlayedNode:
    """A node of two GPUs that fences them."""
    node = await lending.join(bus, "n1", lending.gpus(2), fences=True)
    await lending.known(system, 2)
    return node


async def told(bus: Bus, node: PlayedNode, condition: Callable[[dict[str, Record]], object]) -> None:
    """Report, and wait until the records fulfil a condition."""

    async def so() -> bool:
        await node.report()
        return bool(condition(await lending.records(bus, node.name)))

    await eventually(so)


async def healthy(system: System, wanted: str) -> bool:
    """Whether the first device is of this health."""
    return (await system.ask(GetDevices())).devices[0].health == wanted


async def test_no_gpu_is_an_empty_list(system: System):
    """Without any device the broker is well, lists nothing, and refuses what does not exist."""
    assert (await system.ask(GetDevices())).devices == []
    assert (await system.ask(CheckBroker())).status == "pass"
    with pytest.raises(NoCapacityError, match="do not exist"):
        await lease(system)


async def test_readings_are_shown_where_there_are_some(system: System, node: PlayedNode):
    """What a device tells is shown; what it does not tell is nothing, not zero."""
    node.change("GPU-0", utilization=0.5, temperature_c=60.0, power_w=200.0, memory_used_mib=100)
    await node.report()

    async def read() -> list[DeviceView] | None:
        devices = (await system.ask(GetDevices())).devices
        return devices if devices[0].utilization is not None else None

    shown: list[DeviceView] = await eventually(read)
    assert (shown[0].temperature_c, shown[0].power_w, shown[0].memory_used_mib) == (60.0, 200.0, 100)
    assert (shown[1].utilization, shown[1].power_w, shown[1].health) == (None, None, "ok")


async def test_an_ill_device_is_alone_and_may_recover(system: System, bus: Bus, node: PlayedNode):
    """One GPU in trouble is lent to nobody; its neighbour is; when it is well again it is lent again."""
    node.change("GPU-0", trouble="off the bus (Xid 79)")
    await told(bus, node, lambda found: found["GPU-0"].trouble)
    assert (await lease(system)).grants[0].device == "GPU-1"
    with pytest.raises(NoCapacityError):
        await lease(system)
    node.change("GPU-0", trouble="")
    await told(bus, node, lambda found: not found["GPU-0"].trouble)
    assert (await lease(system)).grants[0].device == "GPU-0"


async def test_an_ended_lease_on_a_fenced_device_is_waited_for(system: System, bus: Bus, node: PlayedNode):
    """Its share is lent again only when the fence, having seen the end, says that nothing of the holder is left."""
    held = await lease(system, Need(devices=2))
    node.change("GPU-0", held=[held.id])
    await system.ask(GiveBack(id=held.id))
    ended = await lending.record(bus, "n1", "GPU-0")
    assert ended.grants[0].ended == "released"
    before = ended.version - 1
    node.change("GPU-1", seen=before)
    await node.report()  # a word from before the end
    with pytest.raises(NoCapacityError):
        await lease(system)
    node.change("GPU-1", seen=(await lending.record(bus, "n1", "GPU-1")).version)
    node.change("GPU-0", seen=ended.version)
    await told(bus, node, lambda found: not found["GPU-1"].grants)
    assert (await lease(system)).grants[0].device == "GPU-1"
    assert (await lending.record(bus, "n1", "GPU-0")).grants[0].lease == held.id
    node.change("GPU-0", held=[])
    await told(bus, node, lambda found: not found["GPU-0"].grants)
    assert (await lease(system)).grants[0].device == "GPU-0"


async def test_memory_of_strangers_is_not_lent(system: System, bus: Bus, node: PlayedNode):
    """A process without a lease takes its part of the device away; the device is not lent whole then."""
    node.change("GPU-0", foreign_mib=8_192)
    await told(bus, node, lambda found: found["GPU-0"].foreign_mib)
    assert (await lease(system)).grants[0].device == "GPU-1"
    assert (await lease(system, Need(milli=400, memory_mib=8_000))).grants[0].device == "GPU-0"
    with pytest.raises(NoCapacityError):
        await lease(system, Need(milli=100, memory_mib=1_000))


async def test_a_silent_node_lends_nothing(system: System, bus: Bus):
    """After three intervals without a word nothing of a node is lent; its leases go on; it comes back with a word."""
    node = await lending.join(bus, "n2", lending.gpus(1))
    await lending.known(system, 1)
    held = await lease(system, Need(milli=100), ttl_s=60)
    node.interval_s = 0.2
    await node.report()
    await eventually(lambda: healthy(system, "silent"))
    with pytest.raises(NoCapacityError):
        await lease(system, Need(milli=100))
    assert (await system.ask(Renew(id=held.id, token=held.token))).state == "granted"
    node.interval_s = 60.0
    await node.report()
    await eventually(lambda: healthy(system, "ok"))
    await lease(system, Need(milli=100))


@pytest.mark.usefixtures("node")
async def test_a_drained_node_empties(system: System, bus: Bus):
    """Nothing new is lent of it, what is lent gets notice if that is wanted, and undrained it is lent again."""
    held = await lease(system)
    answer = await system.ask(Drain(node="n1", notice_s=0.3, reason="a new fan"))
    assert all(device.drained for device in answer.devices)
    with pytest.raises(NoCapacityError):
        await lease(system)

    async def revoked() -> bool:
        grants = (await lending.record(bus, "n1", held.grants[0].device)).grants
        return grants[0].ended == "revoked"

    await eventually(revoked)
    await system.ask(Undrain(node="n1"))
    assert (await lease(system)).grants[0].device != held.grants[0].device
    with pytest.raises(NoDeviceError):
        await system.ask(Drain(device="GPU-9"))


async def test_what_will_not_come_back_is_forgotten(system: System, bus: Bus, node: PlayedNode):
    """A device that its node still tells of is not forgotten; another one is, and its lease is in the ledger."""
    held = await lease(system)
    gone = held.grants[0].device
    with pytest.raises(ConflictError):
        await system.ask(Forget(device=gone))
    node.devices = [one for one in node.devices if one.id != gone]
    await told(bus, node, lambda found: found[gone].trouble)
    await system.ask(Forget(device=gone))
    assert [device.id for device in (await system.ask(GetDevices())).devices] != [gone]
    assert gone not in await lending.records(bus)
    assert [(line.lease, line.end) for line in await lending.ledger(bus)] == [(held.id, "revoked")]


async def test_two_brokers_grant_nothing_twice(second: Bus, system: System, bus: Bus):
    """Forty callers at two brokers at once: every device has one holder, and all grants are in the records."""
    await lending.join(bus, "n1", lending.gpus(4))
    await lending.known(system, 4)
    async with lending.broker(second, node="b2") as other:
        await lending.known(other, 4)
        won: list[Any] = []

        async def ask(at: System, name: str) -> None:
            broker = at.ref("gpu_broker", node=at.node)
            with anyio.move_on_after(20):
                with suppress(NoCapacityError):
                    won.append(await broker.ask(Allocate(id=name, need=Need()), timeout_s=15))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(ask, system, f"a{number}")
                group.start_soon(ask, other, f"b{number}")
        holders = {one.id: one.grants[0].lease for one in (await lending.records(bus)).values()}
        assert len(won) == 4
        assert holders == {one.grants[0].device: one.id for one in won}
        released = other if won[0].id.startswith("a") else system
        answer = await released.ref("gpu_broker", node=released.node).ask(GiveBack(id=won[0].id, token=won[0].token))
        assert answer.state == "released"


@pytest.mark.usefixtures("second", "node")
async def test_a_broker_that_starts_later_knows_all_leases(second: Bus, system: System):
    """A new instance reads the records: it renews and ends what another one granted, and grants nothing twice."""
    held = await lease(system, id="old", ttl_s=60)
    async with lending.broker(second, node="b2") as other:
        broker = other.ref("gpu_broker", node="b2")
        assert (await broker.ask(Allocate(id="old", need=Need()))).token == held.token
        assert (await broker.ask(Renew(id="old", token=held.token))).state == "granted"
        fresh = await broker.ask(Allocate(need=Need()))
        assert fresh.grants[0].device != held.grants[0].device
        with pytest.raises(NoCapacityError):
            await broker.ask(Allocate(need=Need()))


async def test_a_record_that_nobody_can_read_is_lent_to_nobody(system: System, bus: Bus, node: PlayedNode):
    """It is told in the health, and the other devices go on."""
    last = await bus.last("DEVICES", f"{DEVICE}.n1.GPU-0")
    assert last is not None
    await bus.append(f"{DEVICE}.n1.GPU-0", b"\xc1rubbish", msg_id="x", expected_last=last.seq)

    async def seen() -> BrokerHealth | None:
        told = await system.ask(CheckBroker())
        return told if told.refused_devices else None

    health: BrokerHealth = await eventually(seen)
    assert (health.status, health.refused_devices) == ("warn", ["n1.GPU-0"])
    assert (await lease(system)).grants[0].device == "GPU-1"
    await node.report()
    with pytest.raises(NoCapacityError):
        await lease(system)


async def test_a_store_that_was_set_back_does_not_lend_what_is_used(system: System, bus: Bus, node: PlayedNode):
    """A fence with a higher token than the record knows of a grant that was forgotten: its holder is waited for."""
    node.change("GPU-0", token=1 << 62, held=["ghost"], seen=10_000)
    await told(bus, node, lambda found: found["GPU-0"].token == 1 << 62)
    stored = await lending.record(bus, "n1", "GPU-0")
    assert [(grant.lease, grant.ended) for grant in stored.grants] == [("ghost", "revoked")]
    assert (await lease(system)).grants[0].device == "GPU-1"
    node.change("GPU-0", held=[], seen=stored.version)
    await told(bus, node, lambda found: not found["GPU-0"].grants)
    assert (await lease(system)).token > 1 << 62


async def test_a_lease_that_two_brokers_granted_keeps_its_first_device(system: System, bus: Bus):
    """As if another broker, asked with the same id, had granted it on the other device: that is taken back."""
    await lending.join(bus, "n1", lending.gpus(2))
    await lending.known(system, 2)
    await system.ask(ConfigureBroker(notice_s=0))
    held = await lease(system, id="same")
    (other,) = [one for one in (await lending.records(bus)).values() if not one.grants]
    stored = await bus.last(DEVICES, f"{DEVICE}.{other.key}")
    assert stored is not None
    again = grant(other, Ask("same", (other.key,), 1000, 0, 60.0), SystemClock().time())
    assert isinstance(again, Record)
    await bus.append(stored.subject, pack(again), msg_id="another", expected_last=stored.seq)

    async def mended() -> bool:
        return not (await lending.record(bus, "n1", other.id)).grants

    await eventually(mended)
    assert (await lending.record(bus, "n1", held.grants[0].device)).grants[0].lease == "same"
    assert (await system.ask(Renew(id="same", token=held.token))).grants == held.grants
