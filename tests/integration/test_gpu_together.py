"""Broker, fence and ``chimera gpu run`` together on a real server, with real processes and a fake NVML."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors.gpu_broker import GpuBroker
from actors.gpu_node import GpuNode
from chimera import System
from chimera.bus.nats import NatsBus
from chimera.cli.client import Client
from chimera.cli.gpu_run import LeasedRun
from chimera.devices.processes import strays
from chimera.errors import NoCapacityError
from subjects.device import DeviceView, GetDevices
from subjects.lease import GiveBack
from tests.support.fake_nvml import Machine, machine
from tests.support.fence_world import GPU, GRACE_S, INTERVAL_S, NODE, faked
from tests.support.nats_server import NatsServer
from tests.support.waiting import until

__all__ = ["machine"]
pytestmark = pytest.mark.anyio
DEAF = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w'); time.sleep(60)"


@dataclass
class Box:
    """One node with everything."""

    system: System
    client: Client

    async def device(self, device: str = GPU) -> DeviceView | None:
        """What the broker says of a device."""
        found = await self.system.ask(GetDevices())
        return next((one for one in found.devices if one.id == device), None)

    async def until(self, condition: Callable[[DeviceView], bool], device: str = GPU) -> None:
        """Wait until the broker says so of a device."""
        with anyio.fail_after(20):
            while (view := await self.device(device)) is None or not condition(view):  # noqa: ASYNC110 - asked again
                await anyio.sleep(0.02)

    async def until_free(self, device: str = GPU) -> None:
        """Wait until the broker may lend all of it."""
        await self.until(lambda view: not view.grants and view.health == "ok", device)

    def run(self, lease: str, *line: str, ttl_s: float = 30.0, **need: Any) -> LeasedRun:
        """A command under a lease."""
        return LeasedRun(self.client, {"id": lease, "need": {"node": NODE, **need}, "ttl_s": ttl_s}, list(line))


@asynccontextmanager
async def box(folder: Path, machine: Machine) -> AsyncGenerator[Box]:
    """Server, broker, fence, and a client."""
    machine.gpu(GPU, name="A100", total=40_000, used=0, reserved=0, procs="")
    server = NatsServer(folder / "nats")
    server.start()
    try:
        async with NatsBus(server.url, name=NODE) as bus, System(bus, node=NODE) as system:
            await system.spawn(GpuBroker, bus=bus)
            await system.spawn(
                GpuNode, bus=bus, backends=faked, folder=folder / "fence", interval_s=INTERVAL_S, grace_s=GRACE_S
            )
            async with NatsBus(server.url, name="cli") as own:
                made = Box(system, Client(own))
                for device in (GPU, f"CPU-{NODE}"):
                    await made.until_free(device)
                yield made
    finally:
        server.kill()


async def test_a_command_runs_under_a_lease_and_leaves_nothing(machine: Machine, tmp_path: Path):
    """The device stands in its environment, is the broker's lent one meanwhile, and is free afterwards."""
    told = tmp_path / "told"
    async with box(tmp_path, machine) as here:
        line = f'echo "$CUDA_VISIBLE_DEVICES" > {told}; exit 3'
        assert await here.run("r1", "sh", "-c", line).main(0) == 3
        assert told.read_text() == f"{GPU}\n"
        await here.until_free()


async def test_processors_are_lent_likewise(machine: Machine, tmp_path: Path):
    """On a box without a free GPU the same path lends processors, and hides the GPUs."""
    told = tmp_path / "told"
    async with box(tmp_path, machine) as here:
        line = f'echo "[$CUDA_VISIBLE_DEVICES]" > {told}'
        assert await here.run("r1", "sh", "-c", line, kind="cpu", milli=100).main(0) == 0
        assert told.read_text() == "[]\n"
        await here.until_free(f"CPU-{NODE}")


async def test_one_after_the_other(machine: Machine, tmp_path: Path):
    """Two commands want the whole GPU: the second waits until nothing of the first is left."""
    order, line = tmp_path / "order", "echo begin >> {0}; sleep 0.3; echo end >> {0}"
    async with box(tmp_path, machine) as here, anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(here.run(f"r{number}", "sh", "-c", line.format(order)).main, 30.0)
    assert order.read_text().split() == ["begin", "end"] * 3


async def test_a_revoked_lease_ends_its_command(machine: Machine, tmp_path: Path):
    """Taken away behind the command's back, the device is free only when the deaf command is gone."""
    deaf, codes = tmp_path / "deaf", list[int]()
    async with box(tmp_path, machine) as here:

        async def main() -> None:
            codes.append(await here.run("r1", sys.executable, "-c", DEAF, str(deaf), ttl_s=3.0).main(0))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(main)
            await until(deaf.exists)
            await here.system.ask(GiveBack(id="r1"))
            await here.until_free()
            assert strays("r1") == []
    assert codes in ([1], [137])


async def test_what_is_lent_is_refused_to_others(machine: Machine, tmp_path: Path):
    """While a command has the whole GPU, another is told so at once, and starts nothing."""
    async with box(tmp_path, machine) as here, anyio.create_task_group() as tasks:
        tasks.start_soon(here.run("r1", "sleep", "30").main, 0.0)
        await until(lambda: strays("r1"))
        with pytest.raises(NoCapacityError):
            await here.run("r2", "touch", os.fspath(tmp_path / "never")).main(0)
        assert not (tmp_path / "never").exists()
        tasks.cancel_scope.cancel()


async def test_foreign_memory_is_not_lent(machine: Machine, tmp_path: Path):
    """A process that came without a lease takes its part of the GPU out of what can be lent."""
    async with box(tmp_path, machine) as here:
        machine.gpu(GPU, used=30_000, procs="1:30000")
        await here.until(lambda view: view.free_memory_mib <= 10_000)
        with pytest.raises(NoCapacityError):
            await here.run("r1", "true").main(0)
