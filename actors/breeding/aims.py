"""What genomes are measured by: what that needs to be known of a task, and what it is where nobody says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from actors.refining.primary import Judged, score_error, told_by
from chimera.errors import BadMessageError
from subjects.agent import Manifest
from subjects.evolution import Objective

Need = Literal["label", "score"]


def needs(objectives: Sequence[Objective]) -> frozenset[Need]:
    """What must have been said of a task for it to tell anything of these objectives."""
    return frozenset(need for objective in objectives if (need := _need(objective)))


def usual(tasks: Iterable[Judged], manifest: Manifest) -> Objective:
    """What most of the tasks were judged by: their label, or else how far the score is from the judged one.

    A score may be as far off as the judged scores are wide: twice the greatest.

    Raises:
        BadMessageError: If none of them was judged by anything that the manifest says the agent gives.
    """
    labels, scores = told_by(tasks, manifest)
    if labels and labels >= len(scores):
        return Objective()
    if not scores:
        raise BadMessageError(
            "nobody said what was right of any task that is at hand",
            hint="judge tasks with POST /api/feedback, give cases, or name objectives that need no judge, as run_ms",
        )
    return Objective(metric=score_error(scores))


def _need(objective: Objective) -> Need | None:
    if objective.statistic == "correlation" or objective.metric.name == "score_error":
        return "score"
    return "label" if objective.metric.name == "correct" else None
