"""How long a holder may use its lease."""

from __future__ import annotations

import pytest

from chimera.devices.tenure import Tenure, boot_time


def test_it_counts_from_before_the_request_and_ends_early():
    """At 80 % of the time to live, counted from before it was asked for, the holder must have stopped."""
    tenure = Tenure(ttl_s=30, sent_at=100)
    assert not tenure.is_over(123.9)
    assert tenure.is_over(124)


def test_it_is_renewed_with_two_tries_to_spare():
    """At a third of the time to live it is renewed; two more such waits end before the holder must stop."""
    tenure = Tenure(ttl_s=30, sent_at=100)
    assert tenure.renew_at == pytest.approx(110)
    assert tenure.renew_at + 10 < tenure.ends_at


def test_a_renewal_counts_from_before_it_was_sent():
    """However late its answer comes."""
    tenure = Tenure(ttl_s=30, sent_at=100)
    tenure.renewed(112, 30)
    assert tenure.ends_at == 136


def test_a_late_answer_to_an_older_renewal_changes_nothing():
    """An answer that was overtaken by a newer one never shortens the time."""
    tenure = Tenure(ttl_s=30, sent_at=100)
    tenure.renewed(120, 30)
    tenure.renewed(110, 30)
    assert tenure.ends_at == 144


def test_boot_time_goes_on():
    """It never goes back."""
    assert boot_time() <= boot_time()
