"""Studies: what may happen to a trial, what is learned from it, what it costs, and when to stop."""

import math
from typing import Any

import msgspec
import pytest

from actors.tuning import Asked, Best, Budget, Study, StudyPlan, Told, TrialEvent, execution_parameters, limits_of
from actors.tuning.progress import convergence
from chimera.errors import (
    BadGenomeError,
    BadMessageError,
    BadSettingError,
    ChimeraError,
    ConflictError,
    NotFoundError,
    OverloadedError,
)
from subjects.agent import Limits, Parameter
from tests.support.tuning import MIXED, box, plan_of


def study_of(**fields: Any) -> Study:
    """A cheap study of two reals, higher is better."""
    return Study(plan_of("random", **{"genome": box([0, 0], [1, 1]), "better": "higher", **fields}))


def opened(study: Study, count: int = 1) -> Study:
    """The study with so many more open trials."""
    for _ in range(count):
        study.apply(study.ask(0.0))
    return study


def told(study: Study, *values: float, **fields: Any) -> Study:
    """The study after trials with these values."""
    for value in values:
        asked = study.ask(0.0)
        study.apply(asked)
        study.apply(study.tell(asked.number, 1.0, value, **fields))
    return study


def test_the_known_good_setting_comes_first():
    """Trial 0 is what is live, then the algorithm begins."""
    study = Study(plan_of("random", base={"rate": 3.0}))
    first = study.ask(0.0)
    assert first.by == "start"
    assert study.space.decode(first.point).genome["rate"] == 3.0
    study.apply(first)
    study.apply(study.tell(0, 1.0, 5.0))
    assert study.ask(2.0).by == "random"


def test_deciding_changes_nothing():
    """An event that is not applied did not happen: asking again gives the same trial."""
    study = Study(plan_of(start_known=False))
    assert study.ask(0.0) == study.ask(0.0)
    assert study.trials == ()
    opened(study)
    study.tell(0, 1.0, 2.0)
    study.fail(0, 1.0, "no")
    assert [trial.state for trial in study.trials] == ["open"]


def test_a_given_point_is_tried_and_checked():
    """Another layer's point becomes a trial like any other, if it fits."""
    study = study_of()
    asked = study.ask(0.0, {"genome.x0": 1, "genome.x1": 0.5})
    assert (asked.by, asked.point) == ("given", {"genome.x0": 1.0, "genome.x1": 0.5})
    with pytest.raises(BadGenomeError, match="outside"):
        study.ask(0.0, {"genome.x0": 2, "genome.x1": 0.5})


def test_events_survive_both_encodings_exactly():
    """A log in JSON or msgpack gives back the very same events."""
    study = Study(plan_of("random", start_known=False, guardrails=["slow"]))
    told(study, 0.1 + 0.2, stderr=1e-17, constraints={"slow": -1 / 3}, messages=7, harmed=2)
    events: list[TrialEvent] = [
        study.ask(5.0), Told(number=0, at=1 / 3, value=0.1 + 0.2, stderr=1e-17, constraints={"slow": -1 / 3})
    ]  # fmt: skip
    for event in events:
        for codec in (msgspec.json, msgspec.msgpack):
            assert codec.decode(codec.encode(event), type=TrialEvent) == event


def test_plans_survive_storage():
    """A plan is stored once and comes back equal, its space with it."""
    plan = plan_of(settings=execution_parameters({"batch_size": 8}), budget=Budget(harmed=5), scales={"rate": "linear"})
    back = msgspec.json.decode(msgspec.json.encode(plan), type=StudyPlan)
    assert back == plan
    assert back.space() == plan.space()
    assert plan.same_search(msgspec.structs.replace(plan, algorithm="gp", seed=9))
    assert not plan.same_search(msgspec.structs.replace(plan, better="higher"))


BAD_FIGURES = [math.nan, math.inf, -math.inf, 1e200, "1", None, True]


@pytest.mark.parametrize(
    ("field", "bad"),
    [(field, bad) for field in ("value", "stderr", "slow") for bad in BAD_FIGURES if (field, bad) != ("stderr", None)],
)
def test_figures_that_are_none_are_refused(field: str, bad: Any):
    """A result that is not a finite measurement is refused by name, and nothing is learned from it."""
    study = opened(study_of(guardrails=["slow"]))
    fields: dict[str, Any] = {"value": 1.0, "stderr": 0.1, "slow": -1.0, field: bad}
    with pytest.raises(BadMessageError, match=field):
        study.tell(0, 1.0, fields["value"], stderr=fields["stderr"], constraints={"slow": fields["slow"]})
    with pytest.raises(BadMessageError, match=field):
        study.apply(
            Told(number=0, at=1.0, value=fields["value"], stderr=fields["stderr"], constraints={"slow": fields["slow"]})
        )
    assert study.best is None
    assert len(study.open) == 1


def settled(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with the guardrail kept, if they say nothing of it."""
    return {"constraints": {"slow": -1.0}, **fields}


@pytest.mark.parametrize(
    ("number", "fields", "error", "words"),
    [
        (7, {}, NotFoundError, "no trial 7: the study has 2"),
        (-1, {}, NotFoundError, "no trial -1"),
        (1, {}, ConflictError, "has its result already"),
        (0, {"constraints": {}}, BadMessageError, "'slow' is missing"),
        (0, {"constraints": {"slow": 0.0, "fast": 0.0}}, BadMessageError, "no guardrail 'fast'"),
        (0, {"stderr": -0.1}, BadMessageError, "stderr"),
        (0, {"messages": 3, "harmed": 4}, BadMessageError, "4 harmed of 3"),
        (0, {"messages": -1}, BadMessageError, "can't be"),
    ],
)
def test_unsound_results_are_refused(number: int, fields: dict[str, Any], error: type[ChimeraError], words: str):
    """Wrong ids, second results, missing or unknown guardrails, impossible counts: each with its own error."""
    study = opened(study_of(guardrails=["slow"], most_open=2), 2)
    study.apply(study.tell(1, 1.0, 1.0, constraints={"slow": -1.0}))
    with pytest.raises(error, match=words):
        study.apply(Told(number=number, at=2.0, value=1.0, **settled(fields)))


def test_events_may_come_twice_but_not_twice_differently():
    """A log that is delivered again changes nothing; a contradiction is refused."""
    study = study_of()
    asked = study.ask(0.0)
    study.apply(asked)
    study.apply(asked)
    result = study.tell(0, 1.0, 2.0)
    study.apply(result)
    study.apply(result)
    assert [row.value for row in study.history()] == [2.0]
    with pytest.raises(ConflictError):
        study.apply(msgspec.structs.replace(result, value=3.0))
    with pytest.raises(ConflictError, match="next one is 1"):
        study.apply(msgspec.structs.replace(asked, at=9.0))
    with pytest.raises(ConflictError, match="next one is 1"):
        study.apply(msgspec.structs.replace(asked, number=5))


def test_at_most_so_many_trials_are_open():
    """One more is refused until one of them ends."""
    study = opened(study_of(most_open=2), 2)
    with pytest.raises(OverloadedError, match="2 trials are open"):
        study.ask(0.0)
    study.apply(study.fail(0, 1.0, "crashed"))
    assert study.ask(1.0).number == 2


def test_leases_run_out_and_are_renewed():
    """A silent trial expires, a renewed one goes on, and a late result still counts."""
    study = opened(study_of(most_open=2, lease_s=10.0), 2)
    study.apply(study.renew(1, 8.0, messages=50, harmed=1))
    assert study.expire(9.9) == []
    expired = study.expire(10.0)
    assert [event.number for event in expired] == [0]
    for event in expired:
        study.apply(event)
    assert [trial.state for trial in study.trials] == ["expired", "open"]
    assert study.spent.harmed == 1
    with pytest.raises(ConflictError, match="lost its lease"):
        study.renew(0, 11.0)
    study.apply(study.tell(0, 12.0, 4.0, messages=10))
    assert study.best
    assert study.best.value == 4.0


def test_the_budget_counts_messages_harmed():
    """Messages harmed by open trials count at once, the rest of the budget is told, and then nothing more is asked."""
    study = opened(study_of(budget=Budget(harmed=5)))
    study.apply(study.renew(0, 1.0, messages=100, harmed=3))
    assert study.harm_left == 2
    study.apply(study.tell(0, 2.0, 1.0, messages=200, harmed=6))
    assert (study.spent.messages, study.spent.harmed, study.harm_left) == (200, 6, 0)
    with pytest.raises(ConflictError, match="budget of 5 harmed"):
        study.ask(3.0)
    assert study_of().harm_left is None


@pytest.mark.parametrize("budget", [Budget(trials=3), Budget(messages=30)])
def test_other_budgets_end_it_too(budget: Budget):
    """So many trials, or so many messages, and it is over."""
    study = told(study_of(budget=budget), 1.0, 2.0, 3.0, messages=10)
    with pytest.raises(ConflictError, match="used up"):
        study.ask(1.0)


def test_the_best_point_is_feasible_and_in_the_right_direction():
    """Higher or lower as the plan says, and never one that broke a guardrail."""
    study = study_of(guardrails=["slow"])
    for value, slow in ((1.0, -0.1), (3.0, 0.0), (9.0, 0.1), (2.0, -1.0)):
        told(study, value, constraints={"slow": slow})
    assert study.best
    assert (study.best.number, study.best.value) == (1, 3.0)
    assert [row.best for row in study.history()] == [1.0, 3.0, 3.0, 3.0]
    lower = told(study_of(better="lower"), 5.0, 4.0, 6.0)
    assert lower.best
    assert lower.best.number == 1


def test_equal_points_are_pooled():
    """Measuring a lucky point again corrects it: by inverse variance where errors are known, else by the mean."""
    study = study_of()
    first = {"genome.x0": 0.5, "genome.x1": 0.5}
    for number, (value, stderr) in enumerate([(10.0, 1.0), (4.0, 0.5)]):
        study.apply(study.ask(0.0, first))
        study.apply(study.tell(number, 0.0, value, stderr=stderr))
    assert study.best
    assert (study.best.value, study.best.stderr) == pytest.approx((5.2, 0.2**0.5))
    study.apply(study.ask(0.0, first))
    study.apply(study.tell(2, 0.0, 1.0))
    assert study.best
    assert study.best.value == pytest.approx(5.0)
    assert study.best == Best(0, dict(first), study.best.value, None, 3)


def test_convergence_takes_both_conditions():
    """No improvement over the window is luck until the best value is known as closely."""
    flat: list[float | None] = [None, 0.5, *[0.8] * 21]

    def state(bests: list[float | None], half_width: float | None) -> tuple[bool, str]:
        found = convergence(bests, sign=-1.0, dimensions=2, threshold=0.001, half_width=half_width)
        return found.converged, found.reason

    assert state(flat, 0.0)[0]
    assert state(flat, 0.0003)[0]
    assert "known to" in state(flat, 0.0005)[1]
    assert "confidence sequence" in state(flat, None)[1]
    assert "still improved" in state(flat[:-1], 0.0)[1]
    assert "it takes 20" in state(flat[:10], 0.0)[1]
    assert not convergence(flat, sign=-1.0, dimensions=5, threshold=0.001, half_width=0.0).converged


def test_a_study_converges_by_its_own_figures():
    """The study hands in its direction, dimensions and threshold."""
    study = told(study_of(convergence_threshold=0.01), 1.0, *[2.0 + 0.0001 * step for step in range(21)])
    assert study.convergence(0.005).converged
    assert not study.convergence(0.05).converged
    assert study.convergence(0.005).improvement == pytest.approx(0.002 / 2.002)


def test_execution_settings_are_parameters():
    """Settings in force become known-good defaults, within widened bounds and below the operator's cap."""
    cap = Limits(cpu_ms=500.0)
    chosen = execution_parameters({"batch_size": 512, "cpu_ms": 200.0}, cap=cap)
    assert [(item.name, item.default, item.high) for item in chosen] == [("batch_size", 512, 512), ("cpu_ms", 200, 500)]
    space = plan_of(settings=chosen, tune=["settings.batch_size", "cpu_ms"]).space()
    point = {"settings.batch_size": 8, "settings.cpu_ms": 50.0}
    assert space.decode(point).settings == {"batch_size": 8, "cpu_ms": 50.0}
    assert limits_of(space.decode(point).settings, cap).cpu_ms == 50.0
    with pytest.raises(BadSettingError, match="'wings'"):
        execution_parameters({"wings": 2})


def test_a_log_of_another_study_is_refused():
    """Points that the space does not know are no history of it."""
    point = {"genome.other": 0.5}
    with pytest.raises(BadGenomeError):
        Study(plan_of(genome=MIXED), [Asked(number=0, at=0.0, point=dict(point), by="random", expires_at=1.0)])
    assert Study(plan_of(genome=[Parameter(name="other", low=0, high=1)]), [
        Asked(number=0, at=0.0, point=dict(point), by="random", expires_at=1.0)
    ]).open  # fmt: skip
