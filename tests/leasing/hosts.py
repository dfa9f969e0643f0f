"""``python -m tests.leasing.hosts broker|node NAME FOLDER URLS REPLICAS [MUTATION]``: one process under fire."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import anyio

from actors.gpu_broker import GpuBroker
from actors.gpu_node import GpuNode
from chimera.bus.nats import NatsBus
from chimera.clock import SystemClock
from chimera.devices.binding import Sample
from chimera.devices.memory_backend import MemoryBackend
from chimera.devices.reading import DeviceBackend
from chimera.errors import ChimeraError
from chimera.system import System
from tests.leasing.mutations import MUTATIONS

GPUS, GPU_MIB = 2, 16_384
INTERVAL_S, GRACE_S = 0.5, 0.5


def backends(node: str) -> Sequence[DeviceBackend]:
    """GPUs that tell who they are, and nothing of their memory: processes alone say who is there."""
    samples = [
        Sample(uuid=f"GPU-{node}-{number}", model="Played 16", memory_mib=GPU_MIB) for number in range(GPUS)
    ]  # fmt: skip
    return [MemoryBackend(SystemClock(), samples)]


async def host(kind: str, name: str, folder: Path, urls: str, replicas: int) -> None:
    """Host one actor for ever; a bus that does not answer at the start is tried again."""
    bus = NatsBus(urls.split(","), name=name, connect_timeout_s=30.0)
    async with bus, System(bus, node=name) as system:
        while True:
            try:
                if kind == "broker":
                    await system.spawn(GpuBroker, bus=bus, replicas=replicas)
                else:
                    await system.spawn(
                        GpuNode, bus=bus, backends=backends, folder=folder, interval_s=INTERVAL_S, grace_s=GRACE_S
                    )
                break
            except ChimeraError as error:
                print(f"{name}: {error}", flush=True)
                await anyio.sleep(0.5)
        print(f"{name} serves", flush=True)
        await system.failed.wait()


def main() -> None:
    """Host what the command line says."""
    kind, name, folder, urls, replicas, mutation = (*sys.argv[1:], "")[:6]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with MUTATIONS[mutation].apply() if mutation else nullcontext():
        anyio.run(host, kind, name, Path(folder), urls, int(replicas))


if __name__ == "__main__":
    main()
