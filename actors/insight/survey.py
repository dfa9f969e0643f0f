"""All patterns in all series: a snapshot taken where the store lives, and its analysis, fit for a worker thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from subjects.insight import Pattern

from .arrays import Floats, Integers
from .changes import changes
from .correlation import MOST_SERIES, correlations
from .independence import inflation
from .intake import ERROR, LOAD, agent_of, series_of
from .season import HOURS, season
from .store import HOUR, MINUTE, SeriesStore
from .trend import trend

_DAY = 86_400
_YOUNG_HOURS = 60


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of a store's figures, detached from it. ``minutes`` and ``hours`` have a row per series of ``names``."""

    names: list[str]
    minutes_since: float
    minutes: Floats
    hours_since: float
    hours: Floats


def snapshot(store: SeriesStore, *, agent: str = "", most: int = MOST_SERIES) -> Snapshot:
    """Copy the figures of up to ``most`` series (of one agent, if named), with every agent's load among them."""
    minutes: dict[str, Floats] = {}
    hours: dict[str, Floats] = {}
    first_minute = first_hour = 0.0
    for name in store.names:
        if len(minutes) >= most:
            break
        if agent in {"", agent_of(name)}:
            first_minute, minutes[name] = store.minutes(name)
            first_hour, hours[name] = store.hours(name)
            if name.endswith("/" + ERROR):
                load = series_of(agent_of(name), LOAD)
                minutes[load] = _from_first(store.minutes(name, view="count")[1])
                hours[load] = _from_first(store.hours(name, view="count")[1]) / (HOUR / MINUTE)
    names = list(minutes)
    empty = np.empty((0, 0))
    return Snapshot(
        names, first_minute, np.stack([minutes[n] for n in names]) if names else empty,
        first_hour, np.stack([hours[n] for n in names]) if names else empty,
    )  # fmt: skip


def survey(taken: Snapshot, *, stop: Callable[[], bool] = lambda: False) -> list[Pattern]:
    """Every pattern that can be told from noise, surest first. About 15 ms per series, plus the pairs of 256 series.

    Each series is tested for a handful of things at 95 %, corrected for how many series there are (Bonferroni), so
    that a thousand quiet series do not give fifty patterns; correlations hold their own false discovery rate.

    Args:
        taken: From ``snapshot``.
        stop: Asked between series; true ends the survey early with what there is.
    """
    found: list[Pattern] = []
    level = 1 - 0.05 / max(1, len(taken.names))
    flat: list[Floats] = []
    for row, name in enumerate(taken.names):
        if stop():
            return found
        patterns, residual = _series(name, taken, row, level)
        found += patterns
        flat.append(residual)
    if flat and not stop():
        found += correlations(taken.names, taken.minutes_since, np.stack(flat), MINUTE)
    return sorted(found, key=lambda pattern: -pattern.confidence)


def _series(name: str, taken: Snapshot, row: int, level: float) -> tuple[list[Pattern], Floats]:
    """Patterns of one series, and its minutes without time of day."""
    since, hours, _ = _tail(taken.hours_since, taken.hours[row], HOUR)
    minutes = taken.minutes[row]
    seasons: list[Pattern] = []
    for cycle in ("day", "week"):
        told = season(name, since, hours, cycle, level=max(0.95, min(level, 1 - 1 / 400)))
        if told is not None:
            seasons.append(told)
            hours = hours - _cycle(since, hours, HOURS[cycle])
    daily = any(pattern.figures["cycle"] == "day" for pattern in seasons)
    flat = minutes - _day(taken, row) if daily else minutes
    young = hours.size < _YOUNG_HOURS
    start, values, step_s = _tail(taken.minutes_since, flat, MINUTE) if young else (since, hours, HOUR)
    found = [*seasons, *_moves(name, start, values, step_s, level)]
    found += changes(name, *_tail(taken.minutes_since, flat, MINUTE), of="spread", level=level)
    return found, flat


def _moves(name: str, since: float, values: Floats, step_s: float, level: float) -> list[Pattern]:
    """A trend or changes of level, whichever leaves less of the series unexplained.

    A step looks like a trend to a line, and a trend like steps to a segmentation: only one of them is told.
    """
    line = trend(name, since, values, step_s, level=level)
    steps = changes(name, since, values, step_s, level=level)
    if line is None or not steps:
        return [line] if line else steps
    times = np.arange(values.size) * step_s
    straight = values - float(line.figures["slope_per_day"]) / _DAY * times
    places = [round((step.since - since) / step_s) for step in steps]
    parts = [part - np.nanmean(part) for part in np.split(values, places) if np.isfinite(part).any()]
    line_cost = _cost(straight - np.nanmean(straight), 2)
    return [line] if line_cost <= _cost(np.concatenate(parts), 2 * len(parts) - 1) else steps


def _cost(residuals: Floats, parameters: int) -> float:
    """Schwarz's criterion per value, with as many values as the residuals are worth independent ones."""
    known = residuals[np.isfinite(residuals)]
    worth = max(3.0, known.size / inflation(known))
    return float(np.log(max(float((known**2).mean()), 1e-300))) + parameters * float(np.log(worth)) / worth


def _tail(since: float, values: Floats, step_s: int) -> tuple[float, Floats, int]:
    known = _known(values)
    return since + (values.size - known.size) * step_s, known, step_s


def _cycle(since: float, hours: Floats, period: int) -> Floats:
    """The mean of every hour of a cycle, around 0, laid along ``hours``."""
    place: Integers = (int(since // HOUR) + np.arange(hours.size)) % period
    known = np.isfinite(hours)
    total = np.bincount(place[known], hours[known], period)
    count = np.bincount(place[known], minlength=period)
    means = np.where(count > 0, total / np.maximum(count, 1), 0.0)
    return (means - means[count > 0].mean())[place] if known.any() else np.zeros(hours.size)


def _day(taken: Snapshot, row: int) -> Floats:
    """The daily profile of the hours, by straight lines between the middles of the hours, along the minutes."""
    profile = _cycle(0.0, np.concatenate([taken.hours[row], np.full(24, np.nan)]), 24)
    begin = int(taken.hours_since // HOUR)
    by_hour = np.roll(profile[:24], begin % 24)
    minutes: Floats = np.arange(taken.minutes.shape[1], dtype=np.float64)
    at: Floats = ((taken.minutes_since + MINUTE * (minutes + 0.5)) / HOUR - 0.5) % 24
    return np.interp(at, np.arange(25), np.append(by_hour, by_hour[0]))


def _known(values: Floats) -> Floats:
    """Without the steps before the first value: a young series is short, not full of gaps."""
    known = np.flatnonzero(np.isfinite(values))
    return values[known[0] :] if known.size else values[:0]


def _from_first(counts: Floats) -> Floats:
    """Silence before the first task is no load, it is no data."""
    busy = np.flatnonzero(counts > 0)
    begin = busy[0] if busy.size else counts.size
    return np.where(np.arange(counts.size) < begin, np.nan, counts)
