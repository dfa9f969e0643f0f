"""A gang's records come one by one: nobody is let in before all of them did, and he holds all that he may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.brokering.record import Grant, Record
from actors.fencing.fence import Fence
from chimera.devices.processes import Process
from chimera.devices.reading import Reading
from chimera.errors import UnavailableError
from chimera.testing import ManualClock

pytestmark = pytest.mark.anyio
GANG = ("n.a", "n.b", "other.c")


def record(device: str) -> Record:
    """One of the gang's records."""
    grant = Grant("l", GANG, 1000, 16_000, 7, 0.0, 60.0, 60.0, "x", "t", "", 50)
    return Record("n", device, memory_mib=16_000, version=3, token=7, grants=(grant,), fenced=True)


def fence(folder: Path) -> Fence:
    """Of a node with two devices that answer."""
    clock = ManualClock()
    made = Fence("n", folder / "tokens.json", clock, clock.monotonic, 1.0)
    made.readings = {device: Reading(uuid=device, kind="gpu", model="m", memory_mib=16_000) for device in ("a", "b")}
    return made


async def test_nobody_begins_before_the_whole_gang_is_known(tmp_path: Path):
    """With one of two records seen, the use is refused for a moment: the other device would be told as free."""
    made = fence(tmp_path)
    made.see(record("a"))
    with pytest.raises(UnavailableError, match=r"not known here yet that lease l has n\.b"):
        await made.admit("l", 7, 0)
    made.see(record("b"))
    assert (await made.admit("l", 7, 0)).devices == {"a", "b"}


def test_a_holder_that_was_found_holds_what_is_learned_later(tmp_path: Path):
    """Found after a restart while one record was known, a holder is told for the second device, too."""
    made = fence(tmp_path)
    made.see(record("a"))
    made.adopt([Process(pid=1, parent=0, group=1, started=0, resident_mib=0, lease="l")])
    assert (made.held("a"), made.held("b")) == (["l"], [])
    made.see(record("b"))
    assert made.held("b") == ["l"]
