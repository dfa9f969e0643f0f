"""Engines of generations: seeds, batches, failures, other machines, sizes; and which engine suits what."""

from typing import cast

import numpy as np
import pytest

from actors.evolving.box import Array, Box
from actors.evolving.cmaes import Cmaes
from actors.evolving.engine import FAILED, DivergedError, Engine, Setup, ranking
from actors.evolving.engines import ALGORITHMS, Name, check, choose, make
from actors.evolving.generational import GACO_MOST
from actors.evolving.nsga2 import Nsga2
from tests.support.breeds import GENERATIONAL, MIXED, REALS, Run, engine_of, measured, strangers
from tests.support.landscapes import WIDE, sphere

SCRIPT = [("step",)] * 3 + [("configure", 12, 0.3), ("step",), ("immigrate", 2), ("step",), ("receive", 2), ("step",)]
each = pytest.mark.parametrize("name", GENERATIONAL)


def gone(_rows: Array) -> Array:
    """Nobody is there to measure."""
    raise KeyError("gone")


def bowl(rows: Array) -> Array:
    """One loss."""
    return sphere(rows)[:, None]


@each
def test_a_seed_is_a_run(name: Name):
    """The same seed asks for the same vectors, another seed or island for others."""
    runs = [Run(engine_of(name, seed, island=island)) for seed, island in ((1, 0), (1, 0), (2, 0), (1, 1))]
    for run in runs:
        run.do(SCRIPT)
    one, same, other, island = ([step.digest for step in run.steps] for run in runs)
    assert one == same
    assert not set(one) & (set(other) | set(island))


@each
def test_a_batch_is_as_good_as_one_by_one(name: Name):
    """Measured in one go or row by row, a run is the same."""
    whole, single = engine_of(name), engine_of(name)
    for _ in range(4):
        whole.step(lambda rows: measured(whole, rows))
        single.step(lambda rows: np.concatenate([measured(single, row[None]) for row in rows]))
    assert np.array_equal(whole.population.vectors, single.population.vectors)


@each
def test_what_is_known_is_measured_first(name: Name):
    """The first generation begins with the given genomes, within bounds, and draws the rest."""
    given = np.stack([engine_of(name).box.lower, engine_of(name).box.upper + 1.0])
    engine = engine_of(name, given=given)
    step = engine.step(lambda rows: measured(engine, rows))
    assert np.array_equal(step.brood.vectors[:2], engine_of(name).box.snap(given))
    assert step.brood.operators == ("known",) * 2 + ("drawn",) * 6


@each
@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_measurement_that_raises_changes_nothing(name: Name, at: int):
    """After a failed step the engine asks for the same vectors again, and goes on as one that never failed."""
    sound, shaken = Run(engine_of(name)), Run(engine_of(name))
    sound.do([("step",)] * 6)
    shaken.do([("step",)] * at)
    with pytest.raises(KeyError):
        shaken.engine.step(gone)
    shaken.do([("step",)] * (6 - at))
    assert [step.digest for step in shaken.steps] == [step.digest for step in sound.steps]


@each
def test_another_log_is_refused_and_nothing_is_changed(name: Name):
    """A log of other vectors raises; the right one still fits afterwards."""
    run, again = Run(engine_of(name)), engine_of(name)
    run.do([("step",)] * 3)
    for step in run.steps:
        with pytest.raises(DivergedError):
            again.again(b"?" * 16, step.values)
        again.again(step.digest, step.values.tolist())
    assert np.array_equal(again.population.vectors, run.engine.population.vectors)


@each
def test_a_recorded_population_is_enough_to_go_on(name: Name):
    """Where its log does not fit any more, an engine begins warm: with the members, numbers and quality it had."""
    run, other = Run(engine_of(name, size=16)), engine_of(name, size=16)
    run.do([("step",)] * 8)
    members = run.engine.population
    other.warm(members, run.engine.generation, run.engine.asked)
    assert sorted(other.population.births) == sorted(members.births)
    step = other.step(lambda rows: measured(other, rows))
    assert (step.generation, step.first) == (8, run.engine.asked)
    drawn = engine_of(name, size=16).step(lambda rows: measured(other, rows))
    assert np.nanmedian(step.values[:, 0]) < np.nanmedian(drawn.values[:, 0])


@each
def test_values_must_fit(name: Name):
    """Too few or too many figures raise and say how many are needed; what is measured can't be changed."""
    engine = engine_of(name)
    with pytest.raises(ValueError, match=rf"\(8, {engine.columns}\) values are needed"):
        engine.step(lambda rows: np.zeros((len(rows), engine.columns + 1)))
    with pytest.raises(ValueError, match="read-only"):
        engine.step(lambda rows: np.multiply(rows, 2.0, out=rows))


@each
def test_failures_rank_behind_everything(name: Name):
    """Figures that are not finite count as failed, and a run full of them goes on."""
    engine = engine_of(name)
    for _ in range(3):
        step = engine.step(lambda rows: np.full((len(rows), engine.columns), np.nan))
        assert np.isnan(step.values).all()
    assert len(engine.population) == 0 or (engine.population.values == FAILED).all()
    engine.step(lambda rows: measured(engine, rows))


@pytest.mark.parametrize("name", ["gaco", "nsga2", "map-elites"])
def test_immigrants_are_drawn_and_let_in(name: Name):
    """Those that are due are measured with the next generation, named, and members afterwards if they are good."""
    engine = engine_of(name, size=10)
    engine.step(lambda rows: measured(engine, rows) + 1.0)
    engine.immigrate(3)
    good = [np.zeros(engine.columns)]
    step = engine.step(lambda rows: np.concatenate([measured(engine, rows[:-3]) + 1.0, np.repeat(good, 3, axis=0)]))
    assert step.brood.operators[-3:] == ("immigrant",) * 3
    assert {birth[1] for birth in engine.population.births} & {step.first + place for place in range(10, 13)}
    assert len(engine.step(lambda rows: measured(engine, rows)).values) == 10


@pytest.mark.parametrize("name", ["gaco", "nsga2"])
def test_migrants_take_the_place_of_the_worst(name: Name):
    """What comes from elsewhere is a member, under the name it has there, and changes what is asked for next."""
    engine, alone = engine_of(name), engine_of(name)
    for one in (engine, alone):
        one.step(lambda rows: measured(engine, rows))
    engine.receive(strangers(engine, 2))
    assert {(99, 0), (99, 1)} <= set(engine.population.births)
    assert len(engine.population) == 8
    first, second = (one.step(lambda rows: measured(engine, rows)).digest for one in (engine, alone))
    assert first != second


@each
def test_another_size_applies_from_the_next_generation(name: Name):
    """Grown or shrunk, the next step measures as many as there are to be."""
    engine = engine_of(name)
    for size in (8, 20, 5, 9):
        engine.configure(size=size)
        assert len(engine.step(lambda rows: measured(engine, rows)).values) == size
    with pytest.raises(ValueError, match="no engine"):
        engine.configure(size=1)
    with pytest.raises(ValueError, match="no engine"):
        engine.configure(mutation_rate=0.0)


def test_the_mutation_rate_changes_how_much_is_mutated():
    """With a rate of 1 no child of one and the same genome is its copy, with a small one most genes are."""
    same = np.repeat([(MIXED.lower + MIXED.upper) / 2.0], 8, axis=0)
    shares: list[float] = []
    for rate in (0.05, 1.0):
        engine = engine_of("nsga2", given=MIXED.snap(same))
        engine.step(lambda rows: np.zeros((len(rows), 3)))
        engine.configure(mutation_rate=rate)
        step = engine.step(lambda rows: np.zeros((len(rows), 3)))
        shares.append(float((step.brood.vectors == MIXED.snap(same)).mean()))
    assert shares[0] > 0.8
    assert shares[1] < 0.2


def test_cmaes_says_what_it_can_not_and_what_can():
    """Whole numbers, several objectives and limits are refused with the engine that takes them."""
    with pytest.raises(ValueError, match="2 are searched: use 'steady'"):
        Cmaes(MIXED, Setup(size=8))
    with pytest.raises(ValueError, match="use 'nsga2'"):
        Cmaes(REALS, Setup(size=8, objectives=2))
    with pytest.raises(ValueError, match="'gaco' for limits"):
        Cmaes(REALS, Setup(size=8, constraints=1))


def test_cmaes_finds_the_bottom():
    """On a sphere of ten genes the error is below 0.1 within 60 generations of 100."""
    engine = Cmaes(WIDE, Setup(size=100, seed=3))
    assert engine.population.vectors.shape == (0, 10)
    for _ in range(60):
        engine.step(bowl)
    assert engine.population.values.min() < 0.1


def test_cmaes_keeps_what_it_learned_when_resized():
    """After a resize the next generation is as good as the last one, not as wide as the box."""
    engine = Cmaes(WIDE, Setup(size=60, seed=3))
    last = np.median([engine.step(bowl).values for _ in range(30)][-1])
    engine.configure(size=90)
    assert np.median(engine.step(bowl).values) < 2.0 * last


def test_cmaes_begins_again_when_it_shall():
    """Immigrants mean a distribution as wide as at first, around the best genome."""
    engine = Cmaes(WIDE, Setup(size=60, seed=3))
    for _ in range(30):
        engine.step(bowl)
    narrow = engine.population.vectors.std(axis=0).mean()
    engine.immigrate(1)
    assert engine.step(bowl).brood.vectors.std(axis=0).mean() > 5.0 * narrow


def test_gaco_keeps_limits_and_its_size():
    """Its best keeps the limit that most drawn genomes break; more genes than it breeds quickly are refused."""
    engine = make("gaco", MIXED, Setup(size=40, seed=1, constraints=1))
    assert isinstance(engine, Engine)
    for _ in range(20):
        engine.step(lambda rows: np.column_stack([rows.sum(axis=1), 4.0 - rows[:, 2]]))
    best = engine.emigrants(1)
    assert best.values[0, 1] <= 0.0
    assert best.vectors[0, 2] < 4.5
    with pytest.raises(ValueError, match="use 'steady', or islands"):
        make("gaco", MIXED, Setup(size=GACO_MOST // 5 + 1))
    with pytest.raises(ValueError, match="at most"):
        engine.configure(size=GACO_MOST)


def test_nsga2_finds_the_front_between_two_bowls():
    """After 40 generations nearly all members are not beaten by others, keep the limit, and have named parents."""
    engine = cast("Nsga2", engine_of("nsga2", size=40))
    before: set[tuple[int, int]] = set()
    for _ in range(40):
        before = set(engine.population.births)
        step = engine.step(lambda rows: measured(engine, rows))
    values = engine.population.values
    beaten = [
        (np.all(values[:, :2] <= one[:2], axis=1) & np.any(values[:, :2] < one[:2], axis=1)).any() for one in values
    ]
    assert sum(beaten) <= 8
    assert (values[:, 2] <= 0.0).all()
    assert {parent for pair in step.brood.parents for parent in pair} <= before  # pyright: ignore[reportPossiblyUnboundVariable] - 40 steps were made


def test_what_breaks_a_limit_is_worse_than_what_does_not():
    """Deb's rule: kept limits first, then by how much they are broken, then by loss."""
    values = np.array([[0.1, 2.0], [9.0, 0.0], [0.2, 1.0], [3.0, -1.0]])
    assert ranking(values).tolist() == [3, 1, 2, 0]


@pytest.mark.parametrize(
    ("box", "question", "answer"),
    [
        (REALS, {}, "cmaes"),
        (MIXED, {}, "steady"),
        (REALS, {"objectives": 2}, "nsga2"),
        (MIXED, {"objectives": 3, "constraints": 1}, "nsga2"),
        (MIXED, {"constraints": 1}, "gaco"),
        (MIXED, {"constraints": 1, "size": GACO_MOST}, "steady"),
        (MIXED, {"axes": 2}, "map-elites"),
        (Box(np.zeros(1), np.ones(1)), {}, "steady"),
    ],
)
def test_the_choice_fits_and_says_why(box: Box, question: dict[str, int], answer: Name):
    """Each kind of search gets an engine that can do it, with a reason."""
    found = choose(box, **question)
    assert found.name == answer
    assert len(found.why) > 20
    assert not check(answer, box, **question)


def test_the_table_is_what_the_engines_do():
    """An engine takes exactly the searches that its line in the table allows; all are exact."""
    for name, can in ALGORITHMS.items():
        axes = 2 if name == "map-elites" else 0
        assert can.exact
        assert bool(check(name, MIXED, axes=axes)) != can.integers
        assert bool(check(name, REALS, 2, axes=axes)) != (can.objectives > 1)
        assert bool(check(name, REALS, 1, 1, axes=axes)) != can.constraints
    assert "descriptors" in check("map-elites", REALS)
    assert "use 'steady'" in check("cmaes", MIXED)
