"""A node with its fence on the in-memory bus, a fake NVML under it, and a hand that lends as a broker would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from actors.brokering import changes
from actors.brokering.record import Record, Refusal, pack
from actors.brokering.streams import device_spec, subject_of
from actors.brokering.witness import Facts, witness
from actors.gpu_node import GpuNode
from chimera import System
from chimera.bus.contract import Bus, Delivery
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.clock import SystemClock
from chimera.devices.machine import MachineBackend
from chimera.devices.nvml import NvmlBackend
from chimera.devices.processes import LEASE_VARIABLE
from chimera.devices.reading import DeviceBackend
from chimera.testing import EventRecorder
from chimera.wire import decode
from subjects.device import NODE_REPORTED, NodeReported, Told
from subjects.gpu_node import Admit, Admitted, Read, Readings
from tests.support.fake_nvml import Machine, library

NODE = "box"
GPU, OTHER = "GPU-one", "GPU-two"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
INTERVAL_S, GRACE_S = 0.2, 0.3


class FenceWorld:
    """What a test sees and does."""

    def __init__(self, bus: Bus, events: EventRecorder) -> None:
        self.bus, self.events = bus, events
        self.clock = SystemClock()
        self.records: dict[str, Record] = {}
        self.told: dict[str, Told] = {}
        self.reports = 0
        self.system: Any = None

    def take(self, delivery: Delivery) -> None:
        """A report of the node."""
        report = decode(delivery.data, NodeReported)
        self.reports += 1
        self.told = {told.id: told for told in report.devices}

    async def witness(self) -> None:
        """Bring what the node told last into the records, as a broker does."""
        for told in list(self.told.values()):
            facts = Facts(
                milli=told.milli, memory_mib=told.memory_mib, kind=told.kind, model=told.model, trouble=told.trouble,
                foreign_mib=told.foreign_mib, fenced=True, token=told.token, seen=told.seen, held=told.held,
            )  # fmt: skip
            old = self.records.get(told.id, Record(NODE, told.id))
            await self.store(witness(old, facts, self.clock.time()))

    async def store(self, record: Record) -> None:
        """Write a record if it is new."""
        if self.records.get(record.id) is not record:
            self.records[record.id] = record
            msg_id = f"{record.id}-{record.version}-{id(record)}"
            await self.bus.append(subject_of(record.key), pack(record), msg_id=msg_id)

    async def lend(self, lease: str, device: str = GPU, *, milli: int = 1000, mib: int = 0, ttl_s: float = 60.0) -> int:
        """Grant a share; gives its token."""
        ask = changes.Ask(lease, (f"{NODE}.{device}",), milli, mib, ttl_s)
        changed = changes.grant(self.records[device], ask, self.clock.time())
        assert not isinstance(changed, Refusal), changed
        await self.store(changed)
        return changed.token

    async def take_back(self, lease: str, device: str = GPU) -> None:
        """End a lease."""
        changed = changes.end(self.records[device], lease, "revoked", self.clock.time(), "for the test")
        assert not isinstance(changed, Refusal), changed
        await self.store(changed)

    async def ask(self, message: Any) -> Any:
        """The fence's answer."""
        return await self.system.ref("gpu_node", node=NODE).ask(message, timeout_s=5.0)

    async def admit(self, lease: str, token: int, pid: int = 0) -> Admitted:
        """Use a lease."""
        return await self.ask(Admit(lease=lease, token=token, pid=pid))

    async def read(self) -> Readings:
        """What the node shows."""
        return await self.ask(Read())

    async def until(self, condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
        """Wait for the node to have told so; its reports go into the records meanwhile."""
        with anyio.fail_after(timeout_s):
            while not condition():
                await self.witness()
                await anyio.sleep(0.01)

    async def shows(self, condition: Callable[[Readings], bool], timeout_s: float = 15.0) -> Readings:
        """Wait until the node shows so."""
        with anyio.fail_after(timeout_s):
            while not condition(found := await self.read()):
                await self.witness()
                await anyio.sleep(0.01)
        return found

    async def free(self, device: str = GPU) -> None:
        """Wait until nobody has anything of a device."""
        await self.until(lambda: not self.records[device].grants)


Backends = Callable[[str], list[DeviceBackend]]


@asynccontextmanager
async def fence_world(machine: Machine, folder: Path, *, gpus: tuple[str, ...] = (GPU,)) -> AsyncGenerator[FenceWorld]:
    """A node with these GPUs in a fake NVML."""
    for uuid in gpus:
        machine.gpu(uuid, name="A100", total=40_000, used=0, reserved=0, procs="")
    async with any_world(folder, faked) as world:
        await world.until(lambda: all(uuid in world.records for uuid in gpus))
        yield world


@asynccontextmanager
async def any_world(folder: Path, backends: Backends, own: Bus | None = None) -> AsyncGenerator[FenceWorld]:
    """A node with whatever devices, its fence, and the stream of their records; on the in-memory bus, or yours."""
    async with own or MemoryBus(MemoryHub(), name=NODE) as bus:
        await bus.declare(device_spec())
        world = FenceWorld(bus, EventRecorder())
        await bus.subscribe(NODE_REPORTED, world.take)
        async with fence(world, folder, backends):
            yield world


def faked(node: str) -> list[DeviceBackend]:
    """The fake NVML, and the machine itself."""
    clock = SystemClock()
    nvml = NvmlBackend(clock=clock, library=str(library()), deadline_s=0.3)
    return [nvml, MachineBackend(node, clock=clock)]


@asynccontextmanager
async def fence(world: FenceWorld, folder: Path, backends: Backends = faked) -> AsyncGenerator[None]:
    """The fence's life: one after another may begin in the same folder."""
    async with System(world.bus, node=NODE, events=world.events, strict_local=True) as system:
        world.system = system
        await system.spawn(
            GpuNode, bus=world.bus, backends=backends, folder=folder, interval_s=INTERVAL_S, grace_s=GRACE_S
        )
        yield


def start_holder(lease: str, *line: str, **variables: str) -> subprocess.Popen[bytes]:
    """A process under a lease, in a group of its own, that has said a word: arguments of Python, a deaf one if none."""
    environment = {**os.environ, LEASE_VARIABLE: lease, **variables}
    command = [sys.executable, *(line or ("-c", DEAF))]
    child = subprocess.Popen(command, process_group=0, env=environment, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child
