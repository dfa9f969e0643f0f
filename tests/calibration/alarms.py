"""False alarms: releases that are alike, a look after every message, from the first to the ten-thousandth."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# numpy leaves the element type of what arithmetic gives open

from __future__ import annotations

import math

import numpy as np

from actors.inference.paths import Array, Numbers, bets_path, ratio_path, two_by_two_path, wins_path
from tests.calibration.case import LEVEL, MESSAGES, Case, Measure
from tests.calibration.sequences import asymptotic_path
from tests.calibration.worlds import Draw, coin, experiments, lognormal, zero_inflated

GROUP = "false alarms under continuous peeking"
BAR = math.log(1.0 / LEVEL)
_RATES = (0.001, 0.01, 0.1, 0.5)
_SHARES = (0.05, 0.2, 0.5)
_STEP = 50


def reached(path: Array) -> int:
    """Histories that ever reach the level."""
    return int((path.max(axis=-1, initial=-math.inf) >= BAR).sum())


def _over(runs: int, count: int) -> list[int]:
    return [min(count, runs - start) for start in range(0, runs, count)]


def wins(rate: float) -> Measure:
    """Pairs that differ at a rate, either release as often right."""

    def measure(rng: np.random.Generator, runs: int) -> float:
        pairs = int(MESSAGES * rate)
        alarms = 0
        for count in _over(runs, _STEP):
            won = np.cumsum(rng.random((count, pairs)) < 0.5, axis=-1)
            alarms += reached(wins_path(won, np.arange(1, pairs + 1) - won))
        return alarms / runs

    return measure


def safe(rate: float, share: float) -> Measure:
    """Two equal proportions in split traffic."""

    def measure(rng: np.random.Generator, runs: int) -> float:
        alarms = 0
        for count, world in experiments(rng, runs, share, MESSAGES):
            live, tried = world.sums(coin(rate)(rng, (count, MESSAGES)))
            alarms += reached(two_by_two_path(live, tried, world.live_size, world.tried_size))
        return alarms / runs

    return measure


def bets_paired(rate: float) -> Measure:
    """Pairs whose difference is -1, 0 or 1, at a rate."""

    def measure(rng: np.random.Generator, runs: int) -> float:
        alarms = 0
        for count in _over(runs, _STEP):
            values = rng.choice([-1.0, 0.0, 1.0], size=(count, MESSAGES), p=[rate / 2, 1 - rate, rate / 2])
            alarms += reached(bets_path(values, -1.0, 1.0, 0.0))
        return alarms / runs

    return measure


def bets(draw: Draw, share: float) -> Measure:
    """Blocks of equally distributed numbers in split traffic."""

    def measure(rng: np.random.Generator, runs: int) -> float:
        alarms = 0
        for count, world in experiments(rng, runs, share, MESSAGES):
            alarms += reached(bets_path(world.differences(draw(rng, (count, MESSAGES))), -1.0, 1.0, 0.0))
        return alarms / runs

    return measure


def ratio(share: float) -> Measure:
    """Traffic that is split as intended."""

    def measure(rng: np.random.Generator, runs: int) -> float:
        steps = _over(runs, _STEP)
        drawn = (rng.random((count, MESSAGES)) < share for count in steps)
        return sum(reached(ratio_path(tried, share)) for tried in drawn) / runs

    return measure


def asymptotic(kind: str) -> Measure:
    """The mean of differences that is 0, interval at the level, after the burn-in."""

    def measure(rng: np.random.Generator, runs: int) -> float:
        alarms = 0
        for count in _over(runs, _STEP):
            low, high = asymptotic_path(_symmetric(kind, rng, (count, MESSAGES)), LEVEL)
            alarms += int(((low > 0.0) | (high < 0.0)).any(axis=-1).sum())
        return alarms / runs

    return measure


def _symmetric(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    if kind == "normal":
        return rng.standard_normal(shape)
    if kind == "lognormal":
        return lognormal(rng, shape) - lognormal(rng, shape)
    return coin(0.01)(rng, shape) - coin(0.01)(rng, shape)


def naive(rng: np.random.Generator, runs: int) -> float:
    """A two-sided z-test at the level, looked at after every message from the hundredth: the control."""
    alarms = 0
    for count in _over(runs, _STEP):
        values = coin(0.1)(rng, (count, MESSAGES)) - coin(0.1)(rng, (count, MESSAGES))
        alarms += int((np.abs(scores(values))[:, 100:] > 1.96).any(axis=-1).sum())
    return alarms / runs


def scores(values: Numbers) -> Array:
    """The z-score of the mean after every number."""
    t = np.arange(1, values.shape[-1] + 1)
    mean = np.cumsum(values, axis=-1) / t
    variance = np.cumsum(values**2, axis=-1) / t - mean**2
    return mean * np.sqrt(t) / np.sqrt(np.maximum(variance, 1e-12))


def _case(test: str, setting: str, measure: Measure, runs: int, quick: int) -> Case:
    return Case(GROUP, test, setting, measure, runs, quick, most=LEVEL)


CASES = (
    *(_case("paired wins", f"{rate:.1%} of pairs differ", wins(rate), 4000, 400) for rate in _RATES),
    *(
        _case("safe 2x2", f"base rate {rate:.1%}, share {share:.0%}", safe(rate, share), 4000, 200)
        for rate in _RATES
        for share in _SHARES
    ),
    *(_case("betting, pairs", f"{rate:.1%} of pairs differ", bets_paired(rate), 1000, 100) for rate in (0.01, 0.5)),
    *(
        _case("betting, blocks", f"{name}, share {share:.0%}", bets(draw, share), 1000, 100)
        for name, draw in (("lognormal", lognormal), ("95 % zeros", zero_inflated))
        for share in _SHARES
    ),
    *(_case("sample ratio", f"share {share:.0%}", ratio(share), 4000, 400) for share in _SHARES),
    *(
        _case("asymptotic sequence", f"{kind} differences, after the burn-in", asymptotic(kind), 4000, 200)
        for kind in ("normal", "lognormal", "rare")
    ),
    Case(GROUP, "control: naive z-test", "base rate 10.0%, from message 100", naive, 1000, 100, least=0.3),
)
