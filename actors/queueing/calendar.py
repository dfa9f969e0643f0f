"""When a schedule fires: at a time, every so often, or by cron in a time zone.

Cron has five fields (minute, hour, day of month, month, day of week) with ``*``, lists, ranges, steps and names; when
both days are restricted either one suffices, as POSIX crontab says; 7 is Sunday too. A local time that the clock skips
in spring fires as much later as the clock jumped; one that comes twice in autumn fires the first time only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chimera.errors import BadMessageError

_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6,
    "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip
_DAYS = {name: at for at, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_NO_NAMES: dict[str, int] = {}
_NAMES = (_NO_NAMES, _NO_NAMES, _NO_NAMES, _MONTHS, _DAYS)
_HORIZON_DAYS = 366 * 9
"""29 February can be eight years away (1896 to 1904, 2096 to 2104)."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def on(self, day: date) -> bool:
        """True if it fires on that day."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_day and by_weekday if self.any_day or self.any_weekday else by_day or by_weekday


@lru_cache(maxsize=256)
def parse_cron(text: str) -> Cron:
    """Read an expression.

    Raises:
        BadMessageError: If it is none; the field is named.
    """
    parts = text.lower().split()
    if len(parts) != len(_FIELDS):
        raise BadMessageError(f"cron {text!r} has {len(parts)} fields, not 5", hint="such as '30 2 * * mon-fri'")
    minutes, hours, days, months, weekdays = (
        _field(part, *spec, names) for part, spec, names in zip(parts, _FIELDS, _NAMES, strict=True)
    )
    return Cron(
        tuple(sorted(minutes)), tuple(sorted(hours)), frozenset(days), frozenset(months),
        frozenset(day % 7 for day in weekdays), parts[2].startswith("*"), parts[4].startswith("*"),
    )  # fmt: skip


def zone_of(name: str) -> ZoneInfo:
    """The time zone.

    Raises:
        BadMessageError: If there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadMessageError(
            f"there is no time zone {name!r}", hint="use an IANA name such as Europe/Berlin"
        ) from error


def next_cron(cron: Cron, zone: ZoneInfo, after: float) -> float | None:
    """The first Unix time later than ``after`` at which it fires; ``None`` if never (30 February)."""
    local = datetime.fromtimestamp(after, zone)
    first = local.date() - timedelta(days=1)  # a skipped time of yesterday may fire after midnight
    for ahead in range(_HORIZON_DAYS):
        day = first + timedelta(days=ahead)
        if cron.on(day) and (found := _first_on(cron, zone, day, after)) is not None:
            return found
    return None


def next_every(every_s: float, start: float, after: float) -> float:
    """The first ``start + n * every_s`` (n >= 1) later than ``after``: a slow run does not shift the grid."""
    if after < start + every_s:
        return start + every_s
    steps = int((after - start) // every_s) + 1
    found = start + steps * every_s
    return found if found > after else found + every_s


def _first_on(cron: Cron, zone: ZoneInfo, day: date, after: float) -> float | None:
    times = (_instant(datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone))
             for hour in cron.hours for minute in cron.minutes)  # fmt: skip
    return min((at for at in times if at > after), default=None)


def _instant(local: datetime) -> float:
    """Unix time of a wall time: the first of two; a skipped one as much later as the clock jumped (PEP 495, fold=0)."""
    return local.astimezone(UTC).timestamp()


def _field(text: str, what: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step_text = part.partition("/")
        step = _number(step_text, what, 1, high, _NO_NAMES) if "/" in part else 1
        if span == "*":
            begin, end = low, high
        else:
            first, dash, last = span.partition("-")
            begin = _number(first, what, low, high, names)
            end = _number(last, what, low, high, names) if dash else (high if "/" in part else begin)
        if begin > end:
            raise BadMessageError(f"cron: the {what} range {span!r} runs backwards")
        found.update(range(begin, end + 1, step))
    return found


def _number(text: str, what: str, low: int, high: int, names: dict[str, int]) -> int:
    value = names.get(text, int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1)  # noqa: PLR2004 - far below any limit
    if not low <= value <= high:
        raise BadMessageError(f"cron: {text!r} is no {what} ({low} to {high})")
    return value
