"""Whatever happens to an engine: what it asks for is in bounds, and its log makes it again to the last bit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.evolving.box import Box, digest
from actors.evolving.engine import DivergedError, Setup
from actors.evolving.engines import Name
from actors.evolving.fronts import front_ranks
from actors.evolving.steady import Record, Steady
from tests.support.breeds import GENERATIONAL, MIXED, Act, Run, engine_of, strangers

acts = st.lists(
    st.one_of(
        st.just(("step",)),
        st.just(("step",)),
        st.tuples(st.just("configure"), st.integers(2, 20), st.sampled_from([0.05, 0.1, 0.5])),
        st.tuples(st.just("immigrate"), st.integers(0, 5)),
        st.tuples(st.just("receive"), st.integers(1, 4)),
    ),
    min_size=1,
    max_size=12,
)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 6)),
        st.tuples(st.just("tell"), st.integers(0, 99), st.floats(0.0, 2.0), st.booleans()),
        st.tuples(st.just("tell"), st.integers(0, 99), st.floats(0.0, 2.0), st.booleans()),
        st.tuples(st.just("fail"), st.integers(0, 99)),
        st.tuples(st.just("again"), st.floats(0.0, 1.0)),
        st.tuples(st.just("configure"), st.integers(2, 20), st.sampled_from([0.05, 0.1, 0.5])),
        st.tuples(st.just("immigrate"), st.integers(0, 4)),
        st.tuples(st.just("receive"), st.integers(1, 4)),
    ),
    min_size=1,
    max_size=60,
)


@given(st.sampled_from(GENERATIONAL), st.integers(0, 2**63), acts, st.data())
@settings(deadline=None, max_examples=120)
def test_an_engine_of_generations_is_its_log(name: Name, seed: int, script: list[Act], data: st.DataObject):
    """Cut anywhere and rebuilt from what was told, an engine asks for the same vectors as if nothing had happened."""
    cut = data.draw(st.integers(0, len(script)))
    whole = Run(engine_of(name, seed))
    whole.do(script)
    first, second = Run(engine_of(name, seed)), Run(engine_of(name, seed))
    first.do(script[:cut])
    second.again(first.log)
    second.do([*script[cut:], ("step",)])
    whole.do([("step",)])
    assert [step.digest for step in second.steps] == [step.digest for step in whole.steps]
    one, two = whole.engine.population, second.engine.population
    assert np.array_equal(one.vectors, two.vectors)
    assert np.array_equal(one.values, two.values)
    assert one.births == two.births


@given(st.sampled_from(GENERATIONAL), st.integers(0, 2**63), acts)
@settings(deadline=None, max_examples=60)
def test_engines_of_generations_stay_in_the_box(name: Name, seed: int, script: list[Act]):
    """Every vector asked for and every member is within bounds, and whole where it must be; numbers have no gap."""
    run = Run(engine_of(name, seed))
    run.do([*script, ("step",)])
    assert all(run.engine.box.holds(step.brood.vectors) for step in run.steps)
    assert run.engine.box.holds(run.engine.population.vectors)
    assert [step.first for step in run.steps] == np.cumsum([0, *(len(s.values) for s in run.steps)])[:-1].tolist()
    assert all(len(step.brood.parents) == len(step.brood.operators) == len(step.values) for step in run.steps)


def steady(seed: int) -> Steady:
    """A small one with a known genome."""
    known = (MIXED.lower + MIXED.upper)[None] / 2.0
    return Steady(MIXED, Setup(size=6, seed=seed), known)


def drive(engine: Steady, script: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """Do it; gives what was asked for."""
    asked: list[bytes] = []
    for kind, *rest in script:
        if kind == "ask":
            asked += [digest(engine.ask().vector) for _ in range(rest[0])]
        elif kind in ("tell", "fail") and engine.open:
            number = sorted(engine.open)[int(rest[0]) % len(engine.open)]
            if kind == "tell":
                engine.tell(number, [rest[1]], bound=rest[1] + 0.5 if rest[2] else None)
            else:
                engine.fail(number)
        elif kind == "again" and (elite := engine.remeasure()):
            engine.update(elite.birth, [rest[0]])
        elif kind == "configure":
            engine.configure(size=rest[0], mutation_rate=rest[1])
        elif kind == "immigrate":
            engine.immigrate(rest[0])
        elif kind == "receive" and len(engine.population):
            engine.receive(strangers(engine, rest[0]))
    return asked


@given(st.integers(0, 2**63), moves, st.data())
@settings(deadline=None, max_examples=150)
def test_a_steady_engine_is_the_order_of_its_asks_and_tells(seed: int, script: list[Any], data: st.DataObject):
    """Cut anywhere, with asks open, and rebuilt from its records, it goes on as if nothing had happened."""
    cut = data.draw(st.integers(0, len(script)))
    whole, first, second = steady(seed), steady(seed), steady(seed)
    asked = drive(whole, [*script, ("ask", 3)])
    before = drive(first, script[:cut])
    records: list[Record] = first.records()
    second.replay(records)
    second.advance(first.asked)
    assert second.open.keys() == first.open.keys()
    assert before + drive(second, [*script[cut:], ("ask", 3)]) == asked
    assert np.array_equal(whole.population.vectors, second.population.vectors)
    assert whole.population.births == second.population.births


@given(st.integers(0, 2**63), moves)
@settings(deadline=None, max_examples=80)
def test_a_steady_engine_keeps_its_population(seed: int, script: list[Any]):
    """It never has more members than its size, all of them in the box, and nothing is both open and told."""
    engine = steady(seed)
    for move in script:
        drive(engine, [move])
        assert len(engine.population) <= engine.size
        assert engine.box.holds(engine.population.vectors)
        assert len(engine.open) + engine.told == engine.asked


@given(st.integers(0, 2**63), moves)
@settings(deadline=None, max_examples=30)
def test_other_arithmetic_is_noticed(seed: int, script: list[Any]):
    """A log whose vectors are not the ones that would be asked for raises instead of going on with other genomes."""
    engine = steady(seed)
    drive(engine, [("ask", 1), ("tell", 0, 0.5, False), *script])
    records = [(*one[:3], b"?" * 16, *one[4:]) if one[0] == "tell" else one for one in engine.records()]
    with pytest.raises(DivergedError):
        steady(seed).replay(records)


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 2), max_size=30), st.booleans())
@settings(deadline=None)
def test_fronts_are_what_their_definition_says(points: list[tuple[int, int]], third: bool):  # noqa: FBT001 - drawn
    """A row is on front k if the longest chain of rows that beat each other before it has length k."""
    losses = np.array([(a, b, (a * b) % 3) if third else (a, b) for a, b in points], dtype=float)
    losses = losses.reshape(len(points), 3 if third else 2)
    ranks = front_ranks(losses).tolist()
    for row, rank in enumerate(ranks):
        beaten = [
            ranks[other]
            for other in range(len(points))
            if (losses[other] <= losses[row]).all() and (losses[other] < losses[row]).any()
        ]
        assert rank == max(beaten, default=-1) + 1


@given(st.integers(1, 200), st.integers(0, 2**63))
@settings(deadline=None, max_examples=40)
def test_a_drawn_population_meets_every_slice(count: int, seed: int):
    """In a Latin hypercube each real gene has exactly one genome in each of as many equal slices as there are."""
    box = Box(np.array([-2.0, 5.0, 0.0]), np.array([2.0, 6.0, 4.0]), 1)
    rows = box.draw(np.random.default_rng(seed), count)
    assert box.holds(rows)
    places = np.minimum(((rows - box.lower) / (box.upper - box.lower) * count).astype(int), count - 1)
    assert sorted(places[:, 0].tolist()) == sorted(places[:, 1].tolist()) == list(range(count))
