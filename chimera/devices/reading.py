"""What a device tells of itself at one moment, whatever kind it is and whoever asked it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from subjects.device import EnergySource, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One device now. ``None`` = it does not tell. Sizes in MiB, power in W, energy in J, shares from 0 to 1.

    Attributes:
        uuid: Who it is, over restarts and changes of its index.
        milli: Its compute in thousandths: 1000 for a GPU, 1000 for each processor.
        memory_mib: All of its memory, with what its driver keeps for itself.
        memory_reserved_mib: That part.
        energy_j: Used since we look.
        energy_source: The worst of the sources of that sum.
        processes: Who holds how much of its memory; it advises only.
        trouble: Why it must not be used; empty = it may.
        parent: The GPU that this MIG instance is a part of.
        capability: CUDA compute capability, such as ``9.0``.
    """

    uuid: str
    kind: Kind = "gpu"
    model: str = ""
    milli: int = 1000
    memory_mib: int | None = None
    memory_used_mib: int | None = None
    memory_reserved_mib: int | None = None
    utilization: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float = 0.0
    energy_source: EnergySource = "none"
    ecc_errors: int | None = None
    processes: dict[int, int | None] | None = None
    trouble: str = ""
    parent: str = ""
    pci_bus: str | None = None
    capability: str | None = None


class DeviceBackend(Protocol):
    """Where readings come from."""

    @property
    def trouble(self) -> str:
        """What is wrong with the driver as a whole, or an empty string; not having one is not trouble."""
        ...

    async def read(self) -> list[Reading]:
        """All devices now, those in trouble included. Bounded in time; never raises for a device or a driver."""
        ...

    async def close(self) -> None:
        """Let the driver go."""
        ...
