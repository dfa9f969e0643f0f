"""The typed edge to the heavy libraries without types: scipy, river, ruptures. Each is imported at its first use."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np

from .arrays import Floats


class Adwin(Protocol):
    """river's ADWIN (Bifet & Gavalda, SDM 2007): a window that drops its older part when its mean differs."""

    drift_detected: bool
    estimation: float
    width: int

    def update(self, x: float) -> None:
        """Take the next value."""
        ...


class Gaussian(Protocol):
    """river's normal distribution over a rolling window."""

    mu: float
    sigma: float
    n_samples: float


class GaussianScorer(Protocol):
    """river's scorer: how far out a value lies, 0 to 1, under a normal distribution of the window before it."""

    gaussian: Gaussian

    def score_one(self, x: None, y: float) -> float:
        """The score of ``y``; 0 in the grace period."""
        ...

    def learn_one(self, x: None, y: float) -> None:
        """Take ``y`` into the window."""
        ...


@cache
def _module(name: str) -> Any:
    return import_module(name)


def adwin(delta: float, *, clock: int = 8, grace: int = 30) -> Adwin:
    """A new ADWIN; ``delta`` bounds the chance of a false alarm at one check, every ``clock`` values."""
    return cast("Adwin", _module("river.drift").ADWIN(delta=delta, clock=clock, grace_period=grace))


def gaussian_scorer(window: int, grace: int) -> GaussianScorer:
    """A new scorer over ``window`` values that says 0 for the first ``grace``."""
    return cast("GaussianScorer", _module("river.anomaly").GaussianScorer(window_size=window, grace_period=grace))


def breakpoints(signal: Floats, penalty: float, least: int) -> list[int]:
    """Where ruptures' KernelCPD (Celisse et al., CSDA 2018; PELT, linear kernel) splits a signal.

    Gives the first index of each new segment. ``penalty`` is what a split must gain in the sum of squared errors.
    """
    found = _module("ruptures").KernelCPD(kernel="linear", min_size=least).fit(signal).predict(pen=penalty)
    return [int(index) for index in found[:-1]]


def t_tail(t: float, freedom: float) -> float:
    """Two-sided p-value of Student's t."""
    return float(2 * _module("scipy.special").stdtr(freedom, -abs(t)))


def t_quantile(share: float, freedom: float) -> float:
    """Quantile of Student's t."""
    return float(_module("scipy.special").stdtrit(freedom, share))


def normal_tail(z: Floats) -> Floats:
    """Two-sided p-values of standard normal values."""
    return np.asarray(2 * _module("scipy.special").ndtr(-np.abs(z)), np.float64)


def shipped(name: str, count: int) -> list[tuple[dict[str, float], float]]:
    """The first ``count`` rows (figures, label) of a data set that lies within river's own package: no network."""
    return cast("list[tuple[dict[str, float], float]]", list(getattr(_module("river.datasets"), name)().take(count)))
