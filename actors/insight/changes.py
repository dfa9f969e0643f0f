"""When did a series change its level or its spread for good?"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from subjects.insight import Pattern

from .arrays import Floats
from .independence import blocks, filled, inflation, noise
from .libraries import breakpoints, t_tail
from .wording import moment, number

Of = Literal["level", "spread"]

MOST_BLOCKS, LEAST_VALUES, LEAST_SEGMENT = 720, 96, 8
MOST_GROUPS, GROUP = 120, 6
_CLIP = 4.0
_DOUBT = 1.5
"""Standard errors (about 1 / sqrt n) that are added to an autocorrelation: too small a one makes steps of nothing."""


def changes(
    series: str, since: float, values: Floats, step_s: float, *, of: Of = "level", level: float = 0.95
) -> list[Pattern]:
    """The changes that can be told from the noise at ``level``, oldest first.

    Bounded: at most 720 blocks are looked at. ruptures' KernelCPD proposes where; its penalty and the test afterwards
    use the long-run variance (see ``independence``), so the wandering of an autocorrelated series is not taken
    for steps. The p-value of each place
    is multiplied by the number of places it was chosen from (Bonferroni). Time of day must be removed before.

    Args:
        series: Its name.
        since: Unix time of the first value.
        values: One per step, ``nan`` for none; shape (n,).
        step_s: Seconds between values.
        of: ``spread`` looks at the logarithm of the mean step from value to value, in at most 120 groups.
        level: How sure a change must be to be told.
    """
    if np.isfinite(values).sum() < LEAST_VALUES:
        return []
    signal, length = _signal(values, of)
    spread, price = _long_run(signal)
    if spread <= 0:
        return []
    edges = [0, *_split(signal, spread), signal.size]
    found: list[Pattern] = []
    for left, at, right in zip(edges, edges[1:], edges[2:], strict=False):
        before, after = signal[left:at], signal[at:right]
        p = min(1.0, _p(before, after, spread, price) * signal.size)
        if p <= 1 - level:
            when = since + (values.size % length + at * length) * step_s
            window = (when, since + values.size * step_s)
            found.append(_told(series, of, window, (float(before.mean()), float(after.mean())), p))
    return found


def _signal(values: Floats, of: Of) -> tuple[Floats, int]:
    """What is split, and how many values each of its steps stands for."""
    if of == "level":
        means, length = blocks(values, MOST_BLOCKS)
        return _without_spikes(filled(means)), length
    jumps, length = blocks(np.abs(np.diff(filled(values), prepend=np.nan)), min(MOST_GROUPS, values.size // GROUP))
    found = filled(jumps)
    least = float(np.median(found)) * 1e-3
    return (np.log(np.maximum(found, least)) if least > 0 else np.zeros(found.size)), length


def _split(signal: Floats, spread: float) -> list[int]:
    """Splits that gain more than 3 ln n long-run variances, the usual penalty of a least-squares segmentation."""
    return breakpoints(signal, 3 * np.log(signal.size) * spread**2, LEAST_SEGMENT)


def _long_run(signal: Floats) -> tuple[float, float]:
    """Square root of the long-run variance, and by what it exceeds the variance.

    The larger of what differences and what residuals of a first split say: steps hardly touch differences, of which
    the lag-1 correlation is -(1 - rho) / 2 for an AR(1); where measurement noise hides the AR(1) from them, the
    residuals show it.
    """
    sigma = noise(signal)
    if sigma <= 0:
        sigma = float(signal.std())
    steps = np.clip(np.diff(signal), -_CLIP * sigma, _CLIP * sigma)
    steps -= steps.mean()
    power = float(steps @ steps)
    rho = 1 + 2 * float(steps[1:] @ steps[:-1]) / power if power else 0.0
    rho = float(np.clip(rho + _DOUBT / signal.size**0.5, 0.0, 0.97))
    price = (1 + rho) / (1 - rho)
    first = sigma * (price / (1 - rho)) ** 0.5
    residuals = signal - _segments(signal, _split(signal, first)) if first > 0 else signal
    price = max(price, inflation(residuals))
    return max(first, float(residuals.std()) * price**0.5), price


def _segments(signal: Floats, places: list[int]) -> Floats:
    return np.concatenate([np.full(part.size, part.mean()) for part in np.split(signal, places)])


def _p(before: Floats, after: Floats, spread: float, price: float) -> float:
    """Two-sided p-value of a difference of means; a part that varies more than the whole is taken by its own."""
    variances = [max(spread**2, float(part.var()) * price) / part.size for part in (before, after)]
    change = float(after.mean() - before.mean())
    return t_tail(change / sum(variances) ** 0.5, before.size + after.size - 2)


def _without_spikes(signal: Floats) -> Floats:
    """Values more than four sigma from the median of their neighbours become that median."""
    padded = np.pad(signal, 3, mode="edge")
    middle = np.median(sliding_window_view(padded, 7), axis=1)
    away = signal - middle
    reach = _CLIP * max(noise(signal), 1.4826 * float(np.median(np.abs(away))))
    return np.where(np.abs(away) > reach, middle, signal) if reach > 0 else signal


def _told(series: str, of: Of, window: tuple[float, float], levels: tuple[float, float], p: float) -> Pattern:
    before, after = levels
    if of == "spread":
        factor = float(np.exp(after - before))
        words = f"{series} varies {number(factor)} times as much as before since {moment(window[0])}"
        figures = {"factor": factor, "p": p, "of": of}
    else:
        words = f"{series} went from {number(before)} to {number(after)} at {moment(window[0])}"
        figures = {"before": before, "after": after, "change": after - before, "p": p, "of": of}
    return Pattern(
        kind="change-point", series=series, confidence=1 - p, since=window[0], until=window[1], words=words,
        figures=figures,
    )  # fmt: skip
