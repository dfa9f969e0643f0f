"""Whose memory is it."""

from __future__ import annotations

import pytest

from actors.fencing.memory import SLACK_MIB, Share, Sight, remains, unexplained
from chimera.devices.reading import Reading

SIGHT = Sight(pids={1, 2, 3, 99}, own=99)


def gpu(used: int | None, processes: dict[int, int | None] | None = None, trouble: str = "") -> Reading:
    """A GPU of 40 GB."""
    return Reading(uuid="GPU", memory_mib=40_000, memory_used_mib=used, processes=processes, trouble=trouble)


@pytest.mark.parametrize(
    ("reading", "shares", "expected", "why"),
    [
        (gpu(None), {}, 0, "nothing is told"),
        (gpu(SLACK_MIB), {}, 0, "a driver keeps a little"),
        (gpu(5000), {}, 5000, "nobody has a lease"),
        (gpu(5000, {1: 5000}), {}, 5000, "a process without a lease"),
        (gpu(5000, {1: 5000}), {"L": Share(8000, {1})}, 0, "the holder's own"),
        (gpu(9000, {1: 9000}), {"L": Share(8000, {1})}, 1000, "a holder uses more than its share"),
        (gpu(9000, {1: 4000, 2: 5000}), {"L": Share(8000, {1})}, 5000, "a stranger beside a holder"),
        (gpu(5000, {2: 5000}), {"L": Share(8000, {1})}, 5000, "a holder that uses nothing yet explains nothing"),
        (gpu(5000, {}), {"L": Share(8000, {1})}, 0, "in a container the list is empty"),
        (gpu(9000, {7001: 9000}), {"L": Share(8000, {1})}, 1000, "the list has another namespace's numbers"),
        (gpu(9000, None), {"L": Share(8000), "M": Share(500)}, 500, "there is no list"),
        (gpu(5000, {1: None}), {"L": Share(8000, {1})}, 0, "the list has no sizes"),
        (gpu(5000, {99: 5000}), {}, 0, "our own use is under a lease"),
    ],
)
def test_what_no_lease_explains(reading: Reading, shares: dict[str, Share], expected: int, why: str):
    """Foreign memory is what is left after every lease explained its part."""
    assert unexplained(reading, shares, SIGHT) == expected, why


@pytest.mark.parametrize(
    ("reading", "shares", "before", "word"),
    [
        (gpu(0, {}), {}, 0, ""),
        (gpu(5000, {1: 5000}), {}, 0, "still lists process 1"),
        (gpu(5000, {}), {}, 0, "5000 MiB of GPU did not come back"),
        (gpu(5000, None), {}, 0, "5000 MiB of GPU did not come back"),
        (gpu(5000, None), {}, 5000, ""),
        (gpu(5000, {2: 5000}), {}, 0, ""),
        (gpu(8000, {2: 5000}), {}, 0, "3000 MiB"),
        (gpu(5000, {2: 5000}), {"M": Share(5000, {2})}, 0, ""),
        (gpu(None, None, "no answer"), {}, 0, "does not tell whether"),
        (gpu(None, None), {}, 0, ""),
    ],
)
def test_whether_an_ended_holders_memory_came_back(reading: Reading, shares: dict[str, Share], before: int, word: str):
    """What was there before it, other leases and strangers that came meanwhile are not waited for; all else is."""
    found = remains(reading, shares, SIGHT, pids={1}, before_mib=before)
    assert word in found
    assert bool(found) == bool(word)
