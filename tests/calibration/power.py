"""Power: messages until a real effect is found, at 80 % power, beside the best fixed sample at the same level."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# numpy leaves the element type of what arithmetic gives open

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from actors.inference.paths import Array, Numbers, bets_path, two_by_two_path, wins_path
from tests.calibration.case import Case, Measure
from tests.calibration.cuped import REACH, adjusted_differences, with_covariate
from tests.calibration.sequences import asymptotic_path
from tests.calibration.worlds import Traffic, experiments

GROUP = "messages, sequential over fixed sample"
ALPHA, POWER = 0.025, 0.8
_Z = 1.959964 + 0.841621
"""Quantiles of the normal distribution for the level, one-sided, and the power."""
_BAR = math.log(1.0 / ALPHA)


def stops(path: Array, bar: float = _BAR) -> Array:
    """Position of the first look at which each history reaches the bar; infinite if it never does."""
    over = path >= bar
    return np.where(over.any(axis=-1), over.argmax(axis=-1), math.inf)


def _median(found: list[Array]) -> float:
    return float(np.median(np.concatenate(found)))


def fixed_split(p: float, q: float) -> float:
    """Messages of both releases that the z-test for two proportions needs (normal formula, half of them each)."""
    return 2.0 * _Z**2 * (p * (1.0 - p) + q * (1.0 - q)) / (q - p) ** 2


def split_stops(rng: np.random.Generator, runs: int, p: float, q: float, share: float = 0.5) -> Array:
    """Messages until the safe 2x2 test finds the better candidate."""
    messages = int(6 * fixed_split(p, q) * 0.25 / (share * (1.0 - share)))
    found: list[Array] = []
    for count, world in experiments(rng, runs, share, messages):
        live, tried = _proportions(rng, count, world, p, q)
        at = stops(two_by_two_path(live, tried, world.live_size, world.tried_size))
        found.append(_messages(at, world))
    return np.concatenate(found)


def _proportions(rng: np.random.Generator, runs: int, world: Traffic, p: float, q: float) -> tuple[Array, Array]:
    shape = (runs, len(world.complete))
    live, tried = rng.binomial(world.live_size, p, shape), rng.binomial(world.tried_size, q, shape)
    return live.astype(np.float64), tried.astype(np.float64)


def _messages(at: Array, world: Traffic) -> Array:
    places = np.minimum(at, len(world.complete) - 1).astype(int)
    return np.where(np.isfinite(at), world.complete[places], math.inf)


def paired_stops(rng: np.random.Generator, runs: int, won: float, lost: float) -> Array:
    """Messages until the paired test finds the candidate that wins and loses at such rates."""
    messages = int(8 * _Z**2 * (won + lost) / (won - lost) ** 2)
    found: list[Array] = []
    for count in _over(runs):
        values = rng.random((count, messages))
        wins = np.cumsum(values < won, axis=-1)
        losses = np.cumsum((values >= won) & (values < won + lost), axis=-1)
        found.append(stops(wins_path(wins, losses)) + 1)
    return np.concatenate(found)


def _over(runs: int, count: int = 25) -> Iterator[int]:
    return (min(count, runs - start) for start in range(0, runs, count))


def safe(p: float, q: float) -> Measure:
    """Median of the safe 2x2 test over the fixed sample."""
    return lambda rng, runs: float(np.median(split_stops(rng, runs, p, q))) / fixed_split(p, q)


def paired(won: float, lost: float) -> Measure:
    """Median of the paired test over the fixed sample of a McNemar test (normal formula)."""
    fixed = _Z**2 * (won + lost - (won - lost) ** 2) / (won - lost) ** 2
    return lambda rng, runs: float(np.median(paired_stops(rng, runs, won, lost))) / fixed


def asymptotic(rng: np.random.Generator, runs: int) -> float:
    """The asymptotic sequence, two-sided, on plain numbers with an effect of a tenth of their spread."""
    fixed = _Z**2 / 0.1**2
    found: list[Array] = []
    for count in _over(runs):
        low, _ = asymptotic_path(rng.standard_normal((count, int(6 * fixed))) + 0.1, 2.0 * ALPHA, int(fixed))
        found.append(stops(low, 0.0) + 1)
    return _median(found) / fixed


def betting(rng: np.random.Generator, runs: int) -> float:
    """Bets on blocks of numbers in [0, 1] with spread 0.25 and an effect of 0.05, half of the traffic each."""
    fixed = 4.0 * _Z**2 * 0.25**2 / 0.05**2
    found: list[Array] = []
    for count, world in experiments(rng, runs, 0.5, int(6 * fixed)):
        shape = (count, len(world.complete))
        live, tried = (rng.normal(mean, 0.25, shape) for mean in (0.5, 0.55))
        path = bets_path(np.clip(tried, 0, 1) - np.clip(live, 0, 1), -1.0, 1.0, 0.0)
        found.append(_messages(stops(path), world))
    return _median(found) / fixed


def replay(right: float, won: float, lost: float) -> Measure:
    """Messages of a split over those of a replay, both at 80 % power, for the same two releases."""

    def measure(rng: np.random.Generator, runs: int) -> float:
        split = split_stops(rng, runs, right, right + won - lost)
        pairs = paired_stops(rng, runs, won, lost)
        return float(np.quantile(split, POWER, method="higher") / np.quantile(pairs, POWER, method="higher"))

    return measure


def cuped(rng: np.random.Generator, runs: int) -> float:
    """Messages with the adjustment over those without, where the covariate's correlation is 0.7."""
    plain: list[Array] = []
    adjusted: list[Array] = []
    for count, world in experiments(rng, runs, 0.5, 12_000):
        values, covariate = with_covariate(rng, (count, 12_000))
        for kept, path in (
            (plain, bets_path(_lifted(world.differences(values)), -1.0, 1.0, 0.0)),
            (adjusted, bets_path(_lifted(adjusted_differences(world, values, covariate), REACH), -REACH, REACH, 0.0)),
        ):
            kept.append(_messages(stops(path), world))
    return _median(adjusted) / _median(plain)


def _lifted(differences: Numbers, reach: float = 1.0) -> Array:
    return np.minimum(reach, differences + 0.01)


def _case(test: str, setting: str, measure: Measure, within: tuple[float, float]) -> Case:
    return Case(GROUP, test, setting, measure, 400, 50, *within, rate=False)


CASES = (
    *(
        _case("safe 2x2", f"{p:.0%} to {q:.0%}", safe(p, q), (0.9, 1.9))
        for p, q in ((0.1, 0.15), (0.3, 0.35), (0.5, 0.55), (0.02, 0.04))
    ),
    *(
        _case("paired wins", f"wins {won:.1%}, losses {lost:.1%}", paired(won, lost), (0.5, 1.9))
        for won, lost in ((0.035, 0.015), (0.06, 0.04), (0.3, 0.2))
    ),
    _case("asymptotic sequence", "effect 0.1 of the spread", asymptotic, (0.8, 1.3)),
    _case("betting, blocks", "spread 0.25, effect 0.05 in [0, 1]", betting, (0.5, 2.2)),
    *(
        Case(
            "messages, split over replay, at 80 % power", "2x2 over paired wins",
            f"right {right:.0%}, wins {won:.1%}, losses {lost:.1%}", replay(right, won, lost), 100, 20, least=4.0,
            rate=False,
        )
        for right, won, lost in ((0.7, 0.035, 0.015), (0.7, 0.045, 0.025), (0.8, 0.06, 0.04))
    ),
    Case(
        "messages, with covariate over without", "CUPED, betting", "correlation 0.7", cuped, 400, 50, least=0.4,
        most=0.85, rate=False,
    ),
)  # fmt: skip
