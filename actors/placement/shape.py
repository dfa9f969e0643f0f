"""What one piece of work asks of a node."""

from __future__ import annotations

from dataclasses import dataclass

from chimera.errors import BadMessageError

WHOLE = 1000
"""Milli-shares of a whole device."""

MOST_DEVICES = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """CPU and memory of the node, and the same share of each of several devices of one node.

    Attributes:
        cpu_milli: Thousandths of a processor.
        memory_mib: Main memory in MiB.
        devices: Devices, all on one node; 0 = none.
        milli: Thousandths of each device's compute, 1000 = all of it.
        device_memory_mib: Memory of each device in MiB; a whole device brings all of its memory anyway.
        models: Device models that will do; empty = any.
    """

    cpu_milli: int = 0
    memory_mib: int = 0
    devices: int = 0
    milli: int = 0
    device_memory_mib: int = 0
    models: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            BadMessageError: Naming the field.
        """
        for name in ("cpu_milli", "memory_mib", "devices", "milli", "device_memory_mib"):
            if getattr(self, name) < 0:
                raise BadMessageError(f"{name}: {getattr(self, name)} is below 0")
        if self.devices > MOST_DEVICES:
            raise BadMessageError(f"devices: {self.devices} on one node, at most {MOST_DEVICES}")
        if self.milli > WHOLE:
            raise BadMessageError(f"milli: {self.milli} of one device, at most {WHOLE}; ask for more devices instead")
        if self.devices and not (self.milli or self.device_memory_mib):
            raise BadMessageError("milli: a share of each device is needed, 1000 for whole devices")
        if self.devices > 1 and self.milli < WHOLE:
            raise BadMessageError(f"milli: {self.devices} devices are given whole, with 1000 each, not {self.milli}")

    @property
    def total_milli(self) -> int:
        """Device compute in all, in milli-shares."""
        return self.devices * self.milli

    @property
    def is_shared(self) -> bool:
        """True for a part of one device."""
        return self.devices == 1 and self.milli < WHOLE
