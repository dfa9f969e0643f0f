"""What the hot path lets through, however often it is asked."""

import pytest

from chimera.bus._hot import KNOWN_SUBJECTS, HotPath
from chimera.errors import BadMessageError, BusDownError
from chimera.testing import ManualClock

pytestmark = pytest.mark.anyio


async def test_a_bad_subject_is_refused_every_time_and_good_ones_are_bounded() -> None:
    """A subject that was refused once is not taken the second time; subjects that were found good do not pile up."""
    path = HotPath("_INBOX.t", ManualClock())
    for _ in range(2):
        with pytest.raises(BadMessageError):
            await path.publish("chimera.bad subject", b"")
    for number in range(KNOWN_SUBJECTS * 3):
        with pytest.raises(BusDownError):
            await path.publish(f"chimera.good.{number}", b"")
    assert 0 < len(path._checked) <= KNOWN_SUBJECTS  # pyright: ignore[reportPrivateUsage] - its size shows nowhere else
    with pytest.raises(BadMessageError):
        await path.publish("chimera.bad subject", b"")
