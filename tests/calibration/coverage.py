"""Confidence sequences: how often the truth is inside at every one of 10,000 looks."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# numpy leaves the element type of what arithmetic gives open

from __future__ import annotations

import numpy as np

from tests.calibration.case import LEVEL, MESSAGES, Case, Measure
from tests.calibration.sequences import asymptotic_path, mean_path, quantile_misses
from tests.calibration.worlds import LOGNORMAL_MEAN, Draw, coin, lognormal, zero_inflated

GROUP = "coverage at all looks at once"
_STEP = 50


def _steps(runs: int) -> list[int]:
    return [min(_STEP, runs - start) for start in range(0, runs, _STEP)]


def means(draw: Draw, truth: float) -> Measure:
    """The empirical Bernstein sequence on numbers in [0, 1]."""

    def measure(rng: np.random.Generator, runs: int) -> float:
        covered = 0
        for count in _steps(runs):
            low, high = mean_path(draw(rng, (count, MESSAGES)), LEVEL)
            covered += int(((low <= truth) & (truth <= high)).all(axis=-1).sum())
        return covered / runs

    return measure


def asymptotic(rng: np.random.Generator, runs: int) -> float:
    """The asymptotic sequence on plain numbers, after its burn-in."""
    covered = 0
    for count in _steps(runs):
        low, high = asymptotic_path(rng.standard_normal((count, MESSAGES)), LEVEL)
        covered += int(((low <= 0.0) & (high >= 0.0)).all(axis=-1).sum())
    return covered / runs


def quantiles(p: float, *, steps: bool) -> Measure:
    """The quantile sequence, on a continuous distribution or on one of ten steps, where many values are equal."""

    def measure(rng: np.random.Generator, runs: int) -> float:
        covered = 0
        for count in _steps(runs):
            values = rng.random((count, MESSAGES))
            values = np.ceil(values * 10.0) / 10.0 if steps else values
            truth = np.ceil(p * 10.0) / 10.0 if steps else p
            missed = quantile_misses(values < truth, values <= truth, p, LEVEL)
            covered += int((~missed.any(axis=-1)).sum())
        return covered / runs

    return measure


def _case(test: str, setting: str, measure: Measure, runs: int = 4000, quick: int = 400) -> Case:
    return Case(GROUP, test, setting, measure, runs, quick, least=1.0 - LEVEL)


CASES = (
    *(_case("mean sequence", f"base rate {rate:.1%}", means(coin(rate), rate)) for rate in (0.001, 0.01, 0.1, 0.5)),
    _case("mean sequence", "lognormal", means(lognormal, LOGNORMAL_MEAN)),
    _case("mean sequence", "95 % zeros", means(zero_inflated, 0.025)),
    _case("asymptotic sequence", "normal, after the burn-in", asymptotic),
    *(_case("quantile sequence", f"p{p:.0%}, continuous", quantiles(p, steps=False)) for p in (0.5, 0.95)),
    *(_case("quantile sequence", f"p{p:.0%}, ten steps", quantiles(p, steps=True)) for p in (0.5, 0.95)),
)
