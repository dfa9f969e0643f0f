"""The fence of a node, with real processes and a compiled fake of NVML."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from chimera.bus.nats import NatsBus
from chimera.errors import DeniedError, FencedError, NoLeaseError
from subjects.gpu_node import Stop
from tests.support.fake_nvml import Machine, machine
from tests.support.fence_world import GPU, OTHER, any_world, faked, fence, fence_world, start_holder
from tests.support.nats_server import NatsServer
from tests.support.processes import is_alive

__all__ = ["machine"]
pytestmark = pytest.mark.anyio
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts holders; all of them are ended at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(lease: str) -> subprocess.Popen[bytes]:
        started.append(start_holder(lease))
        return started[-1]

    yield begin
    for child in started:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


async def test_it_tells_what_there_is(machine: Machine, tmp_path: Path):
    """GPUs and the machine itself are told of, with nothing held and no token yet."""
    async with fence_world(machine, tmp_path) as world:
        gpu, cpu = world.told[GPU], world.told["CPU-box"]
        assert (gpu.kind, gpu.memory_mib, gpu.held, gpu.token, gpu.trouble) == ("gpu", 40_000, [], 0, "")
        assert cpu.kind == "cpu"
        assert cpu.milli >= 100


async def test_a_lease_is_let_in_with_its_token_only(machine: Machine, tmp_path: Path):
    """The right token is let in, an older one and an unknown lease are not."""
    async with fence_world(machine, tmp_path) as world:
        token = await world.lend("L1")
        assert (await world.admit("L1", token)).devices == [GPU]
        with pytest.raises(FencedError, match="older"):
            await world.admit("L1", token - 1)
        with pytest.raises(NoLeaseError):
            await world.admit("L2", token + 1)
        await world.until(lambda: world.told[GPU].held == ["L1"] and world.told[GPU].token == token)


async def test_a_lease_that_ended_is_refused_at_once(machine: Machine, tmp_path: Path):
    """The first use looks with the stream's leader: a lease that was taken back a moment ago is not let in."""
    async with fence_world(machine, tmp_path) as world:
        token = await world.lend("L1")
        await world.take_back("L1")
        with pytest.raises(NoLeaseError, match="for the test"):
            await world.admit("L1", token)
        await world.free()


async def test_shares_of_one_device_are_both_let_in(machine: Machine, tmp_path: Path):
    """Of two live leases of one device the one with the lower token may come second."""
    async with fence_world(machine, tmp_path) as world:
        one = await world.lend("L1", milli=500)
        two = await world.lend("L2", milli=500)
        await world.admit("L2", two)
        await world.admit("L1", one)
        await world.until(lambda: world.told[GPU].held == ["L1", "L2"] and world.told[GPU].token == two)


async def test_a_store_that_went_back_lets_nobody_in(machine: Machine, tmp_path: Path):
    """Records that know less than the fence are refused, also by its next life; its report brings them forward."""
    async with fence_world(machine, tmp_path) as world:
        token = await world.lend("L1")
        await world.admit("L1", token)
    async with fence_world(machine, tmp_path) as world:
        forged = await world.lend("L9")
        await world.store(replace(world.records[GPU], token=token - 1))
        with pytest.raises(FencedError, match="went back"):
            await world.admit("L9", forged)
        assert world.told[GPU].token == token
        await world.until(lambda: world.records[GPU].token >= token)


async def test_the_holder_of_a_lease_that_is_over_is_killed(machine: Machine, tmp_path: Path, start: Start):
    """A process that ignores TERM is gone, by its number, before its device is lent again."""
    async with fence_world(machine, tmp_path) as world:
        token = await world.lend("L1")
        child = start("L1")
        await world.admit("L1", token, child.pid)
        await world.take_back("L1")
        await world.free()
        assert not is_alive(child.pid)
        assert world.told[GPU].held == []
        words = [fields["message"] for name, fields in world.events.events if name == "gpu-utilization"]
        assert [word for word in words if "L1" in word] == [
            "processes of lease L1 are ended: for the test", "lease L1 is gone from here",
        ]  # fmt: skip


async def test_a_lease_that_nobody_renews_is_ended_without_a_word_of_the_store(
    machine: Machine, tmp_path: Path, start: Start
):
    """A node that hears nothing of a renewal ends the holder when its time is over: it may be cut off."""
    async with fence_world(machine, tmp_path) as world:
        token = await world.lend("L1", ttl_s=1.0)
        child = start("L1")
        await world.admit("L1", token, child.pid)
        found = await world.shows(lambda found: not found.holders)
        assert not is_alive(child.pid)
        assert found.devices[0].held == []
        with pytest.raises(NoLeaseError, match="not renewed"):
            await world.admit("L1", token)


async def test_memory_that_does_not_come_back_is_not_lent(machine: Machine, tmp_path: Path, start: Start):
    """While the driver still lists a killed process, or its memory, the device is held; then it is free."""
    async with fence_world(machine, tmp_path) as world:
        token = await world.lend("L1")
        child = start("L1")
        await world.admit("L1", token, child.pid)
        machine.gpu(GPU, used=20_000, procs=f"{child.pid}:20000")
        await world.until(lambda: world.told[GPU].memory_used_mib == 20_000)
        assert world.told[GPU].foreign_mib == 0
        child.kill()
        await world.take_back("L1")
        await world.shows(lambda found: "still lists process" in found.holders[0].reason)
        machine.gpu(GPU, procs="")
        await world.shows(lambda found: "20000 MiB of GPU-one did not come back" in found.holders[0].reason)
        assert [grant.lease for grant in world.records[GPU].grants] == ["L1"]
        machine.gpu(GPU, used=0)
        await world.free()


async def test_foreign_memory_is_told(machine: Machine, tmp_path: Path, start: Start):
    """What a process without a lease uses, and what a holder uses beyond its share, is nobody's to lend."""
    async with fence_world(machine, tmp_path) as world:
        stranger = start("")
        machine.gpu(GPU, used=3_000, procs=f"{stranger.pid}:3000")
        await world.until(lambda: world.told[GPU].foreign_mib == 3_000)
        token = await world.lend("L1", milli=500, mib=4_000)
        child = start("L1")
        await world.admit("L1", token, child.pid)
        machine.gpu(GPU, used=13_000, procs=f"{stranger.pid}:3000,{child.pid}:10000")
        await world.until(lambda: world.told[GPU].foreign_mib == 3_000 + 6_000)
        await world.until(lambda: world.records[GPU].free_mib <= 40_000 - 9_000 - 4_000)


async def test_a_hanging_driver_holds_up_nobody(machine: Machine, tmp_path: Path):
    """While NVML does not return, leases are let in and reports go on, with the GPU in trouble; then it is well."""
    async with fence_world(machine, tmp_path, gpus=(GPU, OTHER)) as world:
        token = await world.lend("L1")
        await world.admit("L1", token)
        other = await world.lend("L2", OTHER)
        machine.gpu(GPU, hang=1)
        await world.until(lambda: "no answer" in world.told[GPU].trouble)
        with anyio.fail_after(2):
            await world.admit("L1", token)
            await world.admit("L2", other)
        before = world.reports
        await world.until(lambda: world.reports > before + 2)
        machine.gpu(GPU, hang=None)
        await world.until(lambda: not world.told[GPU].trouble)


async def test_a_lost_gpu_takes_no_other_with_it(machine: Machine, tmp_path: Path):
    """One GPU off the bus is in trouble, the other is lent on; what is ended on the lost one stays held."""
    async with fence_world(machine, tmp_path, gpus=(GPU, OTHER)) as world:
        token = await world.lend("L1")
        await world.admit("L1", token)
        machine.gpu(GPU, fail=15)
        await world.until(lambda: bool(world.records[GPU].trouble))
        assert not world.told[OTHER].trouble
        await world.admit("L2", await world.lend("L2", OTHER))
        await world.take_back("L1")
        await world.shows(lambda found: any("does not tell whether" in holder.reason for holder in found.holders))
        machine.gpu(GPU, fail=None)
        await world.free()


async def test_the_next_life_finds_who_is_there(machine: Machine, tmp_path: Path, start: Start):
    """A fence that comes back finds a holder by what it carries, and ends it when its lease is over."""
    async with fence_world(machine, tmp_path) as world:
        token = await world.lend("L1")
        child = start("L1")
        await world.admit("L1", token, child.pid)
        await world.system.stop(world.system.ref("gpu_node"))
        async with fence(world, tmp_path):
            await world.shows(lambda found: [holder.lease for holder in found.holders] == ["L1"])
            assert is_alive(child.pid)
            await world.take_back("L1")
            await world.free()
            assert not is_alive(child.pid)


async def test_only_a_leases_own_process_can_be_its_holder(machine: Machine, tmp_path: Path, start: Start):
    """Naming somebody else's process as the holder does not get it killed."""
    async with fence_world(machine, tmp_path) as world:
        token = await world.lend("L1")
        stranger = start("L2")
        with pytest.raises(DeniedError):
            await world.admit("L1", token, stranger.pid)
        await world.take_back("L1")
        await world.free()
        assert is_alive(stranger.pid)


async def test_a_holder_can_be_told_to_end(machine: Machine, tmp_path: Path, start: Start):
    """``stop`` ends the processes; the lease itself stays the broker's."""
    async with fence_world(machine, tmp_path) as world:
        token = await world.lend("L1")
        child = start("L1")
        await world.admit("L1", token, child.pid)
        stopped = await world.ask(Stop(lease="L1", grace_s=0.1))
        assert stopped.state == "ending"
        await world.shows(lambda found: not found.holders)
        assert not is_alive(child.pid)
        with pytest.raises(NoLeaseError):
            await world.ask(Stop(lease="L1"))


async def test_on_a_real_server_that_is_killed_meanwhile(machine: Machine, tmp_path: Path, start: Start):
    """Records are followed across a kill of the server, and a holder whose lease ended afterwards is gone."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    machine.gpu(GPU, name="A100", total=40_000, used=0, reserved=0, procs="")
    try:
        async with any_world(tmp_path / "fence", faked, NatsBus(server.url, name="box")) as world:
            await world.until(lambda: GPU in world.records)
            token = await world.lend("L1")
            child = start("L1")
            await world.admit("L1", token, child.pid)
            server.kill()
            server.start()
            await world.take_back("L1")
            await world.free()
            assert not is_alive(child.pid)
            assert world.told[GPU].token == token
    finally:
        server.kill()
