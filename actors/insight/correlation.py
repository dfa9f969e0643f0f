"""Which series move together, and which one first?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from subjects.insight import Pattern

from .arrays import Floats, Integers, counting
from .independence import filled, innovations
from .libraries import normal_tail
from .wording import number, span

MOST_SERIES, MOST_LAG, LEAST_VALUES = 256, 60, 60
_CLIP = 4.0


@dataclass(frozen=True, slots=True)
class Lagged:
    """Two series (their numbers) that move together: ``second`` follows ``first`` by ``lag`` steps.

    Attributes:
        r: Correlation of their innovations at that lag.
        p: Corrected for all lags of the pair, not yet for all pairs.
        q: The smallest false discovery rate at which the pair is told.
    """

    first: int
    second: int
    lag: int
    r: float
    p: float
    q: float


def correlations(
    names: Sequence[str], since: float, values: Floats, step_s: float, *, lags: int = 15, rate: float = 0.05
) -> list[Pattern]:
    """Pairs of series that move together, strongest evidence first.

    Both series of a pair are reduced to the innovations of an AR(1) after clipping at four sigma: two independent
    but autocorrelated series correlate by chance far more often than a table of r says (Yule 1926). The best of
    2 ``lags`` + 1 lags is corrected for having been chosen (Bonferroni); over all pairs, which depend on each other,
    the false discovery rate is held at ``rate`` (Benjamini & Yekutieli, Ann. Statist. 2001). A shared time of day is
    not a correlation: remove it before. At most 256 series, those with most data.

    Args:
        names: Of the series.
        since: Unix time of the first value.
        values: Shape (series, n), ``nan`` for none.
        step_s: Seconds between values.
        lags: Most steps that one may follow the other.
        rate: Share of what is told that may be chance.
    """
    found = pairs(values, lags=lags, rate=rate)
    until = since + values.shape[1] * step_s
    return [_told(names[pair.first], names[pair.second], pair, (since, until), step_s) for pair in found]


def pairs(values: Floats, *, lags: int = 15, rate: float = 0.05) -> list[Lagged]:
    """As ``correlations``, by number."""
    lags = min(lags, MOST_LAG, max(0, values.shape[1] // 8))
    kept, whitened = _whiten(values)
    if kept.size < 2:  # noqa: PLR2004 - a pair
        return []
    n = whitened.shape[1]
    upper = np.triu_indices(kept.size, 1)
    table = np.stack([_at_lag(whitened, lag)[upper] for lag in range(-lags, lags + 1)])
    counts = n - np.abs(np.arange(-lags, lags + 1))[:, None]
    z = np.arctanh(np.clip(table, -0.999999, 0.999999)) * np.sqrt(np.maximum(counts - 3, 1))
    best = np.argmax(np.abs(z), axis=0)
    places = counting(best.size)
    p = np.minimum(1.0, normal_tail(z[best, places]) * table.shape[0])
    q = false_discovery(p)
    told = [int(index) for index in np.argsort(p, kind="stable") if q[index] <= rate]
    ends = kept[upper[0]], kept[upper[1]]
    return [
        _turned(
            Lagged(int(ends[0][i]), int(ends[1][i]), int(best[i]) - lags, float(table[best[i], i]), float(p[i]), q[i])
        )
        for i in told
    ]


def false_discovery(p: Floats) -> Floats:
    """Adjusted p-values of Benjamini & Yekutieli: valid however the tests depend on each other."""
    count = p.size
    order = np.argsort(p)
    harmonic = float((1 / np.arange(1, count + 1)).sum())
    ranked = p[order] * count * harmonic / np.arange(1, count + 1)
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(ranked[::-1])[::-1])
    return adjusted


def _turned(pair: Lagged) -> Lagged:
    """So that the second follows the first."""
    return pair if pair.lag >= 0 else replace(pair, first=pair.second, second=pair.first, lag=-pair.lag)


def _at_lag(rows: Floats, lag: int) -> Floats:
    """Correlations of every row with every row ``lag`` steps later: [i, j] compares i at t with j at t + lag."""
    n = rows.shape[1]
    early = rows[:, : n - lag] if lag >= 0 else rows[:, -lag:]
    late = rows[:, lag:] if lag >= 0 else rows[:, : n + lag]
    scale = np.sqrt(np.outer((early**2).sum(axis=1), (late**2).sum(axis=1)))
    return np.divide(early @ late.T, scale, out=np.zeros(scale.shape), where=scale > 0)


def _whiten(values: Floats) -> tuple[Integers, Floats]:
    """Numbers of the series with enough data, and their clipped, centred innovations."""
    known = np.isfinite(values).sum(axis=1)
    least = max(LEAST_VALUES, values.shape[1] // 2)
    able = np.array([row for row in np.argsort(-known, kind="stable")[:MOST_SERIES] if known[row] >= least], np.int64)
    able = np.sort(able)
    rows = [_innovations(values[row]) for row in able]
    moving = [index for index, row in enumerate(rows) if row.std() > 0]
    return able[moving], np.stack([rows[index] for index in moving]) if moving else np.empty((0, 0))


def _innovations(row: Floats) -> Floats:
    new = innovations(filled(row))
    middle = float(np.median(new))
    spread = 1.4826 * float(np.median(np.abs(new - middle))) or float(new.std())
    clipped = np.clip(new, middle - _CLIP * spread, middle + _CLIP * spread)
    return clipped - clipped.mean()


def _told(first: str, second: str, pair: Lagged, window: tuple[float, float], step_s: float) -> Pattern:
    how = "moves with" if pair.r > 0 else "moves against"
    when = f"{span(pair.lag * step_s)} later" if pair.lag else "at the same time"
    words = f"{second} {how} {first}, {when} (correlation of what is new in them {number(pair.r)})"
    return Pattern(
        kind="correlation", series=second, confidence=max(0.0, 1 - pair.q), since=window[0], until=window[1],
        words=words, figures={"with": first, "lag_s": pair.lag * step_s, "r": pair.r, "p": pair.p, "q": pair.q},
    )  # fmt: skip
