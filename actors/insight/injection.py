"""Series like our KPIs with something put in on purpose, and the label of where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .arrays import Flags, Floats

Kind = Literal["none", "spike", "level", "trend", "spread", "season"]
KINDS: tuple[Kind, ...] = ("spike", "level", "trend", "spread", "season")

MINUTES = 1440
CLEAN_DAYS, DAYS = 4, 6
_HOUR = 60


@dataclass(frozen=True, slots=True)
class Injected:
    """One series of minutes and what was put in.

    Attributes:
        kind: What it is; ``none`` for a clean one.
        values: shape (n,); always positive.
        labels: True where the anomaly shows; shape (n,).
        until: An alarm from the label's begin to this index is about the anomaly.
    """

    kind: Kind
    values: Floats
    labels: Flags
    until: int


def injected(kind: Kind, rng: np.random.Generator) -> Injected:
    """A series of six days with a daily cycle, AR(1) noise with light to heavy tails, and one ``kind`` of thing.

    It begins somewhere on the fifth or sixth day. Sizes in marginal standard deviations of the noise: spike 6 to 12
    for 1 to 3 minutes, level 2 to 4 for good, trend up to 4 to 6 in six hours, spread times 2.5 to 4 for good, season:
    the cycle comes six hours later from then on.
    """
    n = DAYS * MINUTES
    noise = ar1(n, float(rng.uniform(0, 0.6)), rng)
    swing = float(rng.uniform(2, 4) if kind == "season" else rng.uniform(0, 3))
    phase = float(rng.uniform(0, 2 * np.pi))
    start = int(rng.integers(CLEAN_DAYS * MINUTES, n - 8 * _HOUR))
    time = 2 * np.pi * np.arange(n) / MINUTES + phase
    shift, length, tolerance = _PUT[kind](n, start, noise, rng)
    if kind == "season":
        time[start:] -= np.pi / 2
    wave = swing * (np.sin(time) + 0.4 * np.sin(2 * time))
    labels = np.zeros(n, np.bool_)
    labels[start : start + length] = kind != "none"
    return Injected(kind, _positive(wave + noise + shift), labels, min(n, start + length + tolerance))


def ar1(n: int, rho: float, rng: np.random.Generator) -> Floats:
    """AR(1) noise of variance 1; its innovations have Student's t with 5, 10 or 30 degrees of freedom."""
    freedom = int(rng.choice((5, 10, 30)))
    new = rng.standard_t(freedom, n) * ((freedom - 2) / freedom) ** 0.5 * (1 - rho**2) ** 0.5
    values = np.empty(n)
    last = 0.0
    for index in range(n):
        last = rho * last + new[index]
        values[index] = last
    return values


def _positive(values: Floats) -> Floats:
    return 50.0 + 2.0 * values


Put = Callable[[int, int, Floats, np.random.Generator], tuple[Floats, int, int]]
"""From length, start and noise: what is added, how long its label is, and how much later an alarm still counts."""


def _none(n: int, _: int, __: Floats, ___: np.random.Generator) -> tuple[Floats, int, int]:
    return np.zeros(n), 0, 0


def _spike(n: int, start: int, _: Floats, rng: np.random.Generator) -> tuple[Floats, int, int]:
    length = int(rng.integers(1, 4))
    shift = np.zeros(n)
    shift[start : start + length] = rng.uniform(6, 12) * rng.choice((-1, 1))
    return shift, length, 5


def _level(n: int, start: int, _: Floats, rng: np.random.Generator) -> tuple[Floats, int, int]:
    shift = np.zeros(n)
    shift[start:] = rng.uniform(2, 4) * rng.choice((-1, 1))
    return shift, 2 * _HOUR, _HOUR


def _trend(n: int, start: int, _: Floats, rng: np.random.Generator) -> tuple[Floats, int, int]:
    ramp = np.clip((np.arange(n) - start) / (6 * _HOUR), 0, 1)
    return ramp * rng.uniform(4, 6) * rng.choice((-1, 1)), 6 * _HOUR, _HOUR


def _spread(n: int, start: int, noise: Floats, rng: np.random.Generator) -> tuple[Floats, int, int]:
    shift = np.zeros(n)
    shift[start:] = noise[start:] * (rng.uniform(2.5, 4) - 1)
    return shift, 3 * _HOUR, _HOUR


def _season(n: int, _: int, __: Floats, ___: np.random.Generator) -> tuple[Floats, int, int]:
    return np.zeros(n), 6 * _HOUR, _HOUR


_PUT: dict[Kind, Put] = {
    "none": _none, "spike": _spike, "level": _level, "trend": _trend, "spread": _spread, "season": _season,
}  # fmt: skip


def coupled(count: int, planted: int, rng: np.random.Generator, n: int = MINUTES) -> tuple[Floats, dict[int, int]]:
    """``count`` autocorrelated series of which the first ``planted`` pairs (0, 1), (2, 3) ... move together.

    Returns the series, shape (count, n), and the lag of each planted pair by its first number: the second follows by
    0 to 10 minutes and shares a quarter to a half of its innovations' variance. The others are independent.
    """
    values = np.stack([ar1(n + 20, float(rng.uniform(0, 0.8)), rng) for _ in range(count)])
    lags: dict[int, int] = {}
    for first in range(0, 2 * planted, 2):
        lag = lags[first] = int(rng.integers(0, 11))
        share = float(rng.uniform(0.5, 0.7))
        values[first + 1] = share * np.roll(values[first], lag) + (1 - share**2) ** 0.5 * values[first + 1]
    return values[:, 20:], lags
