"""GPUs that exist in memory only, for tests and simulations: the same readings as through NVML, without a driver."""

from __future__ import annotations

from dataclasses import dataclass, field

from chimera.clock import Clock

from .binding import Sample
from .reading import Reading
from .roster import Roster


@dataclass(slots=True)
class MemoryBackend:
    """Tells what its fields say; change them to change the machine.

    Attributes:
        clock: For intervals.
        gpus: What each device on the bus tells, in the order of their indices.
        silent: UUIDs of devices that do not answer, and why.
        trouble: What is wrong with the driver as a whole; then no device answers.
        declared_w: Watts to count with where a device tells neither energy nor power.
    """

    clock: Clock
    gpus: list[Sample] = field(default_factory=list[Sample])
    silent: dict[str, str] = field(default_factory=dict[str, str])
    trouble: str = ""
    declared_w: float | None = None
    _xids: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    _roster: Roster | None = None

    def report_xid(self, uuid: str, xid: int) -> None:
        """The driver reports an error of a device, with the next reading."""
        self._xids.append((uuid, xid))

    def change(self, uuid: str, sample: Sample) -> None:
        """A device tells something else from now on."""
        self.gpus[[gpu.uuid for gpu in self.gpus].index(uuid)] = sample

    async def read(self) -> list[Reading]:
        """All devices now."""
        roster = self._roster = self._roster or Roster(self.declared_w)
        now = self.clock.monotonic()
        roster.begin()
        if not self.trouble:
            self._read_all(roster, now)
        roster.end(self.trouble)
        return roster.readings(now)

    async def close(self) -> None:
        """Nothing is held."""

    def _read_all(self, roster: Roster, now: float) -> None:
        for uuid, xid in self._xids:
            roster.report_xid(uuid, xid, now)
        self._xids.clear()
        for index, sample in enumerate(self.gpus):
            if sample.uuid in self.silent:
                roster.missed(index, self.silent[sample.uuid])
            else:
                roster.saw(index, sample, now)
