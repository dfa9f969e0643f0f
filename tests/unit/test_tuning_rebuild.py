"""After a crash the log alone gives the same next points, to the last bit; and what proposing drags in, and when."""

import subprocess
import sys
from typing import Any

import msgspec
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import TPESampler

from actors.tuning import Study, StudyPlan, TrialEvent
from actors.tuning.proposer import seed_of
from chimera.errors import ConflictError
from tests.support.tuning import box, branin, hartmann6, keep, mixed_cost, numbers, plan_of, searched

ALGORITHMS = ["bayesian", "gp", "cmaes", "random"]


def advance(study: Study, log: list[TrialEvent], rounds: int) -> None:
    """Keep trials open, end them out of order, and in each of the ways in which a trial may end."""
    for _ in range(rounds):
        now = float(len(log))
        while len(study.open) < study.plan.most_open:
            keep(study, study.ask(now), log)
        trial = study.open[-1 if len(log) % 3 else 0]
        if trial.number % 11 == 5:
            keep(study, study.fail(trial.number, now, "crashed", fault="setting"), log)
        elif trial.number % 11 == 7:
            keep(study, study.fail(trial.number, now, "the node went away", fault="elsewhere"), log)
        elif trial.number % 11 == 9:
            keep(study, study.renew(trial.number, now, messages=3), log)
            for expired in study.expire(trial.expires_at + 1e9)[:1]:
                keep(study, expired, log)
        else:
            cost = mixed_cost(trial.point)
            told = study.tell(trial.number, now, cost, stderr=0.01, constraints={"slow": 1.0 - cost}, messages=9)
            keep(study, told, log)


def stored(log: list[TrialEvent]) -> list[TrialEvent]:
    """The log after it was written and read."""
    return [msgspec.json.decode(msgspec.json.encode(event), type=TrialEvent) for event in log]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("most_open", [1, 4])
def test_a_rebuilt_study_goes_on_as_if_nothing_had_happened(algorithm: str, most_open: int):
    """Stopped in the middle with open, failed and expired trials, it writes the same log as one that never stopped."""
    plan = plan_of(algorithm, seed=5, most_open=most_open, guardrails=["slow"])
    whole: list[TrialEvent] = []
    advance(Study(plan), whole, 45)
    log: list[TrialEvent] = []
    advance(Study(plan), log, 25)
    again = stored(log)
    assert again == log
    advance(Study(plan, again), log, 20)
    assert [msgspec.json.encode(event) for event in log] == [msgspec.json.encode(event) for event in whole]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_late_result_leaves_no_trace_of_its_lateness(algorithm: str):
    """A study that saw a trial expire and its result come later proposes what a rebuilt one proposes."""
    plan = plan_of(algorithm, seed=2, most_open=2, guardrails=["slow"])
    study, log = Study(plan), list[TrialEvent]()
    advance(study, log, 30)
    late = study.open[0].number
    keep(study, next(event for event in study.expire(1e12) if event.number == late), log)
    keep(study, study.ask(1.0), log)
    keep(study, study.tell(late, 2.0, -3.0, constraints={"slow": -1.0}), log)
    for trial in study.open:
        keep(study, study.fail(trial.number, 3.0, "stop", fault="elsewhere"), log)
    assert study.ask(4.0) == Study(plan, stored(log)).ask(4.0)


def test_proposals_depend_on_the_seed_and_the_number():
    """Another seed or another trial gives another point, the same ones the same."""
    asked = [Study(plan_of("random", seed=seed, start_known=False)).ask(0.0).point for seed in (1, 1, 2)]
    assert asked[0] == asked[1] != asked[2]
    assert len({seed_of(1, number) for number in range(1000)} | {seed_of(2, number) for number in range(1000)}) == 2000


def test_bayesian_is_optunas_own_search():
    """With the same seed per trial, optuna's TPE run bare gives the very same 60 points."""
    study = Study(plan_of("bayesian", genome=box([-5, 0], [10, 15]), seed=3, start_known=False))
    bare = optuna.create_study()
    for number in range(60):
        asked = study.ask(0.0)
        bare.sampler = TPESampler(seed=seed_of(3, number))
        trial = bare.ask({"genome.x0": FloatDistribution(-5, 10), "genome.x1": FloatDistribution(0, 15)})
        assert asked.point == trial.params
        study.apply(asked)
        study.apply(study.tell(number, 0.0, branin(numbers(asked.point))))
        bare.tell(trial, branin(list(trial.params.values())))


@pytest.mark.parametrize(
    ("algorithm", "count", "regret"), [("bayesian", 60, 0.6), ("gp", 40, 0.25), ("cmaes", 150, 0.6)]
)
def test_every_algorithm_searches(algorithm: str, count: int, regret: float):
    """On mixed and conditional parameters each comes near the least cost, 0.0, in the direction that the plan says."""
    study = Study(plan_of(algorithm, better="higher"))
    best = searched(study, lambda point: -mixed_cost(point), count).best
    assert best
    assert best.value > -regret


@pytest.mark.parametrize("algorithm", ["bayesian", "gp", "cmaes"])
def test_parallel_trials_are_not_the_same_trial(algorithm: str):
    """Eight trials open at once are eight different points, and still lead somewhere."""
    study = Study(plan_of(algorithm, genome=box([0] * 6, [1] * 6), most_open=8, seed=1))
    for _ in range(8):
        while len(study.open) < 8:
            study.apply(study.ask(0.0))
        points = [numbers(trial.point) for trial in study.open]
        assert all(
            max(abs(a - b) for a, b in zip(one, other, strict=True)) > 1e-3
            for index, one in enumerate(points)
            for other in points[:index]
        )
        for trial in study.open:
            study.apply(study.tell(trial.number, 0.0, hartmann6(numbers(trial.point))))
    assert study.best
    assert study.best.value < -1.0


@pytest.mark.parametrize("algorithm", ["bayesian", "gp", "cmaes"])
def test_points_that_failed_by_their_own_fault_are_avoided(algorithm: str):
    """Where half of the box crashes, later proposals stay out of it; failures of others teach nothing."""
    study = Study(plan_of(algorithm, genome=box([0, 0], [1, 1]), seed=4, start_known=False))
    crashed: list[bool] = []
    for number in range(60):
        asked = study.ask(0.0)
        study.apply(asked)
        x, y = numbers(asked.point)
        crashed.append(x > 0.5)
        failed = (
            study.fail(number, 0.0, "trap") if x > 0.5 else study.tell(number, 0.0, (x - 0.2) ** 2 + (y - 0.3) ** 2)
        )
        study.apply(failed)
    assert sum(crashed[40:]) <= 5
    elsewhere = Study(plan_of(algorithm, start_known=False))
    elsewhere.apply(elsewhere.ask(0.0))
    elsewhere.apply(elsewhere.fail(0, 0.0, "node lost", fault="elsewhere"))
    assert not elsewhere.trials[0].teaches


@pytest.mark.parametrize("algorithm", ["gp", "cmaes", "bayesian"])
def test_nothing_but_failures_is_survived(algorithm: str):
    """Twenty trials that crash one after another still lead to a twenty-first."""
    study = Study(plan_of(algorithm))
    for number in range(20):
        study.apply(study.ask(0.0))
        study.apply(study.fail(number, 0.0, "trap"))
    assert study.ask(0.0).number == 20
    assert study.best is None


def test_one_proposal_at_a_time():
    """A second ask while one is being made is refused instead of spoiling it."""
    study = Study(plan_of("random", start_known=False))
    proposing: Any = getattr(study, "_proposing")  # noqa: B009 - looked into on purpose
    with proposing._lock, pytest.raises(ConflictError, match="another proposal"):
        study.ask(0.0)
    assert study.ask(0.0).number == 0


def test_results_may_arrive_while_a_point_is_sought():
    """An ask works on the trials at its start: a result that is applied meanwhile does not disturb it."""
    study = Study(plan_of("random", start_known=False, most_open=2))
    study.apply(study.ask(0.0))
    before = study.ask(1.0)
    proposing: Any = getattr(study, "_proposing")  # noqa: B009 - looked into on purpose
    propose = proposing.propose

    def interrupted(snapshot: Any) -> Any:
        study.apply(study.tell(0, 1.0, 1.0))
        return propose(snapshot)

    proposing.propose = interrupted
    assert study.ask(1.0) == before
    assert study.trials[0].state == "told"


IMPORTS = """
import sys
from actors.tuning import Study, StudyPlan
from subjects.agent import Parameter
study = Study(StudyPlan(genome=[Parameter(name="x", low=0.0, high=1.0)], algorithm="{}", start_known=False))
heavy = {{"optuna", "numpy", "scipy", "cmaes"}} & set(sys.modules)
assert not heavy, heavy
for number in range(12):
    study.apply(study.ask(0.0))
    study.apply(study.tell(number, 0.0, float(number)))
assert "optuna" in sys.modules
unwanted = {{"torch", "sqlalchemy", "alembic", "pandas"}} & set(sys.modules)
assert not unwanted, unwanted
"""


@pytest.mark.parametrize("algorithm", ["bayesian", "gp"])
def test_the_heavy_libraries_load_with_the_first_proposal(algorithm: str):
    """A study is built and told without optuna; proposals are silent and need neither a data base nor torch."""
    ran = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", IMPORTS.format(algorithm)],
        capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


WARM = """
import sys
from actors.tuning.proposing import warm_up
{}
warm_up()
print("optuna.samplers" in sys.modules)
"""


@pytest.mark.parametrize(("before", "loaded"), [("", "True"), ("sys.modules['optuna'] = None", "False")])
def test_the_heavy_libraries_can_be_loaded_ahead_of_time(before: str, loaded: str):
    """Warming up loads them; an install without them goes on."""
    ran = subprocess.run(
        [sys.executable, "-c", WARM.format(before)], capture_output=True, text=True, check=False, timeout=50
    )
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, loaded, "")


def test_another_algorithm_may_go_on_with_the_same_trials():
    """What one algorithm learned, the next one starts from."""
    plan = plan_of("random", genome=box([-5, 0], [10, 15]), start_known=False)
    log: list[TrialEvent] = []
    study = Study(plan)
    for number in range(20):
        keep(study, study.ask(0.0), log)
        keep(study, study.tell(number, 0.0, branin(numbers(study.trials[number].point))), log)
    switched: StudyPlan = msgspec.structs.replace(plan, algorithm="gp")
    best = searched(Study(switched, log), lambda point: branin(numbers(point)), 12).best
    assert best
    assert best.value < 0.45
