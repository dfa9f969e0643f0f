"""The Gaussian process: its calculus, its two silent traps, and limits that are known only by measuring."""

import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest

from actors.tuning import Study
from actors.tuning.acquisition import Acquisition, log_improvement
from actors.tuning.cube import Array
from actors.tuning.gaussian import scheduled
from actors.tuning.surrogate import Surrogate
from tests.support.tuning import HARTMANN6, box, branin, gardner, hartmann6, numbers, plan_of, searched

GROUPS = [0, 1, 2, 2]


def surrogate(count: int = 25) -> Surrogate:
    """A fitted surrogate of a smooth function of three dimensions, the last of which is a choice."""
    random = np.random.default_rng(3)
    x = random.random((count, 4))
    x[:, 3] = 1.0 - np.round(x[:, 2])
    x[:, 2] = np.round(x[:, 2])
    y = np.sin(5 * x[:, 0]) + x[:, 1] ** 2 + x[:, 2] + 0.05 * random.standard_normal(count)
    return Surrogate(x, y, np.full(count, 0.01**2), GROUPS)


def test_gradients_are_those_of_finite_differences():
    """Of the fit's loss, of the prediction, and of the acquisition with a limit."""
    model = surrogate()
    theta = model.theta + 0.3
    assert differs(lambda at: model.loss(at)[0], theta, model.loss(theta)[1]) < 1e-4
    row = np.array([0.3, 0.6, 0.2, 0.8])
    mean, variance, dmean, dvariance = model.slopes(row)
    found = model.predict(row[None])
    assert (mean, variance) == pytest.approx((found.mean[0], found.variance[0]))
    assert differs(lambda at: float(model.predict(at[None]).mean[0]), row, dmean) < 1e-4
    assert differs(lambda at: float(model.predict(at[None]).variance[0]), row, dvariance) < 1e-4
    acquisition = Acquisition(model, [surrogate(12)], -0.5)
    value, gradient = acquisition.slope(row)
    assert value == pytest.approx(acquisition.score(row[None])[0])
    assert differs(lambda at: float(acquisition.score(at[None])[0]), row, gradient) < 1e-4


def differs(function: Callable[[Array], float], at: Array, gradient: Array) -> float:
    """Greatest relative error of a gradient against central differences."""
    step = 1e-5
    found = np.array([(function(at + step * e) - function(at - step * e)) / (2 * step) for e in np.eye(len(at))])
    return float(np.abs(found - gradient).max() / max(1e-3, np.abs(found).max()))


def test_log_improvement_is_accurate_everywhere():
    """Against the plain formula where that is exact, and against the tail's expansion where it is 0."""
    for u in (-5.0, -1.0, -0.999, 0.0, 3.0):
        plain = math.exp(-u * u / 2) / math.sqrt(2 * math.pi) + u * 0.5 * math.erfc(-u / math.sqrt(2))
        assert log_improvement(np.array([u]))[0] == pytest.approx(math.log(plain), rel=1e-9)
    for u in (-30.0, -999.0, -1001.0, -1e6):
        tail = -u * u / 2 - 0.5 * math.log(2 * math.pi) - 2 * math.log(-u)
        assert log_improvement(np.array([u]))[0] == pytest.approx(tail, rel=1e-5)


def test_known_errors_are_believed():
    """A value that is told to be noisy moves the prediction less than an exact one."""
    x, y = np.array([[0.1], [0.5], [0.9]]), np.array([0.0, 1.0, 0.0])
    theta = np.log([0.7, 1.0, 1e-6])
    exact = Surrogate(x, y, np.zeros(3), [0], theta).predict(x).mean[1]
    noisy = Surrogate(x, y, np.array([0.0, 1.0, 0.0]), [0], theta).predict(x).mean[1]
    assert noisy < 0.8 * exact


def test_hyperparameters_follow_a_schedule_of_the_count_alone():
    """Fitted to all of the first results, then every fifteenth part more: a rebuild finds the same prefix."""
    assert [scheduled(count) for count in (4, 10, 29)] == [4, 10, 29]
    assert scheduled(201) in range(188, 202)
    sizes = {scheduled(count) for count in range(4, 400)}
    assert all(scheduled(size) == size for size in sizes)
    assert len(sizes) < 100


def test_an_exact_search_never_asks_twice():
    """The first trap: too much jitter, and the same point is asked for ever, well away from the optimum."""
    study = Study(plan_of("gp", genome=box([-5, 0], [10, 15]), seed=1, start_known=False))
    best = searched(study, lambda point: branin(numbers(point)), 45).best
    rows = np.array([numbers(trial.point) for trial in study.trials]) / 15.0
    apart = np.abs(rows[:, None] - rows[None]).max(axis=2)[np.triu_indices(len(rows), 1)]
    assert apart.min() > 5e-5
    assert best
    assert best.value - 0.397887 < 0.01


def test_a_space_of_few_points_is_searched_through():
    """Where all points are measured the search goes on, and none was missed before."""
    few = [parameter for parameter in plan_of().genome if parameter.name in {"deep", "style"}]
    study = Study(plan_of("gp", genome=few))
    searched(study, lambda point: float(point["genome.style"] == "soft") + float(point["genome.deep"]), 20)
    assert len({trial.cell for trial in study.trials}) == 6


def test_noise_does_not_drive_it_into_the_corners():
    """The second trap: a prior for long lengths takes noise for a slope, and a slope is best in a corner."""
    regrets: dict[str, list[float]] = {"gp": [], "random": []}
    edges: list[float] = []
    for algorithm, found in regrets.items():
        for seed in range(3):
            noise = np.random.default_rng(seed)
            study = Study(plan_of(algorithm, genome=box([0] * 6, [1] * 6), seed=seed, start_known=False))
            searched(study, lambda point, noise=noise: hartmann6(numbers(point)) + 0.3 * noise.standard_normal(), 50)
            later = [numbers(trial.point) for trial in study.trials[25:]]
            found.append(statistics.median(hartmann6(point) for point in later) - HARTMANN6)
            if algorithm == "gp":
                edges.append(float(np.mean([x < 0.005 or x > 0.995 for point in later for x in point])))
    assert statistics.median(regrets["gp"]) < statistics.median(regrets["random"]) - 0.7
    assert statistics.median(edges) < 0.4


def test_a_measured_limit_is_learned():
    """On Gardner's first problem it is within a tenth of the optimum after about 17 trials (median)."""
    reached: list[int] = []
    for seed in range(3):
        study = Study(plan_of("gp", genome=box([0, 0], [6, 6]), seed=seed, guardrails=["slo"], start_known=False))
        for number in range(30):
            study.apply(study.ask(0.0))
            cost, limit = gardner(numbers(study.trials[number].point))
            study.apply(study.tell(number, 0.0, cost, constraints={"slo": limit}))
        assert study.best
        assert study.trials[study.best.number].feasible
        reached.append(next((row.number + 1 for row in study.history() if row.best and row.best < -1.7), 99))
    assert statistics.median(reached) <= 21
