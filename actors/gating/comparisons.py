"""The comparisons behind the gate: which test for which metric in which stage.

Paired stages (replay, shadow) compare both answers to the same message; a split compares blocks of separate messages.
Proportions that must not get worse at all use the sharpest exact test of their kind; everything else bounded is decided
by betting, also means with a covariate, whose adjustment is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from actors.inference.bernstein import MeanSequence
from actors.inference.betting import Bets
from actors.inference.blocks import Blocks
from actors.inference.covariate import LARGEST, Cuped
from actors.inference.quantiles import QuantileSequence
from actors.inference.twobytwo import TwoByTwo
from actors.inference.wins import log_e_wins
from subjects.experiment import Evidence, Interval, Metric, Mode

from .comparing import Comparison
from .records import Row

_LARGEST_LOG = 690.0
_PARTS = 8
"""The sequences of quantiles are wrong with a chance of this part of the level: then half the capital wins 4/level."""


def e_of(log_e: float) -> float:
    """An e-value from its logarithm; beyond 1e299 it is as good as certain."""
    return math.exp(min(_LARGEST_LOG, log_e))


class _Arms:
    """Counts, means and the interval of the effect, the same for every comparison."""

    test = ""

    def __init__(self, metric: Metric, bound: float, level: float) -> None:
        self.metric, self.bound, self.level = metric, bound, level
        self.sign = 1.0 if metric.better == "higher" else -1.0
        self.width = metric.high - metric.low
        self._counts, self._sums = [0, 0], [0.0, 0.0]
        self._sequence = MeanSequence(-self.width, self.width, level)

    def count(self, value: float, *, tried: bool) -> None:
        """Note one value."""
        self._counts[tried] += 1
        self._sums[tried] += value

    def differ(self, difference: float) -> None:
        """Note one difference, candidate minus live."""
        self._sequence.add((difference,))

    def figures(self, log_better: float, log_worse: float) -> Evidence:
        """The evidence, with these e-values."""
        live, tried = (total / count if count else None for total, count in zip(self._sums, self._counts, strict=True))
        low, high = self._sequence.interval()
        return Evidence(
            metric=self.metric.name, n_live=self._counts[0], n_candidate=self._counts[1], live=live, candidate=tried,
            effect=None if live is None or tried is None else tried - live,
            interval=Interval(low=low, high=high, confidence=1.0 - self.level), e_better=e_of(log_better),
            e_worse=e_of(log_worse), test=self.test,
        )  # fmt: skip


class PairedWins(_Arms):
    """Both answered; who was right? Exact."""

    test = "paired win/loss, Beta mixture (Robbins 1970)"

    def __init__(self, metric: Metric, bound: float, level: float) -> None:
        super().__init__(metric, bound, level)
        self._wins = self._losses = 0

    def add(self, rows: Sequence[Row], index: int) -> None:
        """Fold messages that both answered."""
        for live, tried in _pairs(rows, index):
            self.count(live, tried=False)
            self.count(tried, tried=True)
            self.differ(tried - live)
            gain = self.sign * (tried - live)
            self._wins += gain > 0
            self._losses += gain < 0

    def evidence(self) -> Evidence:
        """The present figures."""
        return self.figures(log_e_wins(self._wins, self._losses), log_e_wins(self._losses, self._wins))


class Betting(_Arms):
    """Differences of a bounded number, of pairs or of blocks. Exact.

    Args:
        metric: What is compared.
        bound: How much worse is allowed.
        level: Level of the interval.
        paired: Whether both releases answer each message.
        reach: Greatest difference; the metric's width unless something was added to its values.
    """

    test = "betting on bounded differences (Waudby-Smith and Ramdas 2024)"

    def __init__(self, metric: Metric, bound: float, level: float, *, paired: bool, reach: float | None = None) -> None:
        super().__init__(metric, bound, level)
        self._reach = self.width if reach is None else reach
        self._blocks = None if paired else Blocks[float]()
        self._sequence = MeanSequence(-self._reach, self._reach, level)
        self._better = Bets(-self._reach, self._reach, 0.0)
        self._worse = Bets(-self._reach, self._reach, bound)

    def add(self, rows: Sequence[Row], index: int) -> None:
        """Fold messages."""
        if self._blocks is None:
            for live, tried in _pairs(rows, index):
                self.count(live, tried=False)
                self.count(tried, tried=True)
                self._fold(tried - live)
            return
        for value, tried in _singles(rows, index):
            self.count(value, tried=tried)
            block = self._blocks.add(value, tried=tried)
            if block is not None:
                self._fold(_difference(*block))

    def _fold(self, difference: float) -> None:
        # a mean of equal numbers may be rounded beyond them, and with them beyond the bounds
        difference = min(self._reach, max(-self._reach, difference))
        self.differ(difference)
        self._better.add((self.sign * difference,))
        self._worse.add((-self.sign * difference,))

    def evidence(self) -> Evidence:
        """The present figures."""
        return self.figures(self._better.log_e, self._worse.log_e)


class SplitProportion(_Arms):
    """Two proportions from separate messages. Exact."""

    test = "safe 2x2 (Turner, Ly, Gruenwald 2024)"

    def __init__(self, metric: Metric, bound: float, level: float) -> None:
        super().__init__(metric, bound, level)
        self._blocks, self._better, self._worse = Blocks[float](), TwoByTwo(), TwoByTwo()

    def add(self, rows: Sequence[Row], index: int) -> None:
        """Fold messages of either."""
        for value, tried in _singles(rows, index):
            self.count(value, tried=tried)
            block = self._blocks.add(value, tried=tried)
            if block is None:
                continue
            self.differ(_difference(*block))
            good = [[int((one > 0.5) == (self.sign > 0)) for one in side] for side in block]  # noqa: PLR2004 - 0 or 1
            self._better.add(good[0], good[1])
            self._worse.add([1 - one for one in good[0]], [1 - one for one in good[1]])

    def evidence(self) -> Evidence:
        """The present figures."""
        return self.figures(self._better.log_e, self._worse.log_e)


class SplitAdjusted(Betting):
    """A mean whose variance a covariate explains in part. Exact: what is subtracted is bounded, alike for both."""

    test = "betting on bounded differences, CUPED-adjusted (Waudby-Smith and Ramdas 2024; Deng et al. 2013)"

    def __init__(self, metric: Metric, bound: float, level: float) -> None:
        most = LARGEST * (metric.high - metric.low)
        super().__init__(metric, bound, level, paired=False, reach=metric.high - metric.low + 2.0 * most)
        self._messages, self._cuped = Blocks[tuple[float, float]](), Cuped(most)

    def add(self, rows: Sequence[Row], index: int) -> None:
        """Fold messages of either, with their covariate."""
        for row in rows:
            value = (row.tried or row.live)[index]
            if value is None:
                continue
            self.count(value, tried=bool(row.tried))
            block = self._messages.add((value, row.covariate), tried=bool(row.tried))
            if block is not None:
                live, tried = ([self._cuped.adjust(*message) for message in side] for side in block)
                self._fold(_difference(live, tried))
                for side in block:
                    self._cuped.learn(side)


class Quantiles(_Arms):
    """A quantile of either, by two confidence sequences. Exact.

    The bet is all or nothing, half of the capital is kept: once the sequences part the e-value is above 4/level, else
    it is 1/2. A stage that shows nothing leaves the next two enough to reach 1/level by themselves.
    """

    test = "quantile confidence sequences (Howard and Ramdas 2022)"

    def __init__(self, metric: Metric, bound: float, level: float) -> None:
        super().__init__(metric, bound, level)
        self._live = QuantileSequence(metric.quantile, level / _PARTS / 2.0)
        self._tried = QuantileSequence(metric.quantile, level / _PARTS / 2.0)

    def add(self, rows: Sequence[Row], index: int) -> None:
        """Fold messages: pairs count for either side."""
        for row in rows:
            for values, sequence in ((row.live, self._live), (row.tried, self._tried)):
                value = values[index] if values else None
                if value is not None:
                    sequence.add((value,))

    def evidence(self) -> Evidence:
        """The present figures; ``live`` and ``candidate`` are quantiles."""
        (live_low, live_high), (low, high) = self._live.interval(), self._tried.interval()
        below, above = low - live_high, high - live_low
        gained = -above if self.sign < 0 else below
        lost = below if self.sign < 0 else -above
        live, tried = self._live.estimate(), self._tried.estimate()
        return Evidence(
            metric=self.metric.name, n_live=self._live.n, n_candidate=self._tried.n, live=live, candidate=tried,
            effect=None if live is None or tried is None else tried - live,
            interval=Interval(
                low=below if math.isfinite(below) else None, high=above if math.isfinite(above) else None,
                confidence=1.0 - self.level / _PARTS,
            ),
            e_better=self._bet(won=gained > 0.0), e_worse=self._bet(won=lost > self.bound), test=self.test,
        )  # fmt: skip

    def _bet(self, *, won: bool) -> float:
        return 0.5 + 0.5 * _PARTS / self.level * won


def compare(metric: Metric, bound: float, level: float, stage: Mode, covariate: str = "") -> Comparison:
    """The comparison of a metric in a stage.

    Args:
        metric: What is compared.
        bound: How much worse is allowed, in the metric's unit.
        level: Level of its interval (an eighth of it for quantiles).
        stage: Where the messages come from.
        covariate: Name of the covariate in the rows, if one is to be used.
    """
    paired = stage != "split"
    if metric.kind == "quantile":
        return Quantiles(metric, bound, level)
    if metric.kind == "mean" and covariate and not paired:
        return SplitAdjusted(metric, bound, level)
    if metric.kind == "mean" or bound > 0.0:
        return Betting(metric, bound, level, paired=paired)
    return PairedWins(metric, bound, level) if paired else SplitProportion(metric, bound, level)


def _difference(live: Sequence[float], tried: Sequence[float]) -> float:
    return math.fsum(tried) / len(tried) - math.fsum(live) / len(live)


def _pairs(rows: Sequence[Row], index: int) -> list[tuple[float, float]]:
    found = ((row.live[index], row.tried[index]) for row in rows if row.live and row.tried)
    return [(live, tried) for live, tried in found if live is not None and tried is not None]


def _singles(rows: Sequence[Row], index: int) -> list[tuple[float, bool]]:
    found = (((row.tried or row.live)[index], bool(row.tried)) for row in rows)
    return [(value, tried) for value, tried in found if value is not None]
