"""Is a live model still good, and is a new one better? Pure, and heavy: for a worker thread."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from actors.insight.drift import Decision, ErrorWatch, decide, shift
from actors.insight.forecast import predict
from actors.insight.model import Model
from actors.insight.wording import number

from .lessons import HORIZON, Lesson, error_of, train

FRESH_MESSAGES = 200
"""Messages since a reference was taken from which on they are compared with it."""

_WEEK_S = 7 * 86_400.0


@dataclass(slots=True)
class Live:
    """A model that is in use, and how it has done since.

    Attributes:
        errors: Watches a forecaster's errors.
        judged_until: Unix time up to which its forecasts were compared with what came.
        drifted: Whether its errors or its inputs have left what it was trained on.
    """

    model: Model
    errors: ErrorWatch | None = None
    judged_until: float = 0.0
    drifted: bool = False
    alerted: bool = field(default=False)


def inspect(live: Live, lesson: Lesson, now: float) -> Decision:
    """What to do about a live model, from what came since it was trained."""
    model = live.model
    fresh = lesson.after(math.nextafter(model.window_to, math.inf) if lesson.kind == "drift" else model.window_to)
    if lesson.kind == "drift":
        found = shift(model, fresh.values) if fresh.values.size >= FRESH_MESSAGES else None
        live.drifted = found is not None and found.drifted
        return decide(model, now=now, inputs=found, fresh_rows=fresh.values.size, most_age_s=_WEEK_S)
    _compare(live, fresh)
    live.drifted = live.errors is not None and live.errors.drifted
    return decide(
        model, now=now, errors=live.errors, fresh_rows=fresh.values.size, most_age_s=lifetime_s(model, lesson)
    )


def lifetime_s(model: Model, lesson: Lesson) -> float:
    """How old a forecaster may get: a tenth of its training window, at least what it was back-tested for."""
    return lesson.step_s * max(HORIZON, model.rows / 10)


def challenge(lesson: Lesson, now: float, live: Model | None) -> tuple[Model, bool, str]:
    """A new model, whether it should be live, and why.

    Both are measured on the same values where there are enough that neither has seen; else by what each said itself.

    Raises:
        BadMessageError: If the lesson is too little.
    """
    model = train(lesson, now)
    if model.error is None:
        return model, True, f"what {model.rows} messages looked like"
    if not model.better:
        return (
            model,
            False,
            f"errs {_figure(model.error, model)}, the naive method {_figure(model.baseline_error, model)}",
        )
    if live is None or live.error is None:
        return (
            model,
            True,
            f"errs {_figure(model.error, model)}, the naive method {_figure(model.baseline_error, model)}",
        )
    same = error_of(live, lesson)
    rival = live.error if same is None else same
    where = "in its own test" if same is None else "on the same values"
    words = f"errs {_figure(model.error, model)}, version {live.version} {_figure(rival, live)} {where}"
    return model, model.error <= rival, words


def _compare(live: Live, fresh: Lesson) -> None:
    """Feed the errors of forecasts that came due to the watch."""
    if live.errors is None:
        live.errors = ErrorWatch(live.model.error or 0.0)
    for at, value in zip(fresh.at.tolist(), fresh.values.tolist(), strict=True):
        if at >= live.judged_until:
            live.errors.update(value - predict(live.model, at).expected)
            live.judged_until = at + fresh.step_s


def _figure(value: float | None, model: Model) -> str:
    return "unknown" if value is None else f"{number(value)} {model.unit}".strip()
