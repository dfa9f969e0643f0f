"""When a schedule fires, beside the library ``cronsim`` (Debian's cron in Python), over expressions, zones and years.

Where the clock does not change that day they agree (but for a weekday ``0-0``, which cronsim takes for every day). On
a day on which it does there are two differences, both chosen:

* a time that spring skips: cronsim fires a fixed hour when the clock has jumped (03:00) and drops times of ``*`` hours;
  here each fires as much later as the clock jumped (02:30 becomes 03:30), so a run is neither lost nor before its time;
* a time that autumn repeats: cronsim fires ``*`` hours and minutes both times; here every wall time fires once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.queueing.calendar import next_cron, parse_cron

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns",
    "Africa/Casablanca", "Pacific/Apia", "Asia/Tehran", "America/Sao_Paulo",
]  # fmt: skip


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.lists(number, min_size=2, max_size=2, unique=True).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(st.one_of(st.just("*"), span), st.integers(1, 7)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    one = st.one_of(number.map(str), span, stepped)
    return st.one_of(st.just("*"), st.lists(one, min_size=1, max_size=3).map(",".join))


EXPRESSIONS = st.tuples(_field(0, 59), _field(0, 23), _field(1, 28), _field(1, 12), _field(0, 6)).map(" ".join)
MOMENTS = st.datetimes(datetime(2008, 1, 1), datetime(2036, 1, 1))  # noqa: DTZ001 - hypothesis wants naive bounds


def _ours(text: str, zone: str, after: datetime) -> datetime:
    found = next_cron(parse_cron(text), ZoneInfo(zone), after.timestamp())
    assert found is not None
    return datetime.fromtimestamp(found, UTC)


def _theirs(text: str, zone: str, after: datetime) -> datetime:
    return next(CronSim(text, after.astimezone(ZoneInfo(zone)))).astimezone(UTC)


def _changes(zone: ZoneInfo, first: datetime, last: datetime) -> bool:
    """True if the clock of the zone is set between the day before one moment and the day after another."""
    moment, end = first - timedelta(days=1), last + timedelta(days=1)
    offset = moment.astimezone(zone).utcoffset()
    while moment < end:
        moment = min(end, moment + timedelta(hours=1))
        if moment.astimezone(zone).utcoffset() != offset:
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS, st.sampled_from(ZONES), MOMENTS)
def test_cron_fires_when_the_reference_says_unless_the_clock_is_set(text: str, zone: str, naive: datetime) -> None:
    """The next run is the same; if not, the clock of that zone is set within a day of where they part."""
    after = naive.replace(tzinfo=UTC)
    ours, theirs = _ours(text, zone, after), _theirs(text, zone, after)
    assert ours == theirs or _changes(ZoneInfo(zone), min(ours, theirs), min(ours, theirs))


@pytest.mark.parametrize(
    ("text", "after", "ours", "theirs"),
    [
        ("30 2 * * *", "2026-03-28T12:00+00:00", "2026-03-29T01:30+00:00", "2026-03-29T01:00+00:00"),
        ("30 * * * *", "2026-03-29T00:30+00:00", "2026-03-29T01:30+00:00", "2026-03-29T01:30+00:00"),
        ("30 2 * * *", "2026-10-25T00:30+00:00", "2026-10-26T01:30+00:00", "2026-10-26T01:30+00:00"),
        ("*/30 * * * *", "2026-10-25T00:30+00:00", "2026-10-25T02:00+00:00", "2026-10-25T01:00+00:00"),
    ],
)
def test_where_the_clock_is_set_the_differences_are_these(text: str, after: str, ours: str, theirs: str) -> None:
    """Berlin 2026: a skipped time, a skipped time of every hour, a repeated time, and a repeated half-hour grid."""
    moment = datetime.fromisoformat(after)
    assert _ours(text, "Europe/Berlin", moment) == datetime.fromisoformat(ours)
    assert _theirs(text, "Europe/Berlin", moment) == datetime.fromisoformat(theirs)


@settings(max_examples=100, deadline=None)
@given(EXPRESSIONS, st.sampled_from(ZONES), MOMENTS)
def test_runs_only_move_forward(text: str, zone: str, naive: datetime) -> None:
    """Through any change of the clock each run is later than the one before: none fires twice."""
    at = naive.replace(tzinfo=UTC)
    for _ in range(5):
        later = _ours(text, zone, at)
        assert later > at
        at = later
