"""A broker with nodes that are played: they report devices, fence them if they shall, and fall silent on demand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from msgspec.structs import replace

from actors.brokering.record import Record, unpack
from actors.brokering.streams import DEVICE, DEVICES, USAGE
from actors.gpu_broker import GpuBroker
from chimera.bus.contract import Bus
from chimera.clock import Clock, SystemClock
from chimera.errors import NotFoundError, NotRunningError
from chimera.system import System
from chimera.wire import decode, encode
from subjects.device import NODE_REPORTED, NodeReported, Told
from subjects.gpu_broker import CheckBroker
from subjects.lease import USED, Allocate, Lease, LeaseInterval, Need
from tests.support.waiting import until


def gpus(count: int, *, prefix: str = "GPU", memory_mib: int = 16_384, model: str = "NVIDIA A100") -> list[Told]:
    """So many GPUs of one model."""
    return [
        Told(id=f"{prefix}-{number}", model=model, capability="8.0", memory_mib=memory_mib) for number in range(count)
    ]


def processors(node: str, count: int = 8) -> Told:
    """A node's processors."""
    return Told(id=f"CPU-{node}", kind="cpu", model="x86_64", milli=count * 1000, memory_mib=32_768)


@dataclass
class PlayedNode:
    """A node without an agent of its own: it tells what its fields say."""

    bus: Bus
    name: str
    devices: list[Told]
    fences: bool = False
    interval_s: float = 60.0
    clock: Clock = field(default_factory=SystemClock)

    async def report(self) -> None:
        """Tell of all devices now."""
        told = NodeReported(
            node=self.name, at=self.clock.time(), interval_s=self.interval_s, devices=self.devices, fences=self.fences
        )
        await self.bus.publish(NODE_REPORTED, encode(told))
        await self.bus.flush()

    def change(self, device: str, **fields: Any) -> None:
        """A device tells something else from now on."""
        self.devices = [replace(one, **fields) if one.id == device else one for one in self.devices]


async def wipe(bus: Bus) -> None:
    """Nothing is lent on this server, which tests share. A stream that was deleted can't always be made at once."""
    for stream in (DEVICES, USAGE):
        with suppress(NotRunningError):
            await bus.request(f"$JS.API.STREAM.PURGE.{stream}", b"")


@asynccontextmanager
async def broker(bus: Bus, *, node: str = "b1", clock: Clock | None = None) -> AsyncGenerator[System]:
    """A node that hosts a broker."""
    async with System(bus, node=node, clock=clock) as system:
        await system.spawn(GpuBroker, bus=bus)
        yield system


async def join(bus: Bus, name: str, devices: list[Told], **fields: Any) -> PlayedNode:
    """A node that has reported, and whose devices have records."""
    node = PlayedNode(bus, name, devices, **fields)
    await node.report()

    async def there() -> bool:
        return len(await records(bus, name)) >= len(devices)

    await eventually(there)
    return node


async def records(bus: Bus, node: str = "") -> dict[str, Record]:
    """Devices by id, as the stream has them."""
    found: dict[str, Record] = {}
    async with bus.read(DEVICES, subject=f"{DEVICE}.{node or '*'}.>", latest=True) as source:
        async for stored in source:
            if stored.data:
                record = unpack(stored.data)
                found[record.id] = record
    return found


async def record(bus: Bus, node: str, device: str) -> Record:
    """One device as the stream's leader has it."""
    stored = await bus.last(DEVICES, f"{DEVICE}.{node}.{device}")
    if stored is None:
        raise NotFoundError(device)
    return unpack(stored.data)


async def ledger(bus: Bus) -> list[LeaseInterval]:
    """Every line of the usage ledger, as often as it was told."""
    async with bus.read(USAGE, subject=USED) as source:
        return [decode(stored.data, LeaseInterval) async for stored in source]


async def lease(system: System, need: Need | None = None, timeout_s: float = 20.0, **fields: Any) -> Lease:
    """Ask for a lease; one GPU unless said otherwise."""
    return await system.ask(Allocate(need=need or Need(), **fields), timeout_s=timeout_s)


async def known(system: System, devices: int) -> None:
    """Wait until the broker knows so many devices."""

    async def enough() -> bool:
        return (await system.ask(CheckBroker())).devices >= devices

    await eventually(enough)


async def eventually(condition: Callable[[], Awaitable[Any]], timeout_s: float = 15.0) -> Any:
    """What a condition gives as soon as that is true; fails if it does not become so."""
    with anyio.fail_after(timeout_s):
        while not (found := await condition()):  # noqa: ASYNC110 - what is waited for happens elsewhere
            await anyio.sleep(0.01)
        return found


__all__ = [
    "PlayedNode", "broker", "eventually", "gpus", "join", "known", "lease", "ledger", "processors", "record", "records",
    "until", "wipe",
]  # fmt: skip
