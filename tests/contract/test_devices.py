"""GPUs through the real nvidia-ml-py and a compiled fake of its library, and in memory: the same readings."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from chimera.devices.binding import Sample
from chimera.devices.memory_backend import MemoryBackend
from chimera.devices.nvml import REOPEN_S, NvmlBackend
from chimera.devices.reading import Reading
from chimera.testing import ManualClock
from tests.support.fake_nvml import Machine, library, machine

__all__ = ["machine"]

pytestmark = pytest.mark.anyio
DEADLINE_S = 0.25

FULL = Sample(
    uuid="GPU-full", model="NVIDIA H200", pci_bus="00000000:01:00.0", capability="9.0", memory_mib=143771,
    memory_used_mib=5120, memory_reserved_mib=600, utilization=0.37, temperature_c=44, slowdown_c=89, shutdown_c=92,
    power_w=121.5, power_limit_w=700, energy_j=1234.5, ecc_errors=0, reset_pending=False, memory_failed=False,
    processes={4711: 4096, 4712: None},
)  # fmt: skip
BARE = Sample(uuid="GPU-bare", model="Orin")


class Both:
    """One machine, told of by both backends."""

    def __init__(self, fake: Machine) -> None:
        self.clock = ManualClock()
        self.fake = fake
        self.memory = MemoryBackend(self.clock, declared_w=30)
        self.nvml = NvmlBackend(clock=self.clock, library=str(library()), deadline_s=DEADLINE_S, declared_w=30)

    def put(self, *samples: Sample) -> None:
        """These devices are on the bus."""
        self.memory.gpus = list(samples)
        self.fake.gpus.clear()
        for sample in samples:
            self.fake.gpu(sample.uuid, **keys_of(sample))
        self.fake.write()

    async def read(self) -> list[Reading]:
        """The readings, after holding them against each other."""
        ours, theirs = await self.memory.read(), await self.nvml.read()
        assert [rough(reading) for reading in theirs] == [rough(reading) for reading in ours]
        assert bool(self.nvml.trouble) == bool(self.memory.trouble)
        return theirs


def rough(reading: Reading) -> Reading:
    """A reading without the words of a driver's error, and its floats as near as thousandths are."""
    words = "driver" if "NVML" in reading.trouble or "answer" in reading.trouble else reading.trouble
    watts = None if reading.power_w is None else round(reading.power_w, 6)
    share = None if reading.utilization is None else round(reading.utilization, 6)
    return replace(reading, trouble=words, energy_j=round(reading.energy_j, 6), power_w=watts, utilization=share)


def keys_of(sample: Sample) -> dict[str, object]:
    """The same device in the fake's words."""

    def scaled(value: float | None, by: float) -> int | None:
        return None if value is None else round(value * by)

    pids = sample.processes and ",".join(
        f"{pid}:{'?' if size is None else size}" for pid, size in sample.processes.items()
    )
    return {
        "name": sample.model, "pci": sample.pci_bus, "capability": sample.capability, "total": sample.memory_mib,
        "used": sample.memory_used_mib, "reserved": sample.memory_reserved_mib, "util": scaled(sample.utilization, 100),
        "temp": scaled(sample.temperature_c, 1), "slowdown": scaled(sample.slowdown_c, 1),
        "shutdown": scaled(sample.shutdown_c, 1), "power": scaled(sample.power_w, 1000),
        "limit": scaled(sample.power_limit_w, 1000), "energy": scaled(sample.energy_j, 1000), "ecc": sample.ecc_errors,
        "remap_pending": None if sample.reset_pending is None else int(sample.reset_pending),
        "remap_failed": None if sample.memory_failed is None else int(sample.memory_failed), "procs": pids,
        "mig": sample.parts and ",".join(f"{uuid}:{size}" for uuid, size in sample.parts),
    }  # fmt: skip


@pytest.fixture
async def both(machine: Machine):
    """Both backends on one machine."""
    made = Both(machine)
    yield made
    machine.say(hang=0)
    await made.nvml.close()


async def test_every_reading_and_none_of_them(both: Both):
    """A device that tells everything and one that tells nothing but its name read the same in both."""
    both.put(FULL, BARE)
    full, bare = await both.read()
    assert (full.model, full.memory_used_mib, full.processes) == ("NVIDIA H200", 5120, {4711: 4096, 4712: None})
    assert full.trouble == bare.trouble == ""
    assert (bare.memory_mib, bare.power_w, bare.processes) == (None, None, None)


async def test_no_gpus(both: Both):
    """A machine without GPUs has none, and is not in trouble."""
    assert await both.read() == []


async def test_no_driver(machine: Machine):
    """A driver that is not loaded means no GPUs, not an error."""
    machine.say(init=9)
    backend = NvmlBackend(clock=ManualClock(), library=str(library()))
    assert await backend.read() == []
    assert not backend.trouble
    await backend.close()


async def test_no_library():
    """A machine without NVML has no GPUs, and looking for them again is cheap."""
    backend = NvmlBackend(clock=ManualClock(), library="libthere-is-none.so.1")
    assert await backend.read() == []
    assert await backend.read() == []
    assert not backend.trouble
    await backend.close()


@pytest.mark.parametrize(
    "fault", [{"ecc_errors": 3}, {"memory_failed": True}, {"reset_pending": True}, {"temperature_c": 95.0}]
)
async def test_faults(both: Both, fault: dict[str, object]):
    """A fault is told in the same words by both, of the one device that has it, and is over when it is over."""
    both.put(FULL, BARE)
    await both.read()
    both.put(replace(FULL, **fault), BARE)  # pyright: ignore[reportArgumentType] - fields by name
    full, bare = await both.read()
    assert full.trouble
    assert not bare.trouble
    both.put(FULL, BARE)
    assert not (await both.read())[0].trouble


async def test_an_xid(both: Both):
    """A driver's error reaches its device as an event, once."""
    both.put(FULL, BARE)
    await both.read()
    both.memory.report_xid("GPU-full", 48)
    both.fake.gpu("GPU-full", xid="1:48")
    full, bare = await both.read()
    assert "Xid 48" in full.trouble
    assert not bare.trouble
    await both.clock.advance(601)
    assert not (await both.read())[0].trouble


async def test_a_lost_gpu_is_alone_and_can_come_back(both: Both):
    """One GPU off the bus leaves the others in use; after a reset it is back."""
    both.put(FULL, BARE)
    await both.read()
    both.memory.silent["GPU-full"] = "NVML"
    both.fake.gpu("GPU-full", fail=15)
    full, bare = await both.read()
    assert "lost" in full.trouble.lower()
    assert (full.memory_mib, full.memory_used_mib, full.power_w) == (143771, None, None)
    assert not bare.trouble
    both.memory.silent.clear()
    both.fake.gpu("GPU-full", fail=None)
    await both.clock.advance(REOPEN_S)
    assert not (await both.read())[0].trouble


async def test_a_gpu_that_was_taken_out_is_told_of(both: Both):
    """What was there and is not listed any more is in trouble; the index that moved up is not mistaken for it."""
    both.put(FULL, BARE)
    await both.read()
    both.put(BARE)
    full, bare = await both.read()
    assert (full.uuid, full.trouble) == ("GPU-full", "not on the bus any more")
    assert (bare.uuid, bare.trouble) == ("GPU-bare", "")


async def test_a_hanging_gpu_is_alone_and_can_come_back(both: Both):
    """A call that does not return costs its deadline once, and no other device its reading."""
    both.put(FULL, BARE)
    await both.read()
    both.memory.silent["GPU-full"] = "answer"
    both.fake.gpu("GPU-full", hang=1)
    for _ in range(2):
        full, bare = await both.read()
        assert full.trouble
        assert not bare.trouble
    both.memory.silent.clear()
    both.fake.gpu("GPU-full", hang=None)
    await until_well(both)


async def test_a_hanging_driver_is_trouble_of_all(both: Both):
    """When the driver itself does not return, every device is in trouble until it does."""
    both.put(FULL, BARE)
    await both.read()
    both.memory.trouble = "answer"
    both.fake.say(hang=1)
    assert all(reading.trouble for reading in await both.read())
    both.memory.trouble = ""
    both.fake.say(hang=0)
    await until_well(both)


async def until_well(both: Both) -> None:
    """Read until nothing is in trouble: the thread that hung needs a moment to return."""
    with anyio.fail_after(10):
        while any(reading.trouble for reading in await both.nvml.read()):  # noqa: ASYNC110 - each reading is a try
            await anyio.sleep(0.01)
    await both.memory.read()
    assert not any(reading.trouble for reading in await both.read())


async def test_energy(both: Both):
    """By counter where there is one, by declared watts where nothing is told; both backends count the same."""
    both.put(FULL, BARE)
    await both.read()
    await both.clock.advance(10)
    both.put(replace(FULL, energy_j=2234.5), BARE)
    full, bare = await both.read()
    assert (round(full.energy_j), full.energy_source) == (1000, "counter")
    assert (round(bare.energy_j), bare.energy_source) == (300, "declared")


async def test_a_divided_gpu(both: Both):
    """Of a GPU in MIG mode its instances are told of, each with its own memory and its parent's health."""
    divided = replace(FULL, parts=[("MIG-1", 18000), ("MIG-2", 35000)])
    both.put(divided)
    one, two = await both.read()
    assert [(one.uuid, one.memory_mib, one.parent), (two.uuid, two.memory_mib, two.parent)] == [
        ("MIG-1", 18000, "GPU-full"), ("MIG-2", 35000, "GPU-full"),
    ]  # fmt: skip
    both.put(replace(divided, ecc_errors=1))
    assert all(reading.trouble for reading in await both.read())


async def test_a_name_that_nobody_can_read_is_one_reading_less(machine: Machine):
    """Bytes that are no text cost that reading, not the device."""
    machine.gpu("GPU-1", name="X", total=1000, used=0)
    path = machine.path
    path.write_bytes(path.read_bytes().replace(b"name=X", b"name=\xff\xfe"))
    backend = NvmlBackend(clock=ManualClock(), library=str(library()))
    (reading,) = await backend.read()
    assert (reading.model, reading.memory_mib, reading.trouble) == ("unknown", 1000, "")
    await backend.close()
