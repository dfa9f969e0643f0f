"""Diversity by moments is diversity by pairs, for any population."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.evolving.diversity import Columns, Kind, spread, variety

Matrix = np.ndarray[Any, np.dtype[np.float64]]


@st.composite
def populations(draw: st.DrawFn) -> tuple[Matrix, list[tuple[float, float, Kind]]]:
    """Genomes within the bounds of columns of every kind, copies among them."""
    layout: list[tuple[float, float, Kind]] = []
    kinds: list[Kind] = ["real", "integer", "choice"]
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(kinds))
        low = 0.0 if kind == "choice" else float(draw(st.integers(-50, 50)))
        layout.append((low, low + draw(st.integers(0, 40)), kind))
    row = st.tuples(
        *(
            st.floats(low, high) if kind == "real" else st.integers(int(low), int(high)).map(float)
            for low, high, kind in layout
        )
    )
    rows = draw(st.lists(row, min_size=1, max_size=12))
    return np.array(rows + draw(st.lists(st.sampled_from(rows), max_size=4)), dtype=float), layout


def columns_of(layout: list[tuple[float, float, Kind]]) -> Columns:
    """The layout as the module takes it."""
    return Columns([low for low, _, _ in layout], [high for _, high, _ in layout], [kind for _, _, kind in layout])


@settings(deadline=None)
@given(populations())
def test_distance_is_that_of_all_pairs(population: tuple[Matrix, list[tuple[float, float, Kind]]]):
    """The root mean square over pairs, with differences of numbers scaled and those of choices 0 or 1."""
    genomes, layout = population
    squares: list[float] = []
    for one, two in itertools.combinations(genomes.tolist(), 2):
        square = 0.0
        for a, b, (low, high, kind) in zip(one, two, layout, strict=True):
            square += float(a != b) if kind == "choice" else ((a - b) / (high - low)) ** 2 if high > low else 0.0
        squares.append(square)
    wanted = math.sqrt(math.fsum(squares) / len(squares)) if squares else 0.0
    assert variety(genomes, columns_of(layout)).distance == pytest.approx(wanted, abs=1e-7)


@settings(deadline=None)
@given(populations(), st.randoms())
def test_figures_are_within_bounds_and_forget_the_order(
    population: tuple[Matrix, list[tuple[float, float, Kind]]], random: Any
):
    """Entropy, unique share and effective number stay where they may, whoever stands first."""
    genomes, layout = population
    found = variety(genomes, columns_of(layout))
    different = len({tuple(row) for row in genomes.tolist()})
    assert found.unique == pytest.approx(different / len(genomes))
    assert 1.0 - 1e-9 <= found.effective <= different + 1e-9
    assert all(0.0 <= one <= 1.0 for one in found.genes)
    places = list(range(len(genomes)))
    random.shuffle(places)
    other = variety(genomes[places], columns_of(layout))
    assert other.distance == pytest.approx(found.distance, abs=1e-9)
    assert other.genes == pytest.approx(found.genes)
    assert other.effective == pytest.approx(found.effective)


def test_copies_have_no_diversity():
    """One genome many times: no distance, no entropy, one effective genome; minus zero is zero."""
    genomes = np.array([[0.0, 3.0], [-0.0, 3.0], [0.0, 3.0]])
    found = variety(genomes, Columns([-1, 0], [1, 4], ["real", "choice"]))
    assert (found.distance, found.entropy, found.effective) == (0.0, 0.0, 1.0)
    assert found.unique == pytest.approx(1 / 3)


def test_entropy_is_one_where_values_are_even():
    """Each choice as often, each level of a whole number as often, and one genome to each cell of a real gene."""
    genomes = np.array([[i % 4, i % 2, i / 15] for i in range(16)], dtype=float)
    found = variety(genomes, Columns([0, 0, 0], [3, 1, 1], ["choice", "integer", "real"]))
    assert found.genes == pytest.approx((1.0, 1.0, 1.0))
    assert found.entropy == pytest.approx(1.0)


def test_effective_number_counts_what_is_frequent():
    """Nine copies and one other genome are hardly more than one."""
    genomes = np.array([[0.0]] * 9 + [[1.0]])
    found = variety(genomes, Columns([0], [1], ["real"]))
    assert found.effective == pytest.approx(1 / (0.81 + 0.01))


def test_spread_is_of_those_that_did_not_fail():
    """Rows without figures are left out; outputs of several tasks are pooled."""
    assert spread(np.array([1.0, 3.0, np.nan, np.inf])) == pytest.approx(math.sqrt(2.0))
    assert spread(np.array([[1.0, 0.0], [3.0, 0.0]])) == pytest.approx(1.0)
    assert spread(np.array([1.0, np.nan])) is None
    columns = Columns([0.0], [1.0], ["real"])
    assert variety(np.array([[0.0], [1.0]]), columns, np.array([1.0, 3.0])).phenotypic == pytest.approx(math.sqrt(2.0))


def test_empty_populations_and_genomes_have_figures():
    """Nobody there, nothing to search: zeros, not an error."""
    nobody = variety(np.zeros((0, 1)), Columns([0.0], [1.0], ["real"]))
    assert (nobody.distance, nobody.unique, nobody.phenotypic) == (0.0, 0.0, None)
    nothing = variety(np.zeros((3, 0)), Columns([], [], []))
    assert (nothing.distance, nothing.entropy) == (0.0, 0.0)
    assert nothing.unique == pytest.approx(1 / 3)


def test_what_does_not_fit_is_refused():
    """Bounds that are none, columns that are not there."""
    with pytest.raises(ValueError, match="finite"):
        Columns([1.0], [0.0], ["real"])
    with pytest.raises(ValueError, match="do not fit"):
        Columns([1.0], [2.0, 3.0], ["real"])
    with pytest.raises(ValueError, match="1 columns"):
        variety(np.zeros((2, 2)), Columns([0.0], [1.0], ["real"]))


def test_no_entropy_is_below_zero_not_even_by_its_sign():
    """Genes that all genomes share have entropy 0, which people read as 0 and not as -0."""
    found = variety(np.array([[0.5, 1.0], [0.5, 1.0]]), Columns([0, 0], [1, 2], ["real", "choice"]))
    assert [str(value) for value in found.genes] == ["0.0", "0.0"]
