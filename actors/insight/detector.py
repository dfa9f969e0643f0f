"""Anomalies in one series as its minutes come: single points, changed levels, drifting spread."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from subjects.insight import Anomaly

from .intake import agent_of
from .libraries import adwin, gaussian_scorer
from .memory import Memory
from .profile import DayProfile
from .severity import Severity
from .tail import Tail
from .wording import number, percent

Scale = Literal["linear", "log", "root"]
Kind = Literal["point", "level", "drift"]

_CLIP = 4.0
_TINY = 1e-3


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """When to alarm. The defaults were set on series of development seeds; ``selfcheck`` measures them on others.

    Attributes:
        rate: False alarms per minute that single points may give: 1 in 14,400 is one in ten days.
        delta: ADWIN's chance of a false alarm per check.
        window: Minutes that the Gaussian and the AR(1) remember.
        grace: Minutes before the first alarm, and after a change of level or spread.
        quiet: Minutes in which a second alarm of the same kind is the same event.
    """

    rate: float = 1 / 14_400
    delta: float = 1e-3
    window: int = 360
    grace: int = 60
    quiet: int = 30


DEFAULT = Sensitivity()


def scale_of(series: str) -> Scale:
    """Durations and sizes vary by factors; counts by the root of what they are; rates and shares by differences."""
    if series.endswith("/load"):
        return "root"
    return "log" if series.endswith(("_ms", "_bytes")) else "linear"


def _scaled(value: float, scale: Scale) -> float:
    """The root is Anscombe's (Biometrika 1948): counts of any size then vary by about 1."""
    if scale == "log":
        return math.log(max(value, 0.0) + _TINY)
    return 2 * (max(value, 0.0) + 0.375) ** 0.5 if scale == "root" else value


def _unscaled(value: float, scale: Scale) -> float:
    if scale == "log":
        return max(0.0, math.exp(min(value, 700.0)) - _TINY)
    return max(0.0, (max(value, 0.0) / 2) ** 2 - 0.375) if scale == "root" else value


class Detector:
    """Watches one series: time of day removed, then the AR(1), then river's GaussianScorer and ADWIN.

    GaussianScorer sees points (how far is far enough: ``Tail``); ADWIN over the standardised innovations sees changed
    levels, a second one over their absolute values sees changed spread. Both get innovations because they take
    independent values, which minute means
    are not. Memory: bounded by ``window``, about 80 KB, most of it river's rolling window.

    Args:
        series: Its name, ``<agent>/<figure>``.
        scale: On which its changes are compared; guessed from the name if not given.
        sensitivity: When to alarm.
    """

    def __init__(self, series: str, *, scale: Scale | None = None, sensitivity: Sensitivity = DEFAULT) -> None:
        self.series = series
        self.scale: Scale = scale or scale_of(series)
        self.score = 0.0
        self._set = sensitivity
        self._profile = DayProfile()
        self._was_ready = False
        self._tail = Tail(sensitivity.rate)
        self._severity = Severity()
        self._silent_until: dict[Kind, float] = {}
        self._begin()

    def _begin(self) -> None:
        """Forget level and spread, not the time of day."""
        self._memory = Memory(self._set.window)
        self._scorer = gaussian_scorer(self._set.window, self._set.grace)
        self._level = adwin(self._set.delta)
        self._spread = adwin(self._set.delta)
        self._seen = 0

    def update(self, at: float, value: float) -> list[Anomaly]:
        """Take the next minute's value (``nan`` = none); returns what is anomalous about it, mostly nothing.

        ``score`` is then how far out the series is, in sigmas, for ranking.
        """
        if not math.isfinite(value):
            return []
        scaled = _scaled(value, self.scale)
        usual = self._profile.expected(at)
        self._profile.learn(at, scaled)
        if self._profile.ready and not self._was_ready:
            self._was_ready = True
            self._severity = Severity()
            self._begin()
        return self._judge(at, value, scaled, usual or 0.0)

    def _judge(self, at: float, value: float, scaled: float, usual: float) -> list[Anomaly]:
        expected = _unscaled(self._memory.mean + usual, self.scale)
        surprise = self._memory.learn(scaled - usual)
        outlier, z = self._weigh(surprise)
        self._seen += 1
        point = abs(z) if self._seen > self._set.grace else 0.0
        self.score = self._severity.update(scaled - usual, surprise, point)
        if not point:
            return []
        changed, spread = self._watch(z)
        limit = self._tail.limit
        self._tail.learn(point)
        found: list[Anomaly] = []
        if point >= limit and not self._repeated("point", at):
            found.append(self._told("point", at, value, expected, outlier))
        if changed and not self._repeated("level", at):
            found.append(self._told("level", at, value, expected, 1 - self._set.delta))
        elif spread and not self._repeated("drift", at):
            found.append(self._told("drift", at, value, expected, 1 - self._set.delta))
        if changed or spread:
            self._begin()
        return found

    def _weigh(self, surprise: float) -> tuple[float, float]:
        """The score of river's Gaussian, 0 to 1, and the same in sigmas; then learns the value, clipped."""
        outlier = float(self._scorer.score_one(None, surprise))
        mean, sigma = self._scorer.gaussian.mu, self._scorer.gaussian.sigma
        if sigma <= 0:
            self._scorer.learn_one(None, surprise)
            return 0.0, 0.0
        z = (surprise - mean) / sigma
        settled = self._seen >= self._set.grace
        self._scorer.learn_one(None, mean + sigma * max(-_CLIP, min(_CLIP, z)) if settled else surprise)
        return outlier, z

    def _watch(self, z: float) -> tuple[bool, bool]:
        """Whether level or spread changed."""
        clipped = max(-_CLIP, min(_CLIP, z))
        self._level.update(clipped)
        self._spread.update(abs(clipped))
        return self._level.drift_detected, self._spread.drift_detected

    def _repeated(self, kind: Kind, at: float) -> bool:
        repeated = at < self._silent_until.get(kind, -math.inf)
        self._silent_until[kind] = at + self._set.quiet * 60.0
        return repeated

    def _told(self, kind: Kind, at: float, value: float, expected: float, confidence: float) -> Anomaly:
        words = _WORDS[kind](self.series, value, expected, self.score)
        return Anomaly(
            series=self.series, agent=agent_of(self.series), kind=kind, at=at, value=value, expected=expected,
            score=self.score, confidence=max(0.0, min(1.0, confidence)), words=words,
        )  # fmt: skip


def _against(value: float, expected: float) -> str:
    if not expected:
        return f"{number(value)} where {number(expected)} was expected"
    return f"{number(value)} where {number(expected)} was expected ({percent(value / expected - 1)})"


def _point(series: str, value: float, expected: float, score: float) -> str:
    return f"{series} is {_against(value, expected)}, {score:.1f} sigmas out, time of day allowed for"


def _level(series: str, value: float, expected: float, _: float) -> str:
    return f"{series} has moved to another level: {_against(value, expected)}"


def _drift(series: str, _: float, expected: float, __: float) -> str:
    return f"{series} varies differently from before around {number(expected)}"


_WORDS: dict[Kind, Callable[[str, float, float, float], str]] = {"point": _point, "level": _level, "drift": _drift}
