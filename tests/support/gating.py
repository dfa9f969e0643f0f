"""Comparisons with a made-up statistic, so that the gate's own logic can be tested by itself."""

from __future__ import annotations

from collections.abc import Sequence

from actors.gating.records import Opened, Row
from actors.gating.trial import Trial
from subjects.experiment import FAILED, Evidence, Guardrail, Interval, Metric, Mode, Plan


class Tally:
    """Each row's values add up: the sum's power of two is the evidence."""

    def __init__(self, metric: Metric, bound: float, level: float, stage: Mode, covariate: str) -> None:
        self.metric, self.bound, self.level, self.stage = metric, bound, level, (stage, covariate)
        self.sum, self.live, self.tried = 0.0, 0, 0

    def add(self, rows: Sequence[Row], index: int) -> None:
        """Sum candidate minus live."""
        for row in rows:
            for values, sign in ((row.live, -1), (row.tried, 1)):
                value = values[index] if values else None
                if value is not None:
                    self.sum += sign * value
                    self.live += sign < 0
                    self.tried += sign > 0

    def evidence(self) -> Evidence:
        """The present figures."""
        good = self.sum if self.metric.better == "higher" else -self.sum
        return Evidence(
            metric=self.metric.name, n_live=self.live, n_candidate=self.tried, live=None, candidate=None,
            effect=self.sum, interval=Interval(low=None, high=None, confidence=1 - self.level),
            e_better=2.0**good, e_worse=2.0 ** -(good + self.bound), test="tally",
        )  # fmt: skip


class Split:
    """Evidence against the split: messages on the wrong side of one in two."""

    def __init__(self, share: float) -> None:
        self.share, self.live, self.tried = share, 0, 0

    @property
    def e_value(self) -> float:
        """Grows with the imbalance."""
        return 2.0 ** max(0.0, abs(self.tried - self.share * (self.live + self.tried)) - 5)

    def add(self, live: int, tried: int) -> None:
        """Count."""
        self.live += live
        self.tried += tried


PLAN = Plan(
    stages=["replay", "split"], guardrails=[Guardrail(metric=FAILED, bound=1.0, alpha=0.125)], budget="fixed",
    alpha=0.03125, ramp=[0.25, 0.5], step_messages=10, min_messages=5, max_messages=100,
)  # fmt: skip


def opened(candidates: Sequence[int] = (2,), plan: Plan = PLAN, level: float = 0.03125) -> Opened:
    """An experiment's first entry."""
    return Opened(
        id="e-1", at=100.0, agent="echo", incumbent=1, candidates=list(candidates), plan=plan, level=level, test=1,
        proposer="operator", note="", kpi=0, events=0,
    )  # fmt: skip


def trial(candidates: Sequence[int] = (2,), plan: Plan = PLAN) -> Trial:
    """An experiment on tallies."""
    return Trial(opened(candidates, plan), Tally, Split)
