"""A correlation in sums is the correlation, and its interval holds where Fisher's does not."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.evolving.correlation import GROUPS, LEAST, Correlating, Pair

numbers = st.integers(-1000, 1000).map(lambda i: i / 100)
pairs = st.lists(st.tuples(numbers, numbers), max_size=60).map(
    lambda found: [Pair(task, said, judged) for task, (said, judged) in enumerate(found)]
)


def pearson(found: list[Pair]) -> float:
    """By its definition, in numpy."""
    x, y = np.array([pair.said for pair in found]), np.array([pair.judged for pair in found])
    if len(found) < 2 or x.std() == 0.0 or y.std() == 0.0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


@settings(deadline=None)
@given(pairs, st.randoms())
def test_parts_add_up_to_the_correlation(found: list[Pair], rng: Any):
    """Made in two parts in any order, it is Pearson's."""
    shuffled = list(found)
    rng.shuffle(shuffled)
    cut = rng.randint(0, len(found))
    one, two = Correlating().add(shuffled[:cut]), Correlating().add(shuffled[cut:])
    merged = one.merge(two)
    assert merged.n == len(found)
    assert merged.value == pytest.approx(pearson(found), abs=1e-6)
    assert two.merge(one).value == pytest.approx(merged.value, abs=1e-9)
    assert -1.0 <= merged.lower_bound() <= merged.value <= merged.upper_bound() <= 1.0
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(merged), type=Correlating) == merged


def test_large_numbers_need_a_centre():
    """Counted from near their middle, scores of a billion keep their correlation."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(200)
    y = 0.5 * x + rng.standard_normal(200)
    found = [Pair(i, 1e9 + float(a), 1e9 + float(b)) for i, (a, b) in enumerate(zip(x, y, strict=True))]
    assert Correlating(1e9, 1e9).add(found).value == pytest.approx(float(np.corrcoef(x, y)[0, 1]), abs=1e-5)


def test_too_little_claims_nothing():
    """Below the least number of tasks, or where they are all in a few groups, the bounds are all there is."""
    few = Correlating().add(Pair(i, float(i), float(i % 5)) for i in range(LEAST - 1))
    assert (few.lower_bound(), few.upper_bound()) == (-1.0, 1.0)
    heaped = Correlating().add(Pair(GROUPS * i, float(i), float(i % 5)) for i in range(100))
    assert (heaped.lower_bound(), heaped.upper_bound()) == (-1.0, 1.0)
    assert math.isinf(few.stderr)
    assert few.ahead(few) == (-math.inf, math.inf)


def test_what_does_not_fit_is_refused():
    """Numbers that are none, other centres, other tasks."""
    with pytest.raises(ValueError, match="finite"):
        Correlating().add([Pair(0, math.nan, 0.0)])
    with pytest.raises(ValueError, match="centres"):
        Correlating().merge(Correlating(1.0))
    with pytest.raises(ValueError, match="same tasks"):
        Correlating().add([Pair(0, 1.0, 1.0)]).ahead(Correlating().add([Pair(1, 1.0, 1.0)]))


def test_an_agent_that_always_says_the_same_has_no_correlation():
    """No spread, no correlation, no division by zero; and a standard error is about half of a half-width."""
    constant = Correlating().add(Pair(i, 0.3, float(i)) for i in range(100))
    assert constant.value == 0.0
    assert constant.half_width() >= 0.0
    rng = np.random.default_rng(2)
    x = rng.standard_normal(500)
    one = Correlating().add(map(Pair, range(500), x.tolist(), (x + rng.standard_normal(500)).tolist()))
    assert one.stderr == pytest.approx((1 - 0.5) / math.sqrt(500), rel=0.5)
    assert one.half_width() == pytest.approx(2.13 * one.stderr, rel=0.05)


def turned(rng: np.random.Generator, count: int) -> tuple[list[float], list[float]]:
    """Strong scores, one in five of the wrong sign: heavy tails, correlation known."""
    x = rng.choice([-4.0, -1.0, 0.0, 1.0, 4.0], count)
    y = np.where(rng.random(count) < 0.8, x, -x) + 0.3 * rng.standard_normal(count)
    return x.tolist(), y.tolist()


TURNED = 0.6 * math.sqrt(6.8 / (6.8 + 0.09))
"""E[xy] = 0.6 E[x^2], E[x^2] = 6.8."""


def test_the_interval_holds_where_fishers_misses():
    """95 % intervals of 128 tasks: at most 9 of 100 miss, while of Fisher's more than 20 do."""
    rng, missed, fishers, runs = np.random.default_rng(7), 0, 0, 300
    for _ in range(runs):
        x, y = turned(rng, 128)
        one = Correlating().add(map(Pair, rng.permutation(1000)[:128].tolist(), x, y))
        missed += not one.lower_bound(0.975) <= TURNED <= one.upper_bound(0.975)
        z, error = math.atanh(one.value), 1.96 / math.sqrt(128 - 3)
        fishers += not math.tanh(z - error) <= TURNED <= math.tanh(z + error)
    assert missed <= 0.09 * runs
    assert fishers > 0.2 * runs


def test_differences_on_the_same_tasks_are_sharper():
    """Two agents that err on the same tasks are told apart where their own intervals overlap."""
    rng = np.random.default_rng(3)
    judged = rng.standard_normal(400)
    shared = 0.8 * rng.standard_normal(400)
    good, bad = (judged + shared + noise * rng.standard_normal(400) for noise in (0.1, 0.4))
    one, two = (Correlating().add(map(Pair, range(400), said.tolist(), judged.tolist())) for said in (good, bad))
    assert one.lower_bound() < two.upper_bound()
    assert one.ahead(two)[0] > 0.0
    assert two.ahead(one)[1] < 0.0
