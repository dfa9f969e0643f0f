"""How much will be needed: a forecast of hourly demand, back-tested, and what to do about it. Needs numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from actors.insight.arrays import Floats
from actors.insight.forecast import LEAST_VALUES, MISS, Forecast, predict, train_forecaster
from chimera.errors import BadMessageError
from subjects.capacity import Capacity, CapacityPoint
from subjects.device import Kind

from .buckets import HOUR, Bucket

FEW_MINUTES = 30
"""Samples of an hour below which it is not known."""

HORIZON = 24
"""Hours ahead that are back-tested at most; beyond, the interval widens."""

SPARE = 0.6
"""Below this part of what is there, the forecast's upper bound leaves something to give back."""

UNIT: dict[Kind, str] = {"gpu": "GPUs", "cpu": "processors"}


def hourly(buckets: Sequence[Bucket], kind: Kind, now: float) -> tuple[int, Floats]:
    """When the first known hour began, and the mean demand of each hour from then on, ``nan`` = not known.

    Demand is what was lent and what was waited for. The present hour, and days of which no hours are kept, are left
    out.
    """
    minutes, sums = dict[int, int](), dict[int, float]()
    for bucket in buckets:
        hour = bucket.start // HOUR * HOUR
        wanted = bucket.wanted(kind)
        if bucket.length <= HOUR and wanted.minutes and hour + HOUR <= now:
            minutes[hour] = minutes.get(hour, 0) + wanted.minutes
            sums[hour] = sums.get(hour, 0.0) + wanted.sum
    known = sorted(hour for hour, count in minutes.items() if count >= FEW_MINUTES)
    if not known:
        return int(now), np.zeros(0)
    values = np.full((known[-1] - known[0]) // HOUR + 1, np.nan)
    for hour in known:
        values[(hour - known[0]) // HOUR] = sums[hour] / minutes[hour]
    return known[0], values


def outlook(kind: Kind, since: int, values: Floats, *, there: float, lent: float, hours: int, now: float) -> Capacity:
    """The forecast for one kind, or why there is none.

    Args:
        kind: What is forecast.
        since: Of the first hour.
        values: Mean demand by the hour.
        there: Whole devices, or processors, that can be lent.
        lent: Those that are lent now.
        hours: How far ahead.
        now: Unix seconds.
    """
    known = int(np.isfinite(values).sum())
    points: list[CapacityPoint] = []
    error = naive = coverage = None
    try:
        model = train_forecaster(
            f"{kind}-demand", "load", since, values, float(HOUR), trained_at=now, horizon=HORIZON, unit=UNIT[kind]
        )
    except BadMessageError:
        words = _too_little(kind, values, known, there)
    else:
        first = max(now // HOUR * HOUR + HOUR, model.window_to)
        points = [_point(predict(model, first + HOUR * step)) for step in range(hours)]
        error, naive, coverage = model.error, model.baseline_error, model.coverage
        words = recommend(kind, points, there, error)
    return Capacity(
        kind=kind, unit=UNIT[kind], now=lent, there=there, confidence=1.0 - MISS, points=points, error=error,
        naive_error=naive, coverage=coverage, hours_of_history=known, recommendation=words,
    )  # fmt: skip


def recommend(kind: Kind, points: Sequence[CapacityPoint], there: float, error: float | None) -> str:
    """What to do, with the figure it rests on."""
    unit, top = UNIT[kind], max(points, key=lambda point: point.high)
    when = datetime.fromtimestamp(top.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    basis = (
        f"at most {top.high:.4g} {unit} are expected ({top.expected:.4g} on average) around {when}, of {there:g} there "
        f"are; such forecasts missed by {error or 0.0:.2g} on held-out hours"
    )
    if top.high > there:
        first = next(point for point in points if point.high > there)
        by = datetime.fromtimestamp(first.at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"add {math.ceil(top.high - there)} {unit} by {by}: {basis}"
    if top.high < SPARE * there and math.floor(there - top.high / SPARE) >= 1:
        return f"{math.floor(there - top.high / SPARE)} {unit} could be given back: {basis}"
    return f"nothing to do: {basis}"


def _point(one: Forecast) -> CapacityPoint:
    return CapacityPoint(at=one.at, expected=max(0.0, one.expected), low=max(0.0, one.low), high=max(0.0, one.high))


def _too_little(kind: Kind, values: Floats, known: int, there: float) -> str:
    unit = UNIT[kind]
    needs = f"{known} hours are recorded, a forecast takes {LEAST_VALUES} and half of all hours between"
    if not known:
        return f"no forecast yet: {needs}"
    most = float(np.nanmax(values))
    return f"no forecast yet: {needs}; the busiest hour so far took {most:.4g} of {there:g} {unit}"
