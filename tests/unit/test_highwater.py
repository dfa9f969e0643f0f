"""Marks outside of the streams: what is behind them is an alarm, once, until somebody accepts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chimera.bus import MemoryBus, MemoryHub, StreamSpec
from chimera.highwater import HighWater, Mark, accept
from chimera.node.guard import Guard
from chimera.testing import EventRecorder, ManualClock, settle

pytestmark = pytest.mark.anyio


def test_a_mark_outlives_the_process_and_never_falls(tmp_path: Path):
    """What was saved is there again; a lower value moves nothing; nothing is written when nothing moved."""
    marks = HighWater(tmp_path)
    marks.note("TASKS", seq=7, epoch=2)
    marks.note("TASKS", seq=5)
    assert marks.save()
    assert not marks.save()
    again = HighWater(tmp_path)
    assert again.known() == ("TASKS",)
    assert again.compare("TASKS", seq=7, epoch=2, at=1.0) is None
    assert again.compare("NEW", seq=0, at=1.0) is None


@pytest.mark.parametrize(("seq", "epoch"), [(6, 2), (9, 1)])
def test_what_is_behind_is_an_alarm_until_accepted(tmp_path: Path, seq: int, epoch: int):
    """Fewer messages, or more of them under an older epoch: an alarm that a restart keeps and that is told once."""
    marks = HighWater(tmp_path)
    marks.note("TASKS", seq=7, epoch=2)
    found = marks.compare("TASKS", seq=seq, epoch=epoch, at=1.0)
    assert found is not None
    assert (found.found, found.mark, found.lost) == (Mark(seq, epoch), Mark(7, 2), 1)
    assert "chimera rebuild" in found.detail
    again = HighWater(tmp_path)
    assert list(again.texts) == ["TASKS"]
    assert again.compare("TASKS", seq=seq, epoch=epoch, at=2.0) is None
    assert again.refresh() == []
    assert list(accept(tmp_path)) == ["TASKS"]
    assert again.refresh() == ["TASKS"]
    assert (again.alarms, HighWater(tmp_path).alarms, accept(tmp_path)) == ({}, {}, {})


async def test_a_damaged_file_is_told_and_begun_anew(tmp_path: Path):
    """Half a file stops no start, but it is said that nothing can be compared."""
    (tmp_path / "high-water.json").write_text('{"TASKS": {"se')
    assert HighWater(tmp_path).known() == ()
    clock, events = ManualClock(), EventRecorder()
    async with MemoryBus(MemoryHub(clock), name="n") as bus:
        await Guard(lambda: bus, tmp_path, clock, events).start()
    assert events.names() == ["store-regressed"]


async def test_the_guard_moves_marks_and_finds_a_server_that_forgot(tmp_path: Path):
    """Marks follow the streams at the stated pace; a server that comes back with less is found out at once."""
    clock, events = ManualClock(), EventRecorder()
    hub = MemoryHub(clock)
    async with MemoryBus(hub, name="n") as bus:
        await bus.declare(StreamSpec("TASKS", ("chimera.task.log",)))
        guard = Guard(lambda: bus, tmp_path, clock, events)
        await guard.start()
        for number in range(3):
            await bus.append("chimera.task.log", b"x", msg_id=str(number))
        await guard.stop()
        assert HighWater(tmp_path).compare("TASKS", seq=3, at=0.0) is None
    other = MemoryHub(clock)
    async with MemoryBus(other, name="n") as bus:
        await bus.declare(StreamSpec("TASKS", ("chimera.task.log",)))
        guard = Guard(lambda: bus, tmp_path, clock, events)
        await guard.start()
        await settle()
    assert events.names() == ["store-regressed"]
    assert guard.marks.alarms["TASKS"].lost == 3


async def test_a_stream_that_is_gone_altogether_went_back(tmp_path: Path):
    """An emptied data folder is the worst of older copies."""
    marks = HighWater(tmp_path)
    marks.note("DEAD", seq=4)
    marks.save()
    clock, events = ManualClock(), EventRecorder()
    async with MemoryBus(MemoryHub(clock), name="n") as bus:
        guard = Guard(lambda: bus, tmp_path, clock, events)
        await guard.start()
    assert guard.marks.alarms["DEAD"].lost == 4


async def test_an_older_copy_that_was_written_on_is_known_by_its_epoch(tmp_path: Path):
    """The scheduler says which epoch it read: one below the mark is an alarm, one above moves it."""
    clock, events = ManualClock(), EventRecorder()
    guard = Guard(lambda: None, tmp_path, clock, events)  # pyright: ignore[reportArgumentType] - not asked here
    guard.went_back("TASKS", 3)
    guard.went_back("TASKS", 4)
    assert events.names() == []
    guard.went_back("TASKS", 3)
    assert events.names() == ["store-regressed"]
    assert "epoch 3, it was at 4" in guard.marks.alarms["TASKS"].detail
