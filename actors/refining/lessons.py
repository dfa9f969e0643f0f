"""What a model is taught from: a series of minutes or hours, or messages one by one. Pure, copies only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

import numpy as np

from actors.insight.arrays import Floats
from actors.insight.drift import train_reference
from actors.insight.forecast import predict, train_forecaster
from actors.insight.intake import ERROR, LOAD, agent_of, series_of
from actors.insight.model import Model
from actors.insight.store import HOUR, MINUTE, SeriesStore
from subjects import is_token

from .samples import UNITS, Samples

HORIZON = 24
"""Steps ahead that a forecaster is back-tested for."""

LEAST_HOURS = 72
_LEAST_JUDGED, _HELD_OUT = 12, 0.8


@dataclass(frozen=True, slots=True)
class Lesson:
    """Data that a model can be trained on.

    Attributes:
        name: Of the model.
        kind: Of the model.
        at: When each value was; for series the begin of its step. Shape (n,), rising for series.
        values: ``nan`` = none. Shape (n,).
        step_s: Seconds between values; 0 for messages.
        unit: Of the values.
    """

    name: str
    kind: Literal["latency", "load", "drift"]
    at: Floats
    values: Floats
    step_s: float
    unit: str

    def after(self, at: float) -> Lesson:
        """Only what came at that time or later."""
        later = self.at >= at
        return replace(self, at=self.at[later], values=self.values[later])


def model_name(agent: str, what: str) -> str:
    """A model's name, an id like all others; a very long agent's name is cut, with a checksum instead."""
    name = f"{agent}-{what}"
    return name if is_token(name) else f"{agent[:40]}-{blake2b(agent.encode(), digest_size=4).hexdigest()}-{what}"


def lessons(store: SeriesStore, samples: Samples) -> Iterator[Callable[[], Lesson]]:
    """One maker of a lesson per model there could be; call each where the store lives, it copies one series."""
    for series in store.names:
        agent = agent_of(series)
        if series == series_of(agent, "run_ms"):
            yield lambda agent=agent: _latency(store, agent)
        if series == series_of(agent, ERROR):
            yield lambda agent=agent: _load(store, agent)
    for agent, side in samples.sides():
        yield lambda agent=agent, side=side: _messages(samples, agent, side)


def train(lesson: Lesson, at: float) -> Model:
    """The model. Takes up to 0.2 s: for a thread.

    Raises:
        BadMessageError: If the data is too little; says how much it takes.
    """
    if lesson.kind == "drift":
        known = lesson.at if lesson.at.size else np.zeros(1)
        window = (float(known.min()), float(known.max()))
        return train_reference(lesson.name, lesson.values, window, trained_at=at, unit=lesson.unit)
    since = float(lesson.at[0]) if lesson.at.size else 0.0
    return train_forecaster(
        lesson.name, lesson.kind, since, lesson.values, lesson.step_s, trained_at=at, horizon=HORIZON, unit=lesson.unit
    )


def error_of(model: Model, lesson: Lesson) -> float | None:
    """A stored forecaster's mean absolute error on the part of a lesson that its successor holds out.

    Of that last fifth only what lies behind the model's own training counts; ``None`` if that is too little to judge.
    """
    if lesson.kind == "drift":
        return None
    first = int(_HELD_OUT * lesson.values.size)
    pairs = zip(lesson.at[first:].tolist(), lesson.values[first:].tolist(), strict=True)
    judged = [(at, value) for at, value in pairs if at >= model.window_to and np.isfinite(value)]
    if len(judged) < _LEAST_JUDGED:
        return None
    return float(np.mean([abs(value - predict(model, at).expected) for at, value in judged]))


def _latency(store: SeriesStore, agent: str) -> Lesson:
    name = series_of(agent, "run_ms")
    since, values, step_s = _span(store.hours(name), store.minutes(name))
    return Lesson(model_name(agent, "latency"), "latency", _times(since, values, step_s), values, step_s, "ms")


def _load(store: SeriesStore, agent: str) -> Lesson:
    """Tasks per minute since the first one."""
    name = series_of(agent, ERROR)
    hours_since, hours = store.hours(name, view="count")
    minutes_since, minutes = store.minutes(name, view="count")
    since, values, step_s = _span((hours_since, _silent(hours) / (HOUR / MINUTE)), (minutes_since, _silent(minutes)))
    return Lesson(model_name(agent, LOAD), "load", _times(since, values, step_s), values, step_s, "tasks/min")


def _messages(samples: Samples, agent: str, side: str) -> Lesson:
    at, values = samples.numbers(agent, side)
    return Lesson(model_name(agent, side), "drift", at, values, 0.0, UNITS[side])


def _span(hours: tuple[float, Floats], minutes: tuple[float, Floats]) -> tuple[float, Floats, float]:
    """Hours if there are enough of them to know the time of day, else minutes; from the first value on."""
    many = int(np.isfinite(hours[1]).sum()) >= LEAST_HOURS
    since, values, step_s = (*hours, HOUR) if many else (*minutes, MINUTE)
    known = np.flatnonzero(np.isfinite(values))
    first = int(known[0]) if known.size else values.size
    return since + first * step_s, values[first:], float(step_s)


def _silent(counts: Floats) -> Floats:
    """Silence before the first task is no load, it is no data."""
    busy = np.flatnonzero(counts > 0)
    first = int(busy[0]) if busy.size else counts.size
    return np.where(np.arange(counts.size) < first, np.nan, counts)


def _times(since: float, values: Floats, step_s: float) -> Floats:
    return since + step_s * np.arange(values.size, dtype=np.float64)
