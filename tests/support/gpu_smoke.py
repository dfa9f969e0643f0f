"""``python -m tests.support.gpu_smoke``: lease, use, expiry and energy on a real GPU; says so where there is none."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio

from chimera.clock import SystemClock
from chimera.devices.binding import LIBRARY, Nvml, NvmlError
from chimera.devices.machine import MachineBackend
from chimera.devices.nvml import NvmlBackend
from chimera.devices.reading import DeviceBackend
from subjects.device import Told
from tests.support.fence_world import FenceWorld, any_world, start_holder

MIB, WORK_S, TTL_S = 1024, 6.0, 4.0


def main() -> int:
    """Look for a GPU, and try everything on the first; 0 also where there is none."""
    why = _absence()
    if why:
        print(f"no GPU to try on here: {why}. Nothing was tested.")
        return 0
    with tempfile.TemporaryDirectory(prefix="gpu-smoke-") as folder:
        return anyio.run(_smoke, Path(folder))


def _absence() -> str:
    try:
        nvml = Nvml.open()
    except NvmlError as error:
        return f"NVML is there, its driver is not ({error})"
    if nvml is None:
        return f"there is no {LIBRARY}"
    count, driver = nvml.count(), nvml.driver()
    nvml.close()
    if not count:
        return f"driver {driver} knows no device"
    print(f"driver {driver}, {count} GPU{'s' if count > 1 else ''}")
    return ""


def _backends(node: str) -> list[DeviceBackend]:
    clock = SystemClock()
    return [NvmlBackend(clock=clock), MachineBackend(node, clock=clock)]


async def _smoke(folder: Path) -> int:
    async with any_world(folder, _backends) as world:
        await world.until(lambda: any(told.kind == "gpu" for told in world.told.values()))
        gpu = next(told for told in world.told.values() if told.kind == "gpu")
        _show("found", gpu)
        if gpu.trouble:
            print(f"it must not be used: {gpu.trouble}")
            return 1
        await world.until(lambda: gpu.id in world.records)
        await _lease_and_lose(world, gpu.id)
    print("ok: leased, used, lost, ended, memory back, free again")
    return 0


async def _lease_and_lose(world: FenceWorld, uuid: str) -> None:
    """A process takes memory and works under a lease that nobody renews: the fence ends it."""
    before = world.told[uuid]
    token = await world.lend("smoke", uuid, ttl_s=TTL_S + 10)
    line = ("-m", "tests.support.cuda", str(MIB), "600")
    child = await anyio.to_thread.run_sync(lambda: start_holder("smoke", *line, CUDA_VISIBLE_DEVICES=uuid))
    try:
        if child.poll() is not None:
            raise SystemExit("CUDA could not be used: see above")
        await world.admit("smoke", token, child.pid)
        await world.until(lambda: (world.told[uuid].memory_used_mib or 0) >= (before.memory_used_mib or 0) + MIB)
        started = time.monotonic()
        await anyio.sleep(WORK_S)
        await world.until(lambda: world.told[uuid].energy_j > before.energy_j)
        used = world.told[uuid]
        _show("in use", used)
        joules = used.energy_j - before.energy_j
        print(f"energy: {joules:.0f} J in {time.monotonic() - started:.1f} s, by {used.energy_source}")
        processes = (await world.read()).processes.get(uuid)
        seen = processes is not None and str(child.pid) in processes
        print(f"process list: {'shows the holder' if seen else 'does not show the holder (advice only)'}: {processes}")
        await _expire(world, uuid, child)
    finally:
        child.kill()
        child.wait()


async def _expire(world: FenceWorld, uuid: str, child: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    await world.shows(lambda found: not found.holders, timeout_s=60)
    print(f"expiry: holder ended and memory back {time.monotonic() - began:.1f} s later (exit {child.poll()})")
    await world.take_back("smoke", uuid)
    await world.free(uuid)
    _show("free", world.told[uuid])


def _show(word: str, told: Told) -> None:
    print(
        f"{word}: {told.id} {told.model}, capability {told.capability}, "
        f"{told.memory_used_mib} of {told.memory_mib} MiB, "
        f"foreign {told.foreign_mib} MiB, busy {told.utilization}, {told.temperature_c} C, {told.power_w} W of "
        f"{told.power_limit_w}, ECC errors {told.ecc_errors}, held by {told.held or 'nobody'}"
    )


if __name__ == "__main__":
    sys.exit(main())
