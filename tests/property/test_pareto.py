"""The front is what no other genome beats, and what is chosen from it keeps the limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.evolving.pareto import choose, crowding, front, hypervolume, knee

Matrix = np.ndarray[Any, np.dtype[np.float64]]

cells = st.integers(0, 6).map(float) | st.sampled_from([math.nan, math.inf])
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=14)
)


def beats(one: list[float], two: list[float]) -> bool:
    """In nothing worse, in something better."""
    return all(a <= b for a, b in zip(one, two, strict=True)) and one != two


@settings(deadline=None)
@given(tables)
def test_the_front_is_what_nobody_beats(rows: list[list[float]]):
    """By comparing each with each; rows without all figures are never on it."""
    known = [row for row in rows if all(map(math.isfinite, row))]
    wanted = [
        at
        for at, row in enumerate(rows)
        if all(map(math.isfinite, row)) and not any(beats(other, row) for other in known)
    ]
    assert front(np.array(rows)) == wanted


@settings(deadline=None)
@given(tables.filter(lambda rows: any(all(map(math.isfinite, row)) for row in rows)), st.data())
def test_the_choice_is_on_the_front_and_within_the_limits(rows: list[list[float]], data: st.DataObject):
    """Whatever the weights and limits; if nobody keeps them, that is said."""
    losses, width = np.array(rows), len(rows[0])
    weights = data.draw(st.lists(st.floats(0, 10), min_size=width, max_size=width))
    limits = data.draw(st.lists(st.none() | st.floats(0, 6), min_size=width, max_size=width))
    able = [
        row
        for row in front(losses)
        if all(most is None or loss <= most for loss, most in zip(rows[row], limits, strict=True))
    ]
    if able:
        assert choose(losses, weights, limits) in able
    else:
        with pytest.raises(ValueError, match="limits"):
            choose(losses, weights, limits)
    assert knee(losses) in front(losses)


@settings(deadline=None)
@given(tables)
def test_no_genome_shrinks_the_hypervolume(rows: list[list[float]]):
    """It is that of the front alone, and another genome never makes it smaller."""
    losses = np.array(rows)
    reference = [7.0] * losses.shape[1]
    whole = hypervolume(losses, reference)
    assert whole == pytest.approx(hypervolume(losses[front(losses)], reference))
    assert hypervolume(losses[:-1], reference) <= whole + 1e-9


def test_known_volumes():
    """By hand, in one, two and three objectives; what is beyond the reference does not count."""
    assert hypervolume(np.array([[2.0], [1.0]]), [3.0]) == 2.0
    assert hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), [3.0, 3.0]) == pytest.approx(3.0)
    assert hypervolume(np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]), [1.0, 2.0, 3.0]) == pytest.approx(6.0)
    assert hypervolume(np.array([[4.0, 4.0]]), [3.0, 3.0]) == 0.0
    with pytest.raises(ValueError, match="reference"):
        hypervolume(np.array([[1.0, 2.0]]), [3.0])


def test_the_knee_is_where_little_is_given_up():
    """Error, latency and cost in their own units: not the ends, but the bend."""
    losses = np.array([[0.30, 1.0], [0.12, 2.0], [0.10, 30.0], [0.30, 40.0]])
    assert front(losses) == [0, 1, 2]
    assert knee(losses) == 1
    assert choose(losses, [1.0, 0.0]) == 2
    assert choose(losses, [0.0, 1.0]) == 0
    assert choose(losses, limits=[0.11, None]) == 2
    with pytest.raises(ValueError, match="weights"):
        choose(losses, [1.0])
    with pytest.raises(ValueError, match="weights"):
        choose(losses, [1.0, math.nan])
    with pytest.raises(ValueError, match="nobody"):
        knee(np.array([[math.nan, 1.0]]))


def test_crowding_prefers_the_ends_and_the_lonely():
    """The ends are kept at any price; between, who has more room; an objective that never varies tells nothing."""
    room = crowding(np.array([[0.0, 10.0], [1.0, 9.0], [2.0, 7.0], [9.0, 1.0], [10.0, 0.0]]))
    assert [math.isinf(one) for one in room] == [True, False, False, False, True]
    assert room[3] > room[1]
    assert crowding(np.array([[1.0, 2.0], [2.0, 1.0]])) == [math.inf, math.inf]
    assert not any(math.isnan(one) for one in crowding(np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])))


def test_one_objective_has_a_front_too():
    """The best, all of them if there are several."""
    assert front(np.array([[2.0], [1.0], [1.0]])) == [1, 2]
    assert front(np.zeros((0, 2))) == []
