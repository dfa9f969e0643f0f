"""The engine without generations: who enters, who leaves, who is measured again."""

from __future__ import annotations

import numpy as np
import pytest

from actors.evolving.box import Box
from actors.evolving.engine import FAILED, Members, Setup
from actors.evolving.steady import ELITES, Steady
from tests.support.breeds import MIXED, strangers
from tests.support.landscapes import HALVES, mixed


def filled(size: int = 6, constraints: int = 0) -> Steady:
    """An engine whose first generation is told: genome n has loss n."""
    engine = Steady(MIXED, Setup(size=size, seed=1, constraints=constraints))
    for number in range(size):
        engine.tell(engine.ask().number, [float(number)] + [-1.0] * constraints)
    return engine


def numbers(engine: Steady) -> list[int]:
    """Of the members, in order."""
    return sorted(birth[1] for birth in engine.population.births)


def test_a_better_genome_takes_the_place_of_the_worst():
    """A newcomer below the worst loss replaces it, one above changes nothing."""
    engine = filled()
    engine.tell(engine.ask().number, [2.5])
    assert numbers(engine) == [0, 1, 2, 3, 4, 6]
    engine.tell(engine.ask().number, [4.5])
    assert numbers(engine) == [0, 1, 2, 3, 4, 6]
    assert engine.generation == 1


def test_luck_is_no_merit():
    """A newcomer whose loss is low but may be high is judged by how high it may be."""
    engine = filled()
    engine.tell(engine.ask().number, [0.0], bound=9.0)
    assert numbers(engine) == [0, 1, 2, 3, 4, 5]
    engine.tell(engine.ask().number, [3.0], bound=3.5)
    assert numbers(engine) == [0, 1, 2, 3, 4, 7]


def test_an_elite_that_was_lucky_loses_its_place():
    """Measured again and found bad, it is the next one to go; who is gone can't be updated."""
    engine = filled()
    assert engine.update((0, 0), [8.0])
    engine.tell(engine.ask().number, [2.0])
    assert 0 not in numbers(engine)
    assert not engine.update((0, 0), [1.0])


def test_the_least_measured_of_the_best_is_measured_again():
    """Each elite gets its turn, none twice at once, and nobody beyond the best few."""
    engine = filled(size=ELITES + 5)
    seen = [elite.birth for elite in (engine.remeasure() for _ in range(ELITES)) if elite]
    assert sorted(seen) == [(0, number) for number in range(ELITES)]
    assert engine.remeasure() is None
    engine.update((0, 3), [3.0])
    engine.update((0, 5), None)
    elite = engine.remeasure()
    assert elite is not None
    assert (elite.birth, elite.measured) == ((0, 5), 1)


def test_a_failure_counts_and_is_worse_than_anything():
    """It is an evaluation, enters only an unfilled population, and is the first to go."""
    engine = Steady(MIXED, Setup(size=3, seed=1))
    for number in range(3):
        engine.ask()
        engine.tell(number, [float(number)]) if number else engine.fail(number)
    assert engine.population.values.max() == FAILED
    engine.tell(engine.ask().number, [50.0])
    assert numbers(engine) == [1, 2, 3]
    assert engine.told == 4
    engine.tell(engine.ask().number, [float("nan")])
    assert numbers(engine) == [1, 2, 3]


def test_limits_come_before_losses():
    """Whoever breaks a limit is worse than anybody who keeps it."""
    engine = filled(constraints=1)
    engine.tell(engine.ask().number, [-5.0, 0.5])
    assert numbers(engine) == [0, 1, 2, 3, 4, 5]
    engine.update((0, 0), [0.0, 0.1])
    engine.tell(engine.ask().number, [100.0, 0.0])
    assert 0 not in numbers(engine)


def test_immigrants_enter_whatever_they_are():
    """So many asks are drawn at random, and each takes the place of the worst."""
    engine = filled()
    engine.immigrate(2)
    asked = [engine.ask() for _ in range(3)]
    assert [one.operator == "immigrant" for one in asked] == [True, True, False]
    engine.tell(asked[0].number, [99.0])
    assert numbers(engine) == [0, 1, 2, 3, 4, 6]


def test_another_size_lets_the_worst_go_or_waits_for_more():
    """Shrunk, the best stay; grown, newcomers enter freely until it is full."""
    engine = filled()
    engine.configure(size=3)
    assert numbers(engine) == [0, 1, 2]
    engine.configure(size=4)
    engine.tell(engine.ask().number, [99.0])
    assert numbers(engine) == [0, 1, 2, 6]
    with pytest.raises(ValueError, match="no engine"):
        engine.configure(size=1)


def test_children_are_not_copies():
    """Of 300 children in a box with room none equals a member or another that is open."""
    engine = Steady(Box(np.zeros(3), np.ones(3)), Setup(size=10, seed=4, mutation_rate=0.01))
    for number in range(10):
        engine.tell(engine.ask().number, [float(number)])
    asked = [engine.ask() for _ in range(300)]
    assert len({one.vector.tobytes() for one in asked}) == 300


def test_a_small_world_is_searched_though_all_is_known():
    """Where every genome exists already, children are copies instead of an endless search."""
    engine = Steady(Box(np.zeros(1), np.ones(1), 1), Setup(size=4, seed=1))
    for _ in range(30):
        asked = engine.ask()
        engine.tell(asked.number, [float(asked.vector[0])])
    assert engine.population.values.max() == 0.0


def test_parents_are_members_at_that_moment():
    """A child names one or two members; a mutant one."""
    engine = filled()
    births = set(engine.population.births)
    for _ in range(40):
        asked = engine.ask()
        assert set(asked.parents) <= births
        assert len(asked.parents) == (2 if asked.operator == "crossover" else 1)


def test_children_are_made_before_the_first_generation_is_complete():
    """Nobody waits: with two members told, the ask after the drawn ones is a child; with fewer it is drawn."""
    engine = Steady(MIXED, Setup(size=4, seed=1))
    for _ in range(4):
        engine.ask()
    assert engine.ask().operator == "drawn"
    engine.tell(0, [1.0])
    engine.tell(1, [1.0])
    assert engine.ask().operator in ("crossover", "mutation")


def test_what_is_wrong_is_said():
    """Unknown numbers, too many values and several objectives raise."""
    engine = filled()
    number = engine.ask().number
    with pytest.raises(ValueError, match="1 values are needed, not 2"):
        engine.tell(number, [1.0, 2.0])
    engine.tell(number, [1.0])
    with pytest.raises(ValueError, match="nothing with number 6 is open"):
        engine.tell(number, [1.0])
    with pytest.raises(ValueError, match="use 'nsga2'"):
        Steady(MIXED, Setup(size=4, objectives=2))


def test_migrants_keep_their_names():
    """They enter for the worst, are parents under the name of where they were born, and may come again."""
    engine = filled()
    for _ in range(2):
        engine.receive(strangers(engine, 2))
        assert {(99, 0), (99, 1)} <= set(engine.population.births)
    assert len(engine.population) == 6
    assert engine.emigrants(3).births == ((0, 0), (99, 0), (99, 1))
    nobody = Members(np.empty((0, 5)), np.empty((0, 1)), ())
    engine.receive(nobody)
    assert len(engine.population) == 6


def test_mixed_genes_converge():
    """Five real and five whole genes are right to 0.1 within 30 generations of 100, for each of three seeds."""
    for seed in range(3):
        engine = Steady(HALVES, Setup(size=100, seed=seed))
        for _ in range(3000):
            asked = engine.ask()
            engine.tell(asked.number, mixed(asked.vector[None]).tolist())
        assert engine.population.values.min() < 0.1
