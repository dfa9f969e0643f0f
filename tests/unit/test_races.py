"""Races spare tasks and hardly ever stop a genome that would have survived."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.evolving.correlation import Pair
from actors.evolving.estimates import Running
from actors.evolving.racing import CorrelationRace, MeanRace, Spending, Threshold, order, parts, rungs

TASKS = 512


def test_rungs_grow_to_all_tasks():
    """As in the brief: 32, 128, 512, all; a remainder that spares nothing is no rung of its own."""
    assert rungs(2000) == (32, 128, 512, 2000)
    assert rungs(512) == (32, 128, 512)
    assert rungs(20) == (20,)
    assert rungs(40) == (40,)
    assert rungs(64) == (32, 64)


@settings(deadline=None)
@given(st.integers(1, 20_000), st.integers(1, 100), st.integers(2, 8))
def test_rungs_are_a_partition(tasks: int, first: int, factor: int):
    """They grow, end with all tasks, and their parts are all tasks once."""
    ends = rungs(tasks, first, factor)
    assert list(ends) == sorted(set(ends))
    assert ends[-1] == tasks
    assert [place for part in parts(range(tasks), ends) for place in part] == list(range(tasks))


@pytest.mark.parametrize("wrong", [(0, 32, 4), (10, 0, 4), (10, 32, 1)])
def test_no_race_without_tasks_or_growth(wrong: tuple[int, int, int]):
    """Rungs that make no race are refused."""
    with pytest.raises(ValueError, match="no race"):
        rungs(*wrong)


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(0, 1 << 62), st.integers(0, 1000))
def test_the_order_is_the_same_everywhere(tasks: int, seed: int, generation: int):
    """All tasks, in an order that depends on the seed and the generation alone."""
    places = order(tasks, seed, generation)
    assert sorted(places) == list(range(tasks))
    assert places == order(tasks, seed, generation)


def test_the_order_is_fixed_for_ever():
    """A log is replayed by other nodes and later versions: these are the orders that were used."""
    assert order(8, 1, 0) != order(8, 1, 1)
    assert order(8, 1, 0) == [5, 1, 0, 3, 4, 7, 2, 6]


def threshold(rng: random.Random, rate: float, difficulty: list[float]) -> Threshold:
    """A genome that solves tasks by their difficulty."""
    answers = {task: float(rng.random() < rate * (2.0 - one) / 1.5) for task, one in enumerate(difficulty)}
    return Threshold(Running().add(answers.values()), answers)


def race(rng: random.Random, rate: float, needed: Threshold, difficulty: list[float], *, paired: bool) -> int:
    """Tasks a genome of that rate runs before it is stopped; all if it is not."""
    known = needed if paired else Threshold(needed.estimate, {})
    one, run = MeanRace(known, 0.0, 1.0), 0
    for part in parts(order(TASKS, 5, 0), rungs(TASKS)):
        one.add((task, float(rng.random() < rate * (2.0 - difficulty[task]) / 1.5)) for task in part)
        run += len(part)
        if run < TASKS and one.stop() is not None:
            return run
    return run


@pytest.mark.parametrize("paired", [True, False])
def test_an_equal_genome_is_hardly_ever_stopped(paired: bool):  # noqa: FBT001 - a parameter of the test
    """False stops of genomes as good as the threshold: at most the level of 5 %, over 300 races."""
    stopped = 0
    for seed in range(300):
        rng = random.Random(seed)  # noqa: S311 - a simulation
        difficulty = [rng.random() for _ in range(TASKS)]
        needed = threshold(rng, 0.7, difficulty)
        stopped += race(rng, 0.7, needed, difficulty, paired=paired) < TASKS
    assert stopped <= 0.05 * 300


def test_bad_genomes_spare_most_of_their_tasks():
    """A genome of half the threshold's rate ends after the first rungs: three quarters of the tasks are spared."""
    spent = Spending()
    for seed in range(60):
        rng = random.Random(seed)  # noqa: S311 - a simulation
        difficulty = [rng.random() for _ in range(TASKS)]
        spent = spent.after(race(rng, 0.35, threshold(rng, 0.8, difficulty), difficulty, paired=True), TASKS)
    assert spent.stopped >= 58
    assert spent.share_spared >= 0.7
    assert spent.run + spent.spared == 60 * TASKS


def test_nobody_is_stopped_without_a_threshold():
    """The first generation runs to the end."""
    one = MeanRace(None, 0.0, 1.0)
    one.add((task, 0.0) for task in range(500))
    assert one.stop() is None
    two = CorrelationRace(None, 2)
    two.add(Pair(task, float(task), float(-task)) for task in range(500))
    assert two.stop() is None


def test_a_stop_says_why():
    """Paired and unpaired, with the figures it was decided on."""
    needed = Threshold(Running().add([1.0] * 200), dict.fromkeys(range(200), 1.0))
    for known, words in ((needed, "on the same tasks"), (Threshold(needed.estimate, {}), "is needed")):
        one = MeanRace(known, 0.0, 1.0)
        one.add((task, 0.0) for task in range(128))
        stop = one.stop()
        assert stop is not None
        assert stop.tasks == 128
        assert stop.paired == bool(known.answers)
        assert words in stop.reason


def says(rng: random.Random, judged: list[float], noise: float) -> dict[int, Pair]:
    """An agent's scores of every task."""
    return {task: Pair(task, one + rng.gauss(0, noise), one) for task, one in enumerate(judged)}


def correlation_race(mine: dict[int, Pair], theirs: dict[int, Pair]) -> int:
    """Tasks run before the stop."""
    ends = rungs(TASKS)
    one, run = CorrelationRace(theirs, len(ends) - 1), 0
    for part in parts(order(TASKS, 1, 1), ends):
        one.add(mine[task] for task in part)
        run += len(part)
        if run < TASKS and one.stop() is not None:
            break
    return run


def test_correlations_race_too():
    """Equal genomes are stopped in at most 8 of 100 races (the bound is asymptotic), much worse ones nearly always."""
    false = true = 0
    for seed in range(150):
        rng = random.Random(seed)  # noqa: S311 - a simulation
        judged = [rng.gauss(0, 1) for _ in range(TASKS)]
        theirs = says(rng, judged, 0.7)
        false += correlation_race(says(rng, judged, 0.7), theirs) < TASKS
        true += correlation_race(says(rng, judged, 2.0), theirs) < TASKS
    assert false <= 0.08 * 150
    assert true >= 0.95 * 150


def test_spending_adds_up():
    """Runs and savings of genomes that stopped and of those that did not."""
    spent = Spending().after(32, 512).after(512, 512)
    assert spent == Spending(genomes=2, stopped=1, run=544, spared=480)
    assert Spending().share_spared == 0.0
    with pytest.raises(ValueError, match="can't be"):
        spent.after(513, 512)
