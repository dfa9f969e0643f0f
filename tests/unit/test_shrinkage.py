"""The figure of the best of many is brought down to what it is worth."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.evolving.shrinkage import shrunken


def test_the_winners_curse_is_taken_off():
    """Best of a hundred, 200 times: as observed it promises 1.5 standard errors too much, shrunken hardly anything."""
    raw = corrected = 0.0
    runs = 200
    for seed in range(runs):
        rng = random.Random(seed)  # noqa: S311 - a simulation
        truths = [rng.gauss(0.6, 0.05) for _ in range(100)]
        seen = [rng.gauss(truth, 0.07) for truth in truths]
        worth = shrunken(seen, [0.07] * 100)
        best = max(range(100), key=lambda at: worth[at])
        raw += (seen[best] - truths[best]) / runs
        corrected += (worth[best] - truths[best]) / runs
    assert raw > 0.1
    assert abs(corrected) < 0.012


def test_exact_figures_stay_and_unknown_ones_are_the_mean():
    """No noise, no shrinkage; nothing known, nothing but the others' mean."""
    worth = shrunken([0.2, 0.5, 0.8, 0.9], [0.0, 0.0, 0.0, math.inf])
    assert worth[:3] == [0.2, 0.5, 0.8]
    assert worth[3] == pytest.approx(0.5)


def test_noise_alone_is_shrunk_to_one_figure():
    """Differences that the noise explains are none."""
    worth = shrunken([0.49, 0.5, 0.51, 0.5], [0.1] * 4)
    assert worth == pytest.approx([0.5] * 4)


def test_few_tasks_count_less_than_many():
    """Of two equal figures the one with more tasks behind it is worth more."""
    worth = shrunken([0.9, 0.9, 0.5, 0.6, 0.4, 0.7], [0.15, 0.02, 0.05, 0.05, 0.05, 0.05])
    assert worth[0] < worth[1] < 0.9


def test_two_figures_are_left_as_they_are():
    """Two values do not tell noise from difference."""
    assert shrunken([0.1, 0.9], [0.5, 0.5]) == [0.1, 0.9]


def test_differences_too_small_to_square_end():
    """Exact figures that differ by next to nothing have no spread that could be found; the search for it ends."""
    assert shrunken([0.0, 0.0, 1e-200], [0.0, 0.0, 0.0]) == [0.0, 0.0, 1e-200]
    assert shrunken([0.0, 0.0, 1e-200], [0.0, 0.0, 0.1])[:2] == [0.0, 0.0]


def test_errors_must_fit():
    """Each value has an error, and it is not negative."""
    with pytest.raises(ValueError, match="standard error"):
        shrunken([1.0], [])
    with pytest.raises(ValueError, match="standard error"):
        shrunken([1.0], [math.nan])


figures = st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 0.5)), min_size=3, max_size=20)


@settings(deadline=None)
@given(figures)
def test_every_value_moves_towards_the_middle(found: list[tuple[float, float]]):
    """None leaves the range of all, and equal errors keep the order."""
    values = [value for value, _ in found]
    worth = shrunken(values, [error for _, error in found])
    assert all(min(values) - 1e-9 <= one <= max(values) + 1e-9 for one in worth)
    same = shrunken(values, [0.1] * len(values))
    ranks = sorted(range(len(values)), key=lambda at: values[at])
    assert all(same[a] <= same[b] + 1e-12 for a, b in itertools.pairwise(ranks))
