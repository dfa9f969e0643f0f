"""The GPUs that were ever seen here, with what judging and metering each of them needs. No driver, no thread."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .binding import Sample
from .energy import Meter
from .health import Doctor
from .reading import Reading

GONE = "not on the bus any more"


@dataclass(slots=True)
class _Known:
    sample: Sample
    meter: Meter
    doctor: Doctor = field(default_factory=Doctor)
    silence: str = ""
    seen: bool = True

    def readings(self, now: float) -> list[Reading]:
        """The device, or its MIG instances: each has its own memory, and the health of the whole."""
        whole = self._whole(now)
        if self.sample.parts is None:
            return [whole]
        return [
            Reading(
                uuid=uuid, model=f"{whole.model} MIG {memory_mib} MiB", memory_mib=memory_mib, trouble=whole.trouble,
                parent=whole.uuid, pci_bus=whole.pci_bus, capability=whole.capability,
            )
            for uuid, memory_mib in self.sample.parts
        ]  # fmt: skip

    def _whole(self, now: float) -> Reading:
        """One that does not answer tells nothing of the moment: what it last said is not shown as if it were now."""
        sample = self.sample
        fixed = Reading(
            uuid=sample.uuid, model=sample.model, memory_mib=sample.memory_mib, pci_bus=sample.pci_bus,
            capability=sample.capability, energy_j=self.meter.joules, energy_source=self.meter.source,
            trouble=self.silence or self.doctor.judge(sample, now),
        )  # fmt: skip
        if self.silence:
            return fixed
        return replace(
            fixed, memory_used_mib=sample.memory_used_mib, memory_reserved_mib=sample.memory_reserved_mib,
            utilization=sample.utilization, temperature_c=sample.temperature_c, power_w=sample.power_w,
            power_limit_w=sample.power_limit_w, ecc_errors=sample.ecc_errors, processes=sample.processes,
        )  # fmt: skip


class Roster:
    """Brings round after round of samples together; each device in trouble is so alone, and may come back.

    Args:
        declared_w: Watts to count with where a device tells neither energy nor power.
    """

    def __init__(self, declared_w: float | None = None) -> None:
        self._declared_w = declared_w
        self._known: dict[str, _Known] = {}
        self._at_index: dict[int, str] = {}

    def __len__(self) -> int:
        """Devices that were ever seen."""
        return len(self._known)

    @property
    def any_silent(self) -> bool:
        """Whether a device did not answer in the last round."""
        return any(known.silence for known in self._known.values())

    def begin(self) -> None:
        """A round begins: no device was seen yet."""
        for known in self._known.values():
            known.seen = False

    def saw(self, index: int, sample: Sample, now: float) -> None:
        """The device at ``index`` answered."""
        self._at_index[index] = sample.uuid
        known = self._known.get(sample.uuid)
        if known is None:
            known = self._known[sample.uuid] = _Known(sample, Meter(self._declared_w))
        known.sample, known.seen, known.silence = sample, True, ""
        known.meter.take(now, counter_j=sample.energy_j, power_w=sample.power_w)

    def missed(self, index: int, reason: str) -> None:
        """The device at ``index`` did not answer; one that never did is not known and not told of."""
        known = self._known.get(self._at_index.get(index, ""))
        if known is not None and not known.seen:
            known.silence, known.seen = reason, True

    def report_xid(self, uuid: str, xid: int, now: float) -> None:
        """The driver reported an error of a device."""
        if uuid in self._known:
            self._known[uuid].doctor.report_xid(xid, now)

    def end(self, trouble: str = "") -> None:
        """The round is over: who was not seen is silent, for the driver's ``trouble`` or because it is gone."""
        for known in self._known.values():
            if not known.seen:
                known.silence = trouble or GONE

    def readings(self, now: float) -> list[Reading]:
        """All that are known, in the order in which they were first seen."""
        return [reading for known in self._known.values() for reading in known.readings(now)]
