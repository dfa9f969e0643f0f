"""The processors and memory of this machine as one device, so that a box without a GPU has something to lend."""

from __future__ import annotations

import platform
from functools import partial
from pathlib import Path

import anyio.to_thread

from chimera.clock import Clock

from .cgroup import allowance, busy_seconds
from .energy import Meter
from .reading import Reading

_RAPL = "sys/class/powercap"


class MachineBackend:
    """Reads the machine: what our control groups leave us of it.

    Args:
        node: The machine's name; its device is called ``CPU-<node>``.
        clock: For intervals.
        declared_w: Watts to count with where the processor has no energy counter that we may read.
        root: Where ``proc`` and ``sys`` are; another one in tests.
    """

    def __init__(
        self, node: str, *, clock: Clock, declared_w: float | None = None, root: Path = Path("/")
    ) -> None:  # fmt: skip
        self.uuid = f"CPU-{node}"
        self._clock, self._root = clock, root
        self._meter = Meter(declared_w)
        self._busy: tuple[float, float] | None = None

    @property
    def trouble(self) -> str:
        """A machine that runs us is well."""
        return ""

    async def read(self) -> list[Reading]:
        """The machine now."""
        return [await anyio.to_thread.run_sync(partial(self._read, self._clock.monotonic()))]

    async def close(self) -> None:
        """Nothing is held."""

    def _read(self, now: float) -> Reading:
        ours, before = allowance(self._root), self._busy
        self._busy = busy_seconds(self._root)
        self._meter.take(now, counter_j=package_joules(self._root), power_w=None)
        return Reading(
            uuid=self.uuid, kind="cpu", model=platform.machine(), milli=ours.cpu_milli, memory_mib=ours.memory_mib,
            memory_used_mib=ours.memory_used_mib, utilization=_share(before, self._busy),
            energy_j=self._meter.joules, energy_source=self._meter.source,
        )  # fmt: skip


def package_joules(root: Path = Path("/")) -> float | None:
    """What all processor packages used since boot (RAPL); ``None`` where it can't be read, as for most users."""
    found = 0.0
    packages = [zone for zone in sorted((root / _RAPL).glob("intel-rapl:*")) if zone.name.count(":") == 1]
    for zone in packages:
        try:
            found += int((zone / "energy_uj").read_text()) / 1e6
        except (OSError, ValueError):
            return None
    return found if packages else None


def _share(before: tuple[float, float] | None, now: tuple[float, float] | None) -> float | None:
    if before is None or now is None or now[1] <= before[1]:
        return None
    return min(1.0, max(0.0, (now[0] - before[0]) / (now[1] - before[1])))
