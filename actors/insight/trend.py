"""Does a series rise or fall? The slope with its interval, and how sure it is that there is one."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from subjects.insight import Pattern

from .arrays import Floats
from .independence import blocks, inflation
from .wording import number, percent, span

MOST_BLOCKS, LEAST_BLOCKS = 48, 12
_DAY = 86_400
_NORMAL = NormalDist()


def trend(series: str, since: float, values: Floats, step_s: float, *, level: float = 0.95) -> Pattern | None:
    """The series' trend, or ``None`` if it has too little data or none is distinguishable at ``level``.

    Theil-Sen slope (Sen, JASA 1968) over block means, tested by Mann-Kendall. Both take independent values, which KPI
    scrapes are not: blocks make them nearly so, and the variance is inflated by what autocorrelation of the blocks'
    residuals is left (Hamed & Rao, J. Hydrology 1998, in its first-order form).

    Args:
        series: Its name.
        since: Unix time of the first value.
        values: One per step, ``nan`` for none; shape (n,).
        step_s: Seconds between values.
        level: Of the interval, and how sure a trend must be to be told.
    """
    means, length = blocks(values, MOST_BLOCKS)
    known = np.isfinite(means)
    if known.sum() < LEAST_BLOCKS:
        return None
    times: Floats = np.flatnonzero(known).astype(np.float64) * (length * step_s)
    slope, low, high, p = slope_of(times, means[known], level)
    if p > 1 - level or low <= 0 <= high:
        return None
    return _told(series, (since, since + values.size * step_s), means[known], (slope, low, high), p)


def slope_of(times: Floats, values: Floats, level: float) -> tuple[float, float, float, float]:
    """Theil-Sen slope per unit of time, its interval, and the two-sided p-value of Mann-Kendall. O(n^2) memory."""
    first, second = np.triu_indices(values.size, 1)
    rise = values[second] - values[first]
    slopes = np.sort(rise / (times[second] - times[first]))
    slope = float(np.median(slopes))
    n = values.size
    spread = np.sqrt(n * (n - 1) * (2 * n + 5) / 18 * inflation(values - slope * times))
    statistic = float(np.sign(rise).sum())
    z = (statistic - np.sign(statistic)) / spread
    reach = _NORMAL.inv_cdf(0.5 + level / 2) * spread
    lower = int(np.clip(np.floor((slopes.size - reach) / 2), 0, slopes.size - 1))
    upper = int(np.clip(np.ceil((slopes.size + reach) / 2), 0, slopes.size - 1))
    return slope, float(slopes[lower]), float(slopes[upper]), 2 * _NORMAL.cdf(-abs(z))


def _told(
    series: str, window: tuple[float, float], means: Floats, slopes: tuple[float, float, float], p: float
) -> Pattern:
    since, until = window
    slope, low, high = (each * _DAY for each in slopes)
    change = slope * (until - since) / _DAY
    start = float(np.median(means)) - change / 2
    share = f", {percent(abs(change / start))} of where it began" if start else ""
    words = (
        f"{series} {'rises' if slope > 0 else 'falls'} by {number(abs(slope))} a day (between {number(low)} and "
        f"{number(high)}): {number(abs(change))} over the last {span(until - since)}{share}"
    )
    return Pattern(
        kind="trend", series=series, confidence=1 - p, since=since, until=until, words=words,
        figures={"slope_per_day": slope, "low_per_day": low, "high_per_day": high, "change": change, "p": p},
    )  # fmt: skip
