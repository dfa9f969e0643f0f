"""Joules and where they come from."""

from __future__ import annotations

from chimera.devices.energy import Meter


def test_the_counter_comes_first():
    """With a counter, its difference is what was used, whatever the power says."""
    meter = Meter(declared_w=99)
    meter.take(0, counter_j=1000, power_w=500)
    meter.take(10, counter_j=1250, power_w=500)
    assert (meter.joules, meter.source) == (250, "counter")


def test_power_is_integrated_without_a_counter():
    """Without a counter, power is integrated by trapezoids."""
    meter = Meter()
    meter.take(0, counter_j=None, power_w=100)
    meter.take(2, counter_j=None, power_w=200)
    meter.take(4, counter_j=None, power_w=200)
    assert (meter.joules, meter.source) == (300 + 400, "integrated")


def test_declared_watts_come_last():
    """What tells nothing is counted with the declared watts, and labelled so."""
    meter = Meter(declared_w=15)
    meter.take(0, counter_j=None, power_w=None)
    meter.take(10, counter_j=None, power_w=None)
    assert (meter.joules, meter.source) == (150, "declared")


def test_nothing_known_is_not_zero_joules():
    """Without any source nothing is counted, and the time that is missing is said."""
    meter = Meter()
    meter.take(0, counter_j=None, power_w=None)
    meter.take(10, counter_j=None, power_w=None)
    assert (meter.joules, meter.source, meter.unknown_s) == (0, "none", 10)


def test_a_counter_that_went_back_is_not_subtracted():
    """After a reload of the driver its counter begins anew: that interval is integrated, the next counted."""
    meter = Meter()
    meter.take(0, counter_j=5000, power_w=100)
    meter.take(10, counter_j=50, power_w=100)
    assert (meter.joules, meter.source) == (1000, "integrated")
    meter.take(20, counter_j=150, power_w=100)
    assert (meter.joules, meter.source) == (1100, "integrated")


def test_power_is_not_integrated_over_a_long_silence():
    """Two readings an hour apart do not tell what happened between them."""
    meter = Meter()
    meter.take(0, counter_j=None, power_w=100)
    meter.take(3600, counter_j=None, power_w=100)
    assert (meter.joules, meter.unknown_s) == (0, 3600)
