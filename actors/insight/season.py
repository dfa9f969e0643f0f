"""Does a series follow the time of day or the day of the week, and how much of it does?"""

from __future__ import annotations

from typing import Literal

import numpy as np

from subjects.insight import Pattern

from .arrays import Floats, counting
from .wording import number, percent

Cycle = Literal["day", "week"]

HOURS = {"day": 24, "week": 168}
LEAST_CYCLES = {"day": 4, "week": 3}
SHUFFLES = 399
_HOUR = 3600
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def season(
    series: str, since: float, hours: Floats, cycle: Cycle, *, level: float = 0.95, seed: int = 0
) -> Pattern | None:
    """How far a series follows ``cycle``; ``None`` with too few cycles or if it is not distinguishable at ``level``.

    ``strength`` is the share of the variance that the mean cycle of the *other* cycles explains (left out in turn, so
    noise gives 0 and not 1/n). The p-value comes from turning each cycle by a random number of hours: that keeps
    every cycle's own autocorrelation and breaks only what they share. The unit is a whole cycle.

    Args:
        series: Its name.
        since: Unix time of the first hour.
        hours: Hourly means, ``nan`` for none; shape (n,). Slow changes are removed first.
        cycle: Time of day, or time of week.
        level: How sure it must be to be told.
        seed: Of the turning.
    """
    table = _table(since, hours, HOURS[cycle])
    if table.shape[0] < LEAST_CYCLES[cycle]:
        return None
    found = strength(table)
    p = _chance(table, seed)
    if found <= 0 or p > 1 - level + 1e-12:
        return None
    return _told(series, cycle, (since, since + hours.size * _HOUR), table.mean(axis=0), (found, p))


def strength(table: Floats) -> float:
    """Share of the variance within cycles that the other cycles' mean explains; shape (cycles, hours) in."""
    count = table.shape[0]
    others = (table.sum(axis=0) - table) / (count - 1)
    total = float((table**2).sum())
    return max(0.0, 1 - float(((table - others) ** 2).sum()) / total) if total else 0.0


def _table(since: float, hours: Floats, period: int) -> Floats:
    """Whole cycles as rows, each around its own mean; cycles with more than a quarter missing are left out."""
    begin = int(since // _HOUR) % period
    whole = hours[(period - begin) % period :]
    table = whole[: whole.size // period * period].reshape(-1, period)
    table = table[np.isfinite(table).sum(axis=1) >= 0.75 * period]
    means = np.nanmean(table, axis=1, keepdims=True) if table.size else table
    return np.where(np.isfinite(table), table - means, 0.0)


def _chance(table: Floats, seed: int) -> float:
    rng = np.random.default_rng(seed)
    cycles, period = table.shape
    power = float((table.mean(axis=0) ** 2).sum())
    turns = rng.integers(0, period, (SHUFFLES, cycles, 1))
    columns = (counting(period) + turns) % period
    turned = table[np.arange(cycles)[None, :, None], columns].mean(axis=1)
    exceed = int(((turned**2).sum(axis=1) >= power * (1 - 1e-12)).sum())
    return (1 + exceed) / (SHUFFLES + 1)


def _told(series: str, cycle: Cycle, window: tuple[float, float], mean: Floats, facts: tuple[float, float]) -> Pattern:
    found, p = facts
    high, low = int(np.argmax(mean)), int(np.argmin(mean))
    swing = float(mean[high] - mean[low])
    words = (
        f"{series} follows the time of {cycle}: {percent(found)} of its hourly variation; highest around "
        f"{_clock(high, cycle)}, lowest around {_clock(low, cycle)}, {number(swing)} apart"
    )
    figures = {"strength": found, "p": p, "swing": swing, "peak_hour": high, "trough_hour": low}
    return Pattern(
        kind="seasonality", series=series, confidence=1 - p, since=window[0], until=window[1], words=words,
        figures={**figures, "cycle": cycle},
    )  # fmt: skip


def _clock(hour: int, cycle: Cycle) -> str:
    """Hours of a week count from the epoch, a Thursday."""
    if cycle == "day":
        return f"{hour:02d}:00 UTC"
    return f"{_DAYS[(hour // 24 + 3) % 7]} {hour % 24:02d}:00 UTC"
