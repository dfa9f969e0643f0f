"""A surrogate: what a KPI would be at settings that were not tried, from those that were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from chimera.errors import BadMessageError

from .arrays import Floats, Integers
from .model import Model, body_of, packed, sealed

FOLDS = 5
RIDGES = (1e-3, 1e-1, 1.0, 10.0, 100.0)
MOST_INPUTS = 24


class _Surface(msgspec.Struct, frozen=True, kw_only=True):
    inputs: list[str]
    centre: list[float]
    spread: list[float]
    weights: list[float]
    reach: float
    low: list[float]
    high: list[float]


def train_surrogate(
    name: str,
    inputs: Sequence[str],
    points: Floats,
    values: Floats,
    *,
    window: tuple[float, float],
    trained_at: float,
    version: int = 1,
    unit: str = "",
) -> Model:
    """A quadratic surface by ridge regression; strength of the ridge and ``error`` by five-fold cross-validation.

    ``error`` is the smallest of five strengths' errors and so a little flattering; ``baseline_error`` is the mean's.

    Args:
        name: Of the KPI.
        inputs: Names of the settings; at most 24.
        points: Settings that were tried, shape (n, inputs).
        values: The KPI at each, shape (n,).
        window: Unix times of the first and last trial.
        trained_at: Unix time.
        version: Of the model.
        unit: Of the KPI.

    Raises:
        BadMessageError: With fewer than 10 points, values that are not finite, or too many inputs.
    """
    if len(values) < 2 * FOLDS or len(inputs) > MOST_INPUTS or points.shape != (len(values), len(inputs)):
        raise BadMessageError(f"{name}: a surrogate takes at least {2 * FOLDS} points of at most {MOST_INPUTS} inputs")
    if not (np.isfinite(points).all() and np.isfinite(values).all()):
        raise BadMessageError(f"{name}: every point and value must be finite")
    centre, spread = points.mean(axis=0), points.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    terms = _terms((points - centre) / spread)
    folds = np.random.default_rng(0).permutation(len(values)) % FOLDS
    residuals = {ridge: _residuals(terms, values, folds, ridge) for ridge in RIDGES}
    ridge = min(RIDGES, key=lambda each: float(np.abs(residuals[each]).mean()))
    rest = np.abs(residuals[ridge])
    surface = _Surface(
        inputs=list(inputs), centre=centre.tolist(), spread=spread.tolist(),
        weights=_solve(terms, values, ridge).tolist(), reach=float(np.quantile(rest, 0.9)),
        low=points.min(axis=0).tolist(), high=points.max(axis=0).tolist(),
    )  # fmt: skip
    plain = _residuals(np.ones((len(values), 1)), values, folds, 0.0)
    return sealed(Model(
        name=name, kind="surrogate", version=version, trained_at=trained_at, window_from=window[0],
        window_to=window[1], rows=len(values), error=float(rest.mean()), baseline_error=float(np.abs(plain).mean()),
        coverage=None, unit=unit, body=packed(surface),
    ))  # fmt: skip


def estimate(model: Model, settings: Mapping[str, float]) -> tuple[float, float, float]:
    """The KPI at ``settings``, and where 90 % of the cross-validated errors would put it: expected, low, high.

    Raises:
        BadMessageError: If a setting is missing or outside what was tried: a quadratic is wild out there.
        CorruptError: If it is no surrogate.
    """
    surface = body_of(model, _Surface)
    missing = [name for name in surface.inputs if name not in settings]
    if missing:
        raise BadMessageError(f"{model.name}: {missing[0]} is missing")
    point = np.array([float(settings[name]) for name in surface.inputs])
    for name, value, low, high in zip(surface.inputs, point, surface.low, surface.high, strict=True):
        if not low <= value <= high:
            raise BadMessageError(f"{model.name}: {name} was tried from {low} to {high}, not at {value}")
    row = _terms(((point - np.array(surface.centre)) / np.array(surface.spread))[None, :])
    expected = float((row @ np.array(surface.weights))[0])
    return expected, expected - surface.reach, expected + surface.reach


def _terms(points: Floats) -> Floats:
    """1, every input, every product of two."""
    first, second = np.triu_indices(points.shape[1])
    return np.hstack([np.ones((points.shape[0], 1)), points, points[:, first] * points[:, second]])


def _solve(terms: Floats, values: Floats, ridge: float) -> Floats:
    penalty = ridge * np.eye(terms.shape[1])
    penalty[0, 0] = 0.0
    return np.asarray(np.linalg.solve(terms.T @ terms + penalty, terms.T @ values), np.float64)


def _residuals(terms: Floats, values: Floats, folds: Integers, ridge: float) -> Floats:
    rest = np.empty(values.size)
    for fold in range(FOLDS):
        out = folds == fold
        rest[out] = values[out] - terms[out] @ _solve(terms[~out], values[~out], ridge)
    return rest
