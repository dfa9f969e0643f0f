"""Forecasters of a latency, a load or another figure: a daily profile and a damped trend, with prediction intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from chimera.errors import BadMessageError

from .arrays import Floats, counting
from .independence import filled
from .model import Kind, Model, body_of, packed, sealed
from .smoothing import SETTINGS, Setting, reach, smooth

Scale = Literal["linear", "log", "root"]
SCALES: dict[Kind, Scale] = {"latency": "log", "load": "root", "figure": "linear"}
"""Latencies vary by factors; counts by the root of what they are; other figures as they are."""

DAY = 86_400
LEAST_VALUES, MOST_VALUES, LEAST_CYCLES = 60, 20_000, 2.5
MISS = 0.1
"""Share of values outside the prediction interval."""

_TINY = 1e-3
_TRAIN, _CALIBRATE = 0.6, 0.8


class _Parameters(msgspec.Struct, frozen=True, kw_only=True):
    scale: Scale
    step_s: float
    end: float
    level: float
    trend: float
    damping: float
    season: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected at ``at``, and between which bounds 90 % of the values should lie."""

    at: float
    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class _Data:
    """The values as they came, and on their scale with gaps bridged."""

    raw: Floats
    scaled: Floats
    scale: Scale


@dataclass(frozen=True, slots=True)
class _Fit:
    """Forecasts of ``horizon`` steps from every value on: level, trend and season at the time."""

    levels: Floats
    trends: Floats
    setting: Setting
    season: Floats

    def ahead(self, origins: Floats, steps: Floats) -> Floats:
        """Forecasts, shape (origins, steps)."""
        at = origins.astype(int)[:, None]
        plain = self.levels[at] + self.trends[at] * reach(self.setting.damping, steps)[None, :]
        return plain + self.season[(at + steps.astype(int)[None, :]) % self.season.size]


def train_forecaster(
    name: str,
    kind: Kind,
    since: float,
    values: Floats,
    step_s: float,
    *,
    trained_at: float,
    version: int = 1,
    horizon: int = 24,
    unit: str = "",
) -> Model:
    """A forecaster of ``values``, back-tested before it is refitted on all of them.

    The first 60 % choose smoothing and whether there is a daily profile; the next 20 % give the intervals by the
    quantiles of their errors per step ahead (split conformal, Vovk et al. 2005; errors follow each other, so coverage
    is not guaranteed but measured); the last 20 % are seen by nobody before and give ``error``, ``baseline_error``
    (seasonal naive: the value a day before; without a daily profile the last value) and ``coverage``.

    Args:
        name: Of the series.
        kind: Chooses the scale.
        since: Unix time of the first value.
        values: One per step, ``nan`` for none; shape (n,). The last 20,000 count.
        step_s: Seconds between values.
        trained_at: Unix time.
        version: Of the model.
        horizon: Steps ahead that are back-tested.
        unit: Of the figure.

    Raises:
        BadMessageError: If there are too few values.
    """
    values, since = values[-MOST_VALUES:], since + max(0, values.size - MOST_VALUES) * step_s
    known = _require(name, values)
    scale = SCALES.get(kind, "linear")
    data = _Data(values, filled(_scaled(values, scale)), scale)
    fit, error, naive, coverage = _backtest(data, step_s, min(horizon, values.size // 12))
    end = since + values.size * step_s
    return sealed(Model(
        name=name, kind=kind, version=version, trained_at=trained_at, window_from=since, window_to=end, rows=known,
        error=error, baseline_error=naive, coverage=coverage, unit=unit,
        body=packed(_final(data, fit, step_s, end, min(horizon, values.size // 12))),
    ))  # fmt: skip


def predict(model: Model, at: float) -> Forecast:
    """What ``model`` expects of the step that contains ``at``.

    Beyond the back-tested horizon the interval widens with the root of the distance.

    Raises:
        BadMessageError: If ``at`` lies before the end of the training window.
        CorruptError: If it is no forecaster.
    """
    parameters = body_of(model, _Parameters)
    steps = int((at - parameters.end) // parameters.step_s) + 1
    if steps < 1:
        raise BadMessageError(f"{model.name}: a forecast begins at {parameters.end:.0f}, not at {at:.0f}")
    moved = parameters.level + parameters.trend * float(reach(parameters.damping, np.array([float(steps)]))[0])
    middle = moved + parameters.season[(steps - 1) % len(parameters.season)]
    tested = len(parameters.low)
    wider = max(1.0, steps / tested) ** 0.5
    last = min(steps, tested) - 1
    ends = np.array([middle, middle + wider * parameters.low[last], middle + wider * parameters.high[last]])
    expected, low, high = _unscaled(ends, parameters.scale).tolist()
    return Forecast(at, expected, min(low, expected), max(high, expected))


def reach_s(model: Model) -> float:
    """How far ahead it was tested, in seconds.

    Raises:
        CorruptError: If it is no forecaster.
    """
    parameters = body_of(model, _Parameters)
    return parameters.step_s * len(parameters.low)


def _require(name: str, values: Floats) -> int:
    known = int(np.isfinite(values).sum())
    if known < LEAST_VALUES or known < values.size / 2:
        raise BadMessageError(
            f"{name}: {known} of {values.size} values are known; a forecaster takes {LEAST_VALUES}, and half of all",
            hint="let more traffic come, or use a longer step",
        )
    return known


def _backtest(data: _Data, step_s: float, horizon: int) -> tuple[_Fit, float, float, float]:
    """What was chosen, and its error, the naive method's and the coverage on the last fifth."""
    train, calibrate = (int(share * data.scaled.size) for share in (_TRAIN, _CALIBRATE))
    fit = _choose(data.scaled, train, _period(data.scaled[:train], step_s), horizon)
    bounds = _bounds(_errors(fit, data.scaled, train, calibrate, horizon))
    return (fit, *_held_out(fit, data, calibrate, bounds))


def _final(data: _Data, chosen: _Fit, step_s: float, end: float, horizon: int) -> _Parameters:
    """Refitted on everything; intervals from the errors that the choice made on what it was not chosen on."""
    period, size = chosen.season.size, data.scaled.size
    season = _profile(data.scaled, period, size)
    levels, trends = smooth(data.scaled - season[np.arange(size) % period], (chosen.setting,))
    low, high = _bounds(_errors(chosen, data.scaled, int(_TRAIN * size), size, horizon))
    return _Parameters(
        scale=data.scale, step_s=step_s, end=end, level=float(levels[0, -1]), trend=float(trends[0, -1]),
        damping=chosen.setting.damping, season=np.roll(season, -(size % period)).tolist(), low=low.tolist(),
        high=high.tolist(),
    )  # fmt: skip


def _scaled(values: Floats, scale: Scale) -> Floats:
    if scale == "log":
        return np.log(np.maximum(values, 0.0) + _TINY)
    return np.sqrt(np.maximum(values, 0.0)) if scale == "root" else values


def _unscaled(values: Floats, scale: Scale) -> Floats:
    if scale == "log":
        return np.maximum(0.0, np.exp(np.minimum(values, 700.0)) - _TINY)
    return np.maximum(values, 0.0) ** 2 if scale == "root" else values


def _period(values: Floats, step_s: float) -> int:
    """Steps of a day if there is enough to learn a profile from, else 1."""
    period = round(DAY / step_s)
    return period if period > 1 and values.size >= LEAST_CYCLES * period else 1


def _profile(values: Floats, period: int, size: int) -> Floats:
    """The mean of each step of a cycle over the first ``size`` values, around 0."""
    if period == 1:
        return np.zeros(1)
    place = np.arange(size) % period
    means = np.bincount(place, values[:size], period) / np.maximum(np.bincount(place, minlength=period), 1)
    return means - means.mean()


def _choose(values: Floats, size: int, period: int, horizon: int) -> _Fit:
    """The setting with the least mean absolute error within the training part, with or without a profile."""
    best: tuple[float, _Fit] | None = None
    for cycle in sorted({1, period}):
        season = _profile(values, cycle, size)
        levels, trends = smooth(values - season[np.arange(values.size) % cycle])
        for row, setting in enumerate(SETTINGS):
            fit = _Fit(levels[row], trends[row], setting, season)
            error = float(np.abs(_errors(fit, values, size // 3, size, horizon, thin=4)).mean())
            if best is None or error < best[0]:
                best = (error, fit)
    assert best is not None  # noqa: S101 - SETTINGS is not empty
    return best[1]


def _errors(fit: _Fit, values: Floats, first: int, last: int, horizon: int, *, thin: int = 1) -> Floats:
    """What came minus what was forecast, from every origin whose whole horizon lies in first .. last."""
    origins = np.arange(first - 1, last - horizon, thin, dtype=np.float64)
    steps = np.arange(1, horizon + 1, dtype=np.float64)
    actual = values[(origins[:, None] + steps[None, :]).astype(int)]
    return actual - fit.ahead(origins, steps)


def _bounds(errors: Floats) -> tuple[Floats, Floats]:
    """Lower and upper error per step ahead, with the finite-sample correction of split conformal prediction."""
    share = min(1.0, (1 - MISS / 2) * (1 + 1 / errors.shape[0]))
    return np.quantile(errors, 1 - share, axis=0), np.quantile(errors, share, axis=0)


def _held_out(fit: _Fit, data: _Data, first: int, bounds: tuple[Floats, Floats]) -> tuple[float, float, float]:
    """Mean absolute error, that of the naive method, and coverage from ``first`` on, in the figure's unit."""
    horizon = bounds[0].size
    errors = _errors(fit, data.scaled, first, data.scaled.size, horizon)
    ahead = counting(horizon)[None, :]
    places = first + counting(errors.shape[0])[:, None] + ahead
    actual = data.raw[places]
    period = fit.season.size
    earlier = places - period * (1 + ahead // period) if period > 1 else places - ahead - 1
    naive = _unscaled(data.scaled[earlier], data.scale)
    expected = _unscaled(data.scaled[places] - errors, data.scale)
    inside = (errors >= bounds[0]) & (errors <= bounds[1])
    known = np.isfinite(actual)
    missed = np.abs(np.stack([actual - expected, actual - naive]))[:, known].mean(axis=1)
    return float(missed[0]), float(missed[1]), float(inside[known].mean())
