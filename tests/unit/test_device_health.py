"""Whether a device may be used, and that it gets well again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chimera.devices.binding import Sample
from chimera.devices.health import HOT_C, XID_QUARANTINE_S, Doctor

WELL = Sample(uuid="GPU-1", model="A2", temperature_c=50, slowdown_c=90, ecc_errors=0)


def test_a_device_that_tells_nothing_is_well():
    """Readings that are not supported are never held against a device."""
    assert not Doctor().judge(Sample(uuid="GPU-1", model="A2"), 0)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"ecc_errors": 2}, "2 uncorrectable"),
        ({"memory_failed": True}, "exchanged"),
        ({"reset_pending": True}, "reset"),
        ({"temperature_c": 91.0}, "91 degrees, at most 90"),
    ],
)
def test_faults_have_a_reason(change: dict[str, object], word: str):
    """Each fault is told in words, and over when its reading is."""
    doctor = Doctor()
    assert word in doctor.judge(replace(WELL, **change), 0)  # pyright: ignore[reportArgumentType] - fields by name
    assert not doctor.judge(WELL, 1)


def test_heat_has_a_hysteresis():
    """A device that was too hot is well again only when it is clearly cooler."""
    doctor = Doctor()
    assert doctor.judge(replace(WELL, temperature_c=90), 0)
    assert doctor.judge(replace(WELL, temperature_c=85), 1)
    assert not doctor.judge(replace(WELL, temperature_c=80), 2)
    assert not doctor.judge(replace(WELL, temperature_c=85), 3)


def test_heat_without_a_threshold_has_a_limit_of_ours():
    """Where the device does not say when it slows down, our own limit holds."""
    unsaid = replace(WELL, slowdown_c=None)
    assert Doctor().judge(replace(unsaid, temperature_c=HOT_C), 0)
    assert not Doctor().judge(replace(unsaid, temperature_c=HOT_C - 1), 0)


def test_a_programs_own_xid_is_not_held_against_the_device():
    """Xid 31, a page fault of the program, leaves the device in use."""
    doctor = Doctor()
    assert not doctor.report_xid(31, 0)
    assert not doctor.judge(WELL, 0)


def test_a_devices_xid_is_a_quarantine_that_ends():
    """Xid 79 takes the device out for a time; another one starts that time anew."""
    doctor = Doctor()
    assert doctor.report_xid(79, 0)
    assert "fell off the bus" in doctor.judge(WELL, 1)
    doctor.report_xid(79, 500)
    assert doctor.judge(WELL, XID_QUARANTINE_S + 1)
    assert not doctor.judge(WELL, 500 + XID_QUARANTINE_S)
