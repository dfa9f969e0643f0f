"""Estimates can be made apart and added up in any order, and their bounds are right at every look."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.evolving.boundary import BETS, deviation
from actors.evolving.estimates import Running, better

values = st.lists(st.floats(0, 1), max_size=30)


def alike(one: Running, two: Running) -> bool:
    """The same but for rounding."""
    return one.n == two.n and all(
        math.isclose(a, b, abs_tol=1e-9)
        for a, b in zip((one.mean, one.m2, one.surprise), (two.mean, two.m2, two.surprise), strict=True)
    )


@settings(deadline=None)
@given(values, values, values)
def test_merging_forgets_the_order(a: list[float], b: list[float], c: list[float]):
    """Commutative and associative, and the mean and spread are those of all values together."""
    one, two, three = (Running().add(each) for each in (a, b, c))
    assert alike(one.merge(two), two.merge(one))
    assert alike(one.merge(two).merge(three), one.merge(two.merge(three)))
    whole = [*a, *b, *c]
    merged = one.merge(two).merge(three)
    assert merged.n == len(whole)
    if whole:
        mean = math.fsum(whole) / len(whole)
        assert merged.mean == pytest.approx(mean, abs=1e-9)
        assert merged.m2 == pytest.approx(math.fsum((x - mean) ** 2 for x in whole), abs=1e-9)


@settings(deadline=None)
@given(values, st.floats(0.5, 0.999))
def test_bounds_stay_within_the_possible(found: list[float], confidence: float):
    """The value is between its bounds, and they are within the bounds of a task."""
    one = Running(0.0, 1.0).add(found)
    assert 0.0 <= one.lower_bound(confidence) <= one.value <= one.upper_bound(confidence) <= 1.0
    assert 0.0 <= one.half_width(confidence) <= 0.5


@settings(deadline=None)
@given(values)
def test_scale_does_not_matter(found: list[float]):
    """A figure in other units has the same bounds in those units."""
    one = Running(0.0, 1.0).add(found)
    other = Running(-5.0, 15.0).add(-5.0 + 20.0 * x for x in found)
    assert other.half_width() == pytest.approx(20.0 * one.half_width(), rel=0.01)


@settings(deadline=None)
@given(values)
def test_an_estimate_can_be_stored(found: list[float]):
    """It comes back from msgpack as it was, and goes on."""
    one = Running().add(found)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Running) == one


def test_nothing_is_known_of_nothing():
    """Without a value the bounds are all that is possible; merging with nothing changes nothing."""
    nothing = Running(2.0, 4.0)
    assert (nothing.value, nothing.lower_bound(), nothing.upper_bound(), nothing.half_width()) == (3.0, 2.0, 4.0, 1.0)
    some = nothing.add([2.5])
    assert nothing.merge(some) == some.merge(nothing) == some
    assert math.isinf(nothing.stderr)


def test_what_does_not_fit_is_refused():
    """A value outside the bounds, other bounds, a level that is none: no interval would be right."""
    with pytest.raises(ValueError, match="outside"):
        Running().add([0.5, 1.01])
    with pytest.raises(ValueError, match="outside"):
        Running().add([math.nan])
    with pytest.raises(ValueError, match="different bounds"):
        Running(0, 1).merge(Running(0, 2))
    with pytest.raises(ValueError, match="level"):
        deviation(1.0, 0.0)


def test_ten_of_ten_is_not_certainty():
    """Figures without spread have a standard error, and with many tasks it is the usual one."""
    assert Running().add([1.0] * 10).stderr > 0.07
    assert Running().add([0.5]).stderr > 0.3
    assert Running().add([1.0, 0.0] * 500).stderr == pytest.approx(0.5 / math.sqrt(1000), rel=0.01)


def test_more_tasks_make_sharper_bounds():
    """About as one over the root of their number, within twice the fixed-sample interval."""
    rng = random.Random(1)  # noqa: S311 - a simulation
    drawn = [float(rng.random() < 0.8) for _ in range(10_000)]
    widths = [Running().add(drawn[:n]).half_width() for n in (100, 1_000, 10_000)]
    assert widths == sorted(widths, reverse=True)
    assert widths[2] < 2.2 * 1.96 * math.sqrt(0.8 * 0.2 / 10_000)


WORLDS: list[tuple[str, Callable[[random.Random], float], float]] = [
    ("coin 0.5", lambda rng: float(rng.random() < 0.5), 0.5),
    ("coin 0.97", lambda rng: float(rng.random() < 0.97), 0.97),
    ("even", lambda rng: rng.random(), 0.5),
    ("rare", lambda rng: rng.random() if rng.random() < 0.05 else 0.0, 0.025),
]


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world[0])
def test_bounds_hold_at_every_look_and_after_merging(world: tuple[str, Callable[[random.Random], float], float]):
    """Looked at after each of 60 parts made apart, a 90 % interval misses in at most one of ten histories."""
    _, draw, truth = world
    missed, histories = 0, 150
    for seed in range(histories):
        rng, whole, wrong = random.Random(seed), Running(), False  # noqa: S311 - a simulation
        for part in range(60):
            whole = whole.merge(Running().add(draw(rng) for _ in range(1 + part % 7)))
            wrong |= not whole.lower_bound(0.95) <= truth <= whole.upper_bound(0.95)
        missed += wrong
    assert missed <= 0.1 * histories


def test_a_fixed_sample_interval_would_miss():
    """The same looks with the usual 1.645 standard errors: far more than one of ten, so the test above can fail."""
    missed = 0
    for seed in range(150):
        rng, whole, wrong = random.Random(seed), Running(), False  # noqa: S311 - a simulation
        for part in range(60):
            whole = whole.merge(Running().add(float(rng.random() < 0.5) for _ in range(1 + part % 7)))
            wrong |= whole.n > 20 and abs(whole.mean - 0.5) > 1.645 * whole.stderr
        missed += wrong
    assert missed > 30


@settings(deadline=None)
@given(st.floats(0, 1e5), st.floats(1e-6, 0.5))
def test_the_boundary_grows_with_variance_and_certainty(squares: float, level: float):
    """It is positive, and never smaller for more squares or a smaller level."""
    found = deviation(squares, level)
    assert 0.0 < found <= deviation(squares + 1.0, level) + 1e-6
    assert found <= deviation(squares, level / 2.0) + 1e-6


@settings(deadline=None)
@given(st.floats(0, 1e5), st.floats(1e-6, 0.5))
def test_the_boundary_is_where_the_mixture_pays(squares: float, level: float):
    """At the distance found the gambler's wealth is 1/level or a little more, never less: rounding errs to safety."""
    found = deviation(squares, level)
    logs = [bet * found - (-math.log1p(-bet) - bet) * squares for bet in BETS]
    top = max(logs)
    wealth = top + math.log(math.fsum(math.exp(log - top) for log in logs) / len(logs))
    assert -math.log(level) - 1e-6 <= wealth <= 1.03 * -math.log(level) + 0.2


def test_better_is_said_only_when_sure():
    """Far apart it is, near it is not yet."""
    strong, weak = Running().add([1.0, 1.0, 0.0] * 100), Running().add([1.0, 0.0, 0.0] * 100)
    assert better(strong, weak) is True
    assert better(weak, strong) is False
    assert better(strong, Running().add([1.0, 0.0] * 100)) is None
