"""What releases are compared by where nobody named it, or named what nobody can know. Pure but for the recorder."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Protocol

from msgspec.structs import replace

from subjects.agent import Manifest
from subjects.experiment import CORRECT, Metric, Plan

from .recorded import Recorder

_NEWEST = 5_000


class Judged(Protocol):
    """A task of which somebody may have said what was right."""

    @property
    def label(self) -> str | None:
        """The right label."""
        ...

    @property
    def score(self) -> float | None:
        """The right score."""
        ...


def score_error(scores: Iterable[float]) -> Metric:
    """The distance to judged scores. It may be as far as those are wide: twice the greatest."""
    high = 2.0 * max(map(abs, scores)) or 1.0
    return Metric(name="score_error", kind="mean", better="lower", high=high)


def told_by(tasks: Iterable[Judged], manifest: Manifest) -> tuple[int, list[float]]:
    """How many tasks were judged by a label that the agent gives, and the scores of those judged by a score."""
    labels, scores = 0, list[float]()
    for task in tasks:
        labels += bool(manifest.label) and task.label is not None
        if manifest.score and task.score is not None:
            scores.append(task.score)
    return labels, scores


class Primary:
    """What stands in for ``correct`` where it can't be known: no task was judged by a label, but some by a score.

    Args:
        recorder: Holds recorded tasks.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def metric(self, metric: Metric, manifest: Manifest) -> Metric:
        """The metric, or the distance to the judged scores."""
        if metric != CORRECT:
            return metric
        newest = islice(reversed(list(self._recorder.tasks(manifest.name, judged=True))), _NEWEST)
        labels, scores = told_by(newest, manifest)
        return metric if labels or not scores else score_error(scores)

    def plan(self, plan: Plan, manifest: Manifest) -> Plan:
        """The plan with that as its primary metric."""
        return replace(plan, primary=self.metric(plan.primary, manifest))


def is_same(known: Plan, asked: Plan) -> bool:
    """Whether a plan that was begun is the one asked for, also where ``score_error`` stood in for ``correct`` then."""
    stood_in = asked.primary == CORRECT and known.primary.name == "score_error"
    return known == (replace(asked, primary=known.primary) if stood_in else asked)
