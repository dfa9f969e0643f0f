"""What genomes are measured by where nobody says, and tasks that can't tell it."""

from __future__ import annotations

import pytest

from actors.breeding.aims import needs, usual
from actors.breeding.caseload import of_request
from chimera.errors import BadMessageError
from subjects.agent import Manifest
from subjects.evolution import Case, Objective
from subjects.experiment import Metric

ERROR = Metric(name="score_error", kind="mean", better="lower", high=2.0)


def cases(count: int, *, label: str | None = None, score: float | None = None) -> list[Case]:
    """Different texts, judged alike."""
    return [Case(input={"text": f"text {n}"}, label=label, score=score) for n in range(count)]


@pytest.fixture
def manifest() -> Manifest:
    """Of an agent that says a label and a score."""
    return Manifest(name="echo", label="label", score="compound")


def test_tasks_with_labels_are_measured_by_them(manifest: Manifest):
    """Where people named the right label, being right counts."""
    assert usual(cases(5, label="up"), manifest).metric.name == "correct"
    assert usual(cases(5, label="up", score=1.0), manifest).metric.name == "correct"


def test_tasks_with_scores_are_measured_by_the_distance(manifest: Manifest):
    """Where people gave scores, the distance to them counts, within twice the greatest."""
    assert usual([*cases(3, label="up"), *cases(5, score=-0.8)], manifest).metric == Metric(
        name="score_error", kind="mean", better="lower", high=1.6
    )


def test_what_the_agent_does_not_say_is_not_compared(manifest: Manifest):
    """Labels mean nothing to an agent that gives scores alone; and without any judgement it is said what to do."""
    scores = Manifest(name="echo", label="", score="compound")
    assert usual([*cases(5, label="up"), *cases(1, score=0.5)], scores).metric.name == "score_error"
    for tasks, whose in ((cases(5, label="up"), scores), (cases(5), manifest)):
        with pytest.raises(BadMessageError, match="nobody said"):
            usual(tasks, whose)


def test_tasks_that_tell_nothing_of_the_objective_are_left_out():
    """A genome must not look middling because nothing is known of it: other tasks are dropped, or it is refused."""
    mixed = [*cases(300, score=0.5), *cases(600, label="up")[300:]]
    found = of_request(mixed, most=1000, needs=needs([Objective()]))
    assert {case.label for side in (found.train, found.validation) for case in side.cases} == {"up"}
    with pytest.raises(BadMessageError, match="0 of 300 tasks were judged by a label"):
        of_request(mixed[:300], most=1000, needs=needs([Objective()]))
    assert needs([Objective(metric=ERROR), Objective(), Objective(metric=Metric(name="run_ms"))]) == {"label", "score"}
