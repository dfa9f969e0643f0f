"""Whether a device may be given out, and why not: per device, and it gets well again. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from .binding import Sample

APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 109})
"""Faults of the program that ran, not of the device: told, never held against it (as NVIDIA's own plugin does)."""

XID_WORDS = {
    48: "uncorrectable memory error", 63: "memory row was remapped", 64: "memory row could not be remapped",
    74: "NVLink error", 79: "fell off the bus", 92: "many correctable memory errors", 94: "contained memory error",
    95: "uncontained memory error", 119: "GSP timed out", 120: "GSP error",
}  # fmt: skip
HOT_C = 92.0
"""Too hot where the device does not tell when it slows down."""

COOLER_BY_C = 8.0
"""A device that was too hot is well again only when it is cooler by this."""

XID_QUARANTINE_S = 600.0
"""How long a device is left alone after an error of its own; each further one starts it anew."""


@dataclass(slots=True)
class Doctor:
    """Judges one device from its readings; keeps what judging the next one needs."""

    _hot: bool = False
    _xids: dict[int, float] = field(default_factory=dict[int, float])

    def report_xid(self, xid: int, now: float) -> bool:
        """Take a driver's error; true if it is the device's own fault."""
        if xid in APPLICATION_XIDS:
            return False
        self._xids[xid] = now
        return True

    def judge(self, sample: Sample, now: float) -> str:
        """Why the device may not be used, or an empty string. ``now`` in seconds that never go back."""
        if sample.ecc_errors:
            return f"{sample.ecc_errors} uncorrectable memory errors since its driver was loaded: reset it"
        if sample.memory_failed:
            return "faulty memory that can't be replaced: have it exchanged"
        if sample.reset_pending:
            return "faulty memory is replaced at its next reset: reset it"
        self._xids = {xid: at for xid, at in self._xids.items() if now - at < XID_QUARANTINE_S}
        if self._xids:
            xid, at = max(self._xids.items(), key=lambda entry: entry[1])
            left = XID_QUARANTINE_S - (now - at)
            return f"Xid {xid} ({XID_WORDS.get(xid, 'driver error')}): left alone for {left:.0f} s"
        return self._heat(sample)

    def _heat(self, sample: Sample) -> str:
        if sample.temperature_c is None:
            self._hot = False
            return ""
        limit = sample.slowdown_c or HOT_C
        self._hot = sample.temperature_c >= (limit - COOLER_BY_C if self._hot else limit)
        return f"{sample.temperature_c:g} degrees, at most {limit:g}" if self._hot else ""
