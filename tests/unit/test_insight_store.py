"""The store of KPI series: every point once, in bounded memory, and what is refused is counted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from actors.insight.intake import Intake
from actors.insight.once import Once
from actors.insight.store import MINUTE, SeriesStore, Size
from subjects.event import TaskJudged, TaskProcessed

START = 1_700_000_040.0
NOW = START + 1e6


def record(**changes: Any) -> TaskProcessed:
    """A task's record."""
    fields: dict[str, Any] = {
        "job_id": "j", "agent": "a", "release": 1, "task": "predict", "outcome": "ok", "at": START, "queue_ms": 1.0,
        "run_ms": 2.0, "cpu_ms": 2.0, "memory_bytes": 65_536, "node": "n",
    }  # fmt: skip
    return TaskProcessed(**{**fields, **changes})


def test_a_redelivered_record_counts_once():
    """The same stream sequence again changes nothing, and is counted as a repeat."""
    intake = Intake(SeriesStore())
    assert intake.task("KPI", 7, record(), now=NOW)
    assert not intake.task("KPI", 7, record(), now=NOW)
    assert intake.repeated == 1
    intake.flush()
    assert intake.store.accepted == 5


def test_sequences_of_two_streams_do_not_collide():
    """A judgement with a task's sequence is another record."""
    intake = Intake(SeriesStore())
    judged = TaskJudged(job_id="j", agent="a", release=1, at=START, correct=True)
    assert intake.task("KPI", 1, record(), now=NOW)
    assert intake.judgement("EVENTS", 1, judged, now=NOW)
    assert "a/correct" in intake.store.names


def test_what_was_taken_before_a_restart_is_not_taken_again():
    """A restored intake refuses sequences up to the stored position."""
    intake = Intake(SeriesStore(), start={"KPI": 10})
    assert not intake.task("KPI", 10, record(), now=NOW)
    assert intake.task("KPI", 11, record(), now=NOW)


def test_a_sequence_that_left_the_window_is_not_guessed():
    """What may have been taken or not is counted as forgotten, not taken."""
    intake = Intake(SeriesStore(), window=64)
    intake.task("KPI", 1000, record(), now=NOW)
    assert not intake.task("KPI", 900, record(), now=NOW)
    assert intake.forgotten == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"run_ms": math.nan}, "malformed"),
        ({"run_ms": math.inf}, "malformed"),
        ({"queue_ms": -1.0}, "malformed"),
        ({"at": math.nan}, "malformed"),
        ({"at": 0.0}, "malformed"),
        ({"run_ms": 1e300}, "malformed"),
        ({"at": NOW + 3600}, "future"),
    ],
)
def test_a_bad_record_is_refused_whole_and_counted(changes: dict[str, Any], reason: str):
    """No figure of a refused record is kept, and the reason is counted once."""
    intake = Intake(SeriesStore())
    assert not intake.task("KPI", 1, record(**changes), now=NOW)
    assert intake.store.accepted == 0
    assert dict(intake.store.rejected) == {reason: 1}


def test_late_within_the_window_counts_and_later_is_refused():
    """Two minutes behind the newest is in time; more is refused as late."""
    store = SeriesStore()
    assert store.add("a/x", START + 300, 1.0, now=NOW)
    assert store.add("a/x", START + 181, 2.0, now=NOW)
    assert not store.add("a/x", START + 179, 3.0, now=NOW)
    assert store.rejected["late"] == 1


def test_one_clock_ahead_does_not_make_the_others_late():
    """A point from the far future is refused and does not move the newest time."""
    store = SeriesStore()
    store.add("a/x", START, 1.0, now=START)
    assert not store.add("a/x", START + 86_400, 1.0, now=START)
    assert store.add("a/x", START - 100, 1.0, now=START)


def test_a_minute_closes_once_with_its_late_points():
    """Closed minutes come in order, each once, and hold what came late; afterwards nothing can reach them."""
    store = SeriesStore()
    first = START // MINUTE * MINUTE
    for offset, value in ((0, 1.0), (119, 5.0), (1, 3.0), (30, 2.0), (179, 7.0)):
        store.add("a/x", first + offset, value, now=NOW)
    assert [minute.mean.tolist() for minute in store.closed() if minute.at >= first] == []
    store.add("a/x", first + 300, 9.0, now=NOW)
    closed = [minute for minute in store.closed() if minute.at >= first]
    assert [minute.at - first for minute in closed] == [0, 60, 120]
    assert [minute.mean[0] for minute in closed] == [2.0, 5.0, 7.0]
    assert [minute.count[0] for minute in closed] == [3, 1, 1]
    assert list(store.closed()) == []
    assert not store.add("a/x", first + 179, 1.0, now=NOW)


def test_silence_closes_minutes():
    """With nothing coming, passing time closes minutes without a value."""
    store = SeriesStore()
    store.add("a/x", START, 1.0, now=NOW)
    list(store.closed())
    store.advance(START + 600)
    closed = list(store.closed())
    assert len(closed) >= 7
    assert math.isnan(closed[-1].mean[0])
    assert closed[-1].count[0] == 0


def test_a_long_gap_leaves_nothing_of_the_past_behind():
    """After a gap longer than the ring, old values do not show up in new minutes."""
    store = SeriesStore(Size(minutes=60, hours=48))
    for minute in range(60):
        store.add("a/x", START + 60 * minute, 5.0, now=NOW)
    store.add("a/x", START + 60 * 500, 1.0, now=NOW)
    store.advance(START + 60 * 510)
    _, values = store.minutes("a/x", 60)
    assert np.nansum(values) == 1.0
    assert sum(1 for _ in store.closed()) <= 60


def test_memory_is_bounded_whatever_comes():
    """Series beyond the limit are refused and counted; memory does not grow with points."""
    store = SeriesStore(Size(series=100, minutes=60, hours=48))
    for number in range(150):
        store.add(f"a{number}/x", START, 1.0, now=NOW)
    full = store.bytes
    numbers = np.arange(5000) % 100
    for turn in range(20):
        store.add_many(numbers, START + turn * 60 + np.zeros(5000), np.ones(5000), now=NOW)
    assert store.rejected["too-many-series"] == 50
    assert store.bytes == full <= 20 * 108 * 128


def test_hours_keep_weeks():
    """An hour's mean is that of its points."""
    store = SeriesStore()
    first = START // 3600 * 3600
    for hour in range(30):
        for value in (hour, hour + 2.0):
            store.add("a/x", first + hour * 3600 + 10 * value, value, now=NOW)
    since, values = store.hours("a/x", 28)
    assert values[-1] == (since + 27 * 3600 - first) / 3600 + 1


def test_a_size_that_keeps_less_than_it_waits_for_is_refused():
    """Lateness longer than the ring can't be served."""
    with pytest.raises(ValueError, match="late_s"):
        Size(minutes=10, late_s=3600)


def test_once_clears_what_the_window_leaves():
    """A number that shares its bit with one long gone is fresh."""
    once = Once(64)
    assert once.take(5) == "fresh"
    assert once.take(5 + 64) == "fresh"
    assert once.take(5 + 64) == "repeated"
    assert once.take(5 + 640) == "fresh"
    assert once.take(5 + 600) == "fresh"
