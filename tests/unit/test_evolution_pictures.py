"""Pictures of an evolution: what is drawn is what the replies say, well-formed, and readable by who can't see it."""

from __future__ import annotations

from html import unescape
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.pictures import Grid, Node, Plot, Steps, Tree, paint, stack
from chimera.pictures.evolution import MOST_NODES, diversity, fitness, lineage, needs, render, spread, svg
from chimera.pictures.ramp import NONE, colour_of
from subjects.evolver import GetPopulation
from subjects.genome import GetGenome
from tests.support import evolution as stage

SPACE = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ET.Element:
    """An SVG file; a malformed one fails here."""
    return ET.fromstring(text)  # noqa: S314 - our own output


def test_fitness_is_drawn_with_its_spread():
    """Best with its uncertainty, mean with its deviation, and where the live genome stands."""
    plot = fitness(stage.progress())
    best, mean, live = plot.series
    assert best.points[4] == (4.0, 0.54)
    assert (best.low[4], best.high[4]) == (pytest.approx(0.52), pytest.approx(0.56))
    assert (mean.low[4], mean.high[4]) == (pytest.approx(0.39), pytest.approx(0.49))
    assert live.points == [(0.0, 0.45), (29.0, 0.45)]


def test_a_generation_where_all_failed_is_a_gap():
    """No best and no mean: nothing is drawn there, and nothing breaks."""
    broken = stage.generation(3, best=None, mean=None, worst=None, deviation=None, half_width=None)
    told = msgspec.structs.replace(stage.progress(2), history=[stage.generation(0), broken, stage.generation(2)])
    assert fitness(told).series[0].points[1] == (3.0, None)
    parsed(svg(told))


def test_what_was_done_about_diversity_is_marked():
    """A dot at each generation with an action; none where nothing was done."""
    assert diversity(stage.progress(30).history).series[-1].points == [(9.0, 0.0), (19.0, 0.0), (29.0, 0.0)]
    assert [one.name for one in diversity(stage.progress(5).history).series] == [
        "distance", "entropy", "unique", "mutation rate"
    ]  # fmt: skip


def test_the_lineage_is_the_champions():
    """A node per ancestor in its generation, a line per known parent, a ring around the champion."""
    tree = lineage(stage.lineage(12))
    assert [(one.id, one.layer) for one in tree.nodes if one.mark] == [("v-1-240", 12)]
    assert len(tree.nodes) == 25
    assert len(tree.edges) == 2 + 4 * 11
    root = parsed(paint(tree, standalone=True))
    assert len(list(root.iter(f"{SPACE}circle"))) == 26
    assert "25 in 13 generations, fitness 0.56 to 0.8" in (root.get("aria-label") or "")


def test_a_large_lineage_is_cut():
    """The nearest ancestors are shown, and no line leads to one that is not."""
    tree = lineage(stage.lineage(300))
    assert len(tree.nodes) == MOST_NODES
    known = {one.id for one in tree.nodes}
    assert all(parent in known and child in known for parent, child in tree.edges)
    assert "the nearest of them shown" in render(stage.progress(), None, stage.lineage(300))


def test_a_front_is_drawn_over_its_objectives():
    """Population, front and knee at their values in their own units."""
    told, population = stage.with_front()
    [plot] = spread(told.evolution, population)
    assert isinstance(plot, Plot)
    assert [len(one.points) for one in plot.series] == [20, 6, 1]
    assert plot.series[2].points == [(pytest.approx(0.74), 8.0)]
    assert (plot.x.label, plot.y.label) == ("correct, higher is better", "cpu_ms, lower is better")


def test_a_map_has_its_cells():
    """The archive's cells on the descriptors' axes, with the genome that is best there."""
    told, population = stage.with_map()
    [grid] = spread(told.evolution, population)
    assert isinstance(grid, Grid)
    assert (grid.x.label, grid.x.count, grid.x.high, grid.y.label, grid.y.count) == ("cpu_ms", 8, 20.0, "strictness", 4)
    assert grid.cells[(3, 1)] == pytest.approx(0.5 + 11 / 50)
    text = paint(grid, standalone=True)
    assert "16 of 32 cells are filled" in (parsed(text).get("aria-label") or "")
    assert "<title>v-1-11 0.72</title>" in text


@pytest.mark.parametrize("cell", [[5], [5, 2]])
def test_a_map_without_named_axes_is_as_large_as_its_cells(cell: list[int]):
    """One axis or two: whatever the cells say."""
    archive = [stage.member(1, 0.5, cell=cell), stage.member(2, 0.6, cell=[0] * len(cell))]
    [grid] = spread(stage.evolution(), stage.population(archive=archive))
    assert isinstance(grid, Grid)
    assert (grid.x.count, grid.y.count) == (6, 3 if len(cell) > 1 else 1)
    parsed(paint(grid, standalone=True))


def test_the_file_has_every_picture():
    """One below the other, well-formed; without a front, a map or a champion there are two."""
    told, population = stage.with_front()
    whole = parsed(svg(told, population, stage.lineage()))
    assert len(list(whole)) == 5
    assert len(list(parsed(svg(stage.progress())))) == 3
    assert int(whole.get("height") or 0) > 280 + 280 + 320


def test_the_page_says_what_was_found():
    """Figures, front, lineage, generations; and what is missing is said to be missing."""
    told, population = stage.with_front()
    page = unescape(render(told, population, stage.lineage()))
    said = (
        "Evolution v-1", "sentiment, release 2", "nsga2: genes are mixed", "The genome that gives up least is v-1-3",
        "Champion: v-1-579", "on the validation tasks is 0.78, the live genome's is 0.6", "24 ancestors",
        "in 3 generations, last in generation 29: 3 immigrants", "80 to train on, 40 to validate on",
    )  # fmt: skip
    for words in said:
        assert words in page, words
    assert page.count("<svg") == 4
    bare = render(stage.progress(0))
    for words in ("No genome was measured yet", "The population could not be had", "None is finished yet"):
        assert words in bare, words


def test_a_page_escapes_what_came_from_outside():
    """Names and reasons can't inject markup."""
    evil = "<script>alert(1)</script>"
    told = stage.progress(agent=evil, reason=evil, why=evil)
    page = render(told, stage.population(convergence=evil, knee=evil), stage.lineage())
    assert "<script" not in page
    parsed(svg(told, stage.with_map()[1]))


def test_a_page_needs_population_and_champion():
    """Both are asked for by id; no champion, no lineage."""
    [population, champion] = needs(stage.progress())
    assert isinstance(population, GetPopulation)
    assert isinstance(champion, GetGenome)
    assert (population.id, champion.id) == ("v-1", "v-1-579")
    assert len(needs(stage.progress(0))) == 1


@given(st.floats(allow_nan=True), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_every_value_has_a_colour(value: float, low: float, width: float):
    """Six hex digits for a number, a faint grey for none; both ends are the ramp's."""
    colour = colour_of(value, low, low + width)
    assert colour == NONE or int(colour[1:], 16) >= 0
    if width > 1e-3:
        assert colour_of(low, low, low + width) != colour_of(low + width, low, low + width)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.none() | st.floats(allow_nan=True)), max_size=30),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=60),
)
def test_any_tree_and_map_is_well_formed(nodes: list[tuple[int, float | None]], edges: list[tuple[int, int]]):
    """Unknown ends, cycles, no nodes at all, values that are none: a picture without a number that is none."""
    tree = Tree(
        "<t>", [Node(f"n{n}", layer, value, "<&>") for n, (layer, value) in enumerate(nodes)],
        [(f"n{a}", f"n{b}") for a, b in edges],
    )  # fmt: skip
    grid = Grid("<g>", Steps("x", 6), Steps("y", 3), {(layer, n % 3): value for n, (layer, value) in enumerate(nodes)})
    text = stack([tree, grid])
    parsed(text)
    assert "nan" not in text
    assert "inf" not in text
