"""Elites are measured again where it matters: luck loses its place, and nothing goes live that is worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from actors.evolving.estimates import Running
from actors.evolving.recount import Elite, declare, due, promotes, ranked

Matrix = np.ndarray[Any, np.dtype[np.float64]]


def elite(id_: str, right: int, tasks: int, *, recounts: int = 0, left: int = 1000) -> Elite:
    """A genome that solved so many of its tasks."""
    one = Running().add([*([1.0] * right), *([0.0] * (tasks - right))])
    return Elite(id_, one, recounts, left)


CROWD = [elite(f"c{i}", 60 + i % 9, 100) for i in range(20)]


def test_the_widest_bounds_among_the_best_come_first():
    """Who is among the best and least certain is measured, not who is sure or out of the question."""
    sure, lucky = elite("sure", 900, 1000), elite("lucky", 10, 10)
    hopeless = elite("hopeless", 20, 400)
    assert due([sure, lucky, hopeless], top=2, most=1) == ["lucky"]
    assert due([sure, lucky, hopeless], top=3, most=3) == ["lucky", "hopeless", "sure"]
    assert due([sure, lucky, hopeless], top=2, most=5) == ["lucky", "sure"]


def test_what_tells_nothing_new_is_not_measured():
    """No task left, nothing left to find out, nobody wanted."""
    assert due([elite("a", 9, 10, left=0), elite("b", 8, 10)], top=2, most=2) == ["b"]
    assert due([elite("a", 9, 10)], top=1, most=1, margin=0.6) == []
    assert due([elite("a", 9, 10)], top=1, most=0) == []
    assert due([], top=3, most=3) == []


def test_nodes_choose_alike():
    """Equal elites are taken by their id, whatever order they come in."""
    equal = [elite(id_, 8, 10) for id_ in "dbca"]
    assert due(equal, top=4, most=2) == due(equal[::-1], top=4, most=2) == ["a", "b"]
    assert ranked(equal) == ranked(equal[::-1]) == ["a", "b", "c", "d"]


def test_a_lucky_elite_loses_its_place():
    """Ten of ten is worth less than 860 of 1000, and measured again it falls back for good."""
    solid = elite("solid", 860, 1000, recounts=2)
    assert ranked([*CROWD, solid, elite("lucky", 10, 10)])[0] == "solid"
    assert ranked([*CROWD, solid, elite("lucky", 10 + 35, 60)])[0] == "solid"
    assert ranked([*CROWD, solid, elite("strong", 950, 1000)])[0] == "strong"


def test_nobody_is_champion_before_it_was_measured_again():
    """The best and its rivals first; then its figure is told without the winner's curse."""
    first = [*CROWD, elite("new", 95, 100)]
    verdict = declare(first)
    assert verdict.champion == ""
    assert "new" in verdict.again
    assert len(verdict.again) == 4
    told = declare([
        *(elite(one.id, 600 + int(one.id[1:]), 1000, recounts=2) for one in CROWD), elite("new", 880, 1000, recounts=2)
    ])  # fmt: skip
    assert told.champion == "new"
    assert told.worth is not None
    assert 0.8 < told.worth < 0.88
    assert declare([]).champion == ""


def test_an_elite_without_tasks_left_may_be_champion():
    """Who met every task can't be measured again."""
    assert declare([elite("a", 90, 100, left=0), elite("b", 80, 100, left=0)]).champion == "a"


def test_a_promotion_needs_bounds_apart():
    """A better mean is not enough."""
    live = Running().add([1.0, 0.0] * 200)
    assert not promotes(Running().add([1.0] * 11 + [0.0] * 9), live)
    assert promotes(Running().add([1.0] * 360 + [0.0] * 40), live)


@dataclass
class World:
    """An optimum somewhere in a box; a genome solves tasks the more often the nearer it is."""

    rng: np.random.Generator
    place: Matrix

    def rates(self, genomes: Matrix) -> Matrix:
        """The true rates."""
        return 0.55 + 0.4 * np.exp(-((genomes - self.place) ** 2).sum(axis=-1) / (2 * 0.35**2 * GENES / 4))

    def met(self, rate: float, tasks: int) -> list[float]:
        """Answers of one genome to new tasks."""
        return (self.rng.random(tasks) < rate).astype(float).tolist()


GENES, SIZE, GENERATIONS, TASKS = 12, 30, 25, 50


@dataclass
class Bred:
    """A genome of the simulation: only the test knows ``rate``."""

    genes: Matrix
    rate: float
    estimate: Running
    recounts: int = 0

    def elite(self, id_: int) -> Elite:
        """As the module sees it."""
        return Elite(f"{id_:03}", self.estimate, self.recounts, 10**6)


class Simulation:
    """Evolution with and without counting again; what goes live is remembered."""

    def __init__(self, seed: int, *, recounting: bool) -> None:
        rng = np.random.default_rng(seed)
        self.world, self.recounting = World(rng, rng.uniform(0.2, 0.8, GENES)), recounting
        start = np.clip(self.world.place + rng.normal(0, 0.25, (SIZE, GENES)), 0, 1)
        self.crowd = self.born(start)
        self.live = Bred(start[0], self.crowd[0].rate, Running().add(self.world.met(self.crowd[0].rate, TASKS)))
        self.worse = self.promotions = 0

    def born(self, genomes: Matrix) -> list[Bred]:
        """Measured for the first time."""
        rates = self.world.rates(genomes).tolist()
        return [
            Bred(genes, rate, Running().add(self.world.met(rate, TASKS)))
            for genes, rate in zip(genomes, rates, strict=True)
        ]

    def children(self) -> Matrix:
        """Tournaments of two, blend crossover, mutation."""
        rng = self.world.rng
        found = np.array([one.estimate.mean for one in self.crowd])
        drawn = rng.integers(len(self.crowd), size=(2, 2, SIZE))
        won = np.where(found[drawn[:, 0]] > found[drawn[:, 1]], drawn[:, 0], drawn[:, 1])
        genes = np.array([one.genes for one in self.crowd])
        weight = rng.random((SIZE, GENES))
        made = weight * genes[won[0]] + (1 - weight) * genes[won[1]]
        return np.clip(made + (rng.random(made.shape) < 0.15) * rng.normal(0, 0.15, made.shape), 0, 1)

    def step(self) -> None:
        """One generation; then what seems best goes live."""
        self.crowd += self.born(self.children())
        if not self.recounting:
            self.crowd = sorted(self.crowd, key=lambda one: -one.estimate.mean)[:SIZE]
            best = self.crowd[0]
            if best.estimate.mean > self.live.estimate.mean:
                self.promote(best)
            return
        elites = [one.elite(at) for at, one in enumerate(self.crowd)]
        for id_ in due(elites, top=10, most=10):
            self.again(self.crowd[int(id_)])
        verdict = declare([one.elite(at) for at, one in enumerate(self.crowd)])
        for id_ in verdict.again:
            self.again(self.crowd[int(id_)])
        places = ranked([one.elite(at) for at, one in enumerate(self.crowd)])
        self.again(self.live)
        if verdict.champion and promotes(self.crowd[int(verdict.champion)].estimate, self.live.estimate):
            self.promote(self.crowd[int(verdict.champion)])
        self.crowd = [self.crowd[int(id_)] for id_ in places[:SIZE]]

    def again(self, one: Bred) -> None:
        """Measure on tasks it has not met."""
        one.estimate = one.estimate.add(self.world.met(one.rate, TASKS * 4))
        one.recounts += 1

    def promote(self, best: Bred) -> None:
        """Go live."""
        self.promotions += best is not self.live
        self.worse += best.rate < self.live.rate
        self.live = best

    def run(self) -> Simulation:
        """All generations."""
        for _ in range(GENERATIONS):
            self.step()
        return self


@pytest.fixture(scope="module")
def runs() -> dict[bool, list[Simulation]]:
    """The same worlds bred both ways."""
    return {
        recounting: [Simulation(seed, recounting=recounting).run() for seed in range(8)] for recounting in (False, True)
    }


def test_without_counting_again_luck_goes_live(runs: dict[bool, list[Simulation]]):
    """Kept figures promote genomes that are worse than what was live, and stop improving what is."""
    assert sum(one.worse for one in runs[False]) >= 2
    flattered = [one.live.estimate.mean - one.live.rate for one in runs[False]]
    assert np.mean(flattered) > 0.05


def test_counting_again_nothing_worse_goes_live(runs: dict[bool, list[Simulation]]):
    """The same worlds: improvements go live, none of them is worse, and the figures are true."""
    assert sum(one.promotions for one in runs[True]) >= 8
    assert sum(one.worse for one in runs[True]) == 0
    flattered = [one.live.estimate.mean - one.live.rate for one in runs[True]]
    assert abs(float(np.mean(flattered))) < 0.02
    live = {way: float(np.mean([one.live.rate for one in found])) for way, found in runs.items()}
    assert live[True] > live[False]
