"""What the best of many noisy estimates is really worth: the winner's curse taken off. Empirical Bayes.

Each value is drawn towards the mean of all by the share of the spread that is noise: the posterior mean if true values
are normal (James and Stein 1961; Morris, JASA 78 (1983)); selection does not bias a posterior mean (Efron, "Tweedie's
formula and selection bias", JASA 106 (2011)). The true values of a bred population are normal only roughly, so the
result is what to report and to rank by, never a proof: the gate proves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_MOST_STEPS = 50


def shrunken(values: Sequence[float], errors: Sequence[float]) -> list[float]:
    """Each value's posterior mean.

    Args:
        values: Estimates.
        errors: Their standard errors; infinite = nothing is known of it but that it is one of these.

    Raises:
        ValueError: If they do not belong together or an error is negative.
    """
    if len(values) != len(errors) or any(not error >= 0.0 for error in errors):
        raise ValueError("each value needs a standard error of at least 0")
    known = [(value, error * error) for value, error in zip(values, errors, strict=True) if math.isfinite(error)]
    if len(known) < 3:  # noqa: PLR2004 - two values don't tell their spread from their noise
        return list(values)
    spread = between(known)
    centre = _centre(known, spread)
    return [_posterior(value, error * error, centre, spread) for value, error in zip(values, errors, strict=True)]


def between(known: Sequence[tuple[float, float]]) -> float:
    """Variance of the true values behind (value, squared error), at least 0.

    Paule and Mandel (1982): the variance at which the weighted sum of squares is what is expected; found by bisection.
    """
    mean = math.fsum(value for value, _ in known) / len(known)
    high = math.fsum((value - mean) ** 2 for value, _ in known) / (len(known) - 1)
    if _excess(known, 0.0) <= 0.0:
        return 0.0
    low = 0.0  # at the variance of the values themselves there is no excess, whatever their noise
    for _ in range(_MOST_STEPS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _excess(known, middle) > 0.0 else (low, middle)
    return (low + high) / 2.0


def _excess(known: Sequence[tuple[float, float]], spread: float) -> float:
    """How much greater the weighted sum of squares is than expected; infinite if exact values differ without spread."""
    if spread == 0.0 and any(noise == 0.0 for _, noise in known):
        return math.inf if len({value for value, _ in known}) > 1 else 0.0
    centre = _centre(known, spread)
    return math.fsum((value - centre) ** 2 / (noise + spread) for value, noise in known) - (len(known) - 1)


def _centre(known: Sequence[tuple[float, float]], spread: float) -> float:
    weights = [1.0 / max(noise + spread, 1e-300) for _, noise in known]
    return math.fsum(weight * value for weight, (value, _) in zip(weights, known, strict=True)) / math.fsum(weights)


def _posterior(value: float, noise: float, centre: float, spread: float) -> float:
    if math.isinf(noise):
        return centre
    if noise == 0.0:
        return value
    return centre + (value - centre) * spread / (spread + noise)
