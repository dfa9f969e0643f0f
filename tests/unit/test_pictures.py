"""Plots and pages: round ticks, gaps, escaping, and well-formed files that load nothing."""

from __future__ import annotations

import math
from html import escape
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.pictures import Axis, Figure, Page, Plot, Section, Series, Table, draw, ticks, time_ticks
from chimera.pictures.page import CONTENT_POLICY
from chimera.pictures.scale import log_ticks, number_text, span

SPACE = "{http://www.w3.org/2000/svg}"
numbers = st.floats(-1e12, 1e12, allow_nan=False)


def svg(plot: Plot) -> ET.Element:
    """The plot, parsed: a malformed one fails here."""
    return ET.fromstring(draw(plot, standalone=True))  # noqa: S314 - our own output


@given(numbers, st.floats(1e-9, 1e9))
def test_ticks_are_round_ordered_and_inside(low: float, width: float) -> None:
    """Whatever the range: a few round numbers within it, in order."""
    high = low + width
    if high - low < abs(low) * 1e-9:
        return
    found = ticks(low, high)
    assert len(found) <= 7
    assert found == sorted(found)
    assert all(low - width * 0.01 <= one <= high + width * 0.01 for one in found)


@given(st.integers(0, 4_000_000_000), st.floats(1, 1e8))
def test_time_ticks_stand_at_whole_units(low: float, width: float) -> None:
    """Moments on an axis are whole seconds, minutes, hours or days, at most eight."""
    found = time_ticks(low, low + width)
    assert len(found) <= 8
    assert all(one == int(one) and low <= one <= low + width for one in found)


@given(st.lists(st.tuples(numbers, st.none() | st.floats()), max_size=30), st.sampled_from(["line", "dots", "bars"]))
def test_any_series_makes_a_well_formed_picture(points: list[tuple[float, float | None]], kind: str) -> None:
    """Gaps, infinities and nothing at all are drawn without a crash and without a number that is none."""
    series = Series("a <b> & c", points, kind=kind)  # pyright: ignore[reportArgumentType] - from the literal's values
    text = draw(Plot("title <&>", series=[series, series]), standalone=True)
    ET.fromstring(text)  # noqa: S314 - our own output
    assert "nan" not in text
    assert "inf" not in text


def test_a_gap_interrupts_the_line() -> None:
    """A missing value is not bridged; a lonely one gets a dot."""
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, None), (3.0, 4.0), (4.0, None)]
    root = svg(Plot("t", series=[Series("s", points)]))
    line = next(path for path in root.iter(f"{SPACE}path") if path.get("stroke-width"))
    assert (line.get("d") or "").count("M") == 2
    assert len(list(root.iter(f"{SPACE}circle"))) == 1


def test_the_picture_says_in_words_what_it_shows() -> None:
    """Who can't see it hears the range and the last value."""
    label = svg(Plot("p95", y=Axis("ms"), series=[Series("agent", [(0.0, 3.0), (1.0, 9.0), (2.0, 5.0)])])).get(
        "aria-label"
    )
    assert label == "p95. agent: 3 to 9, last 5."
    assert "no data" in (svg(Plot("empty")).get("aria-label") or "")


def test_a_band_follows_its_line() -> None:
    """The band's outline has two points per value that has both bounds."""
    series = Series("s", [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)], low=[0.5, None, 2.5], high=[1.5, 2.5, 3.5])
    polygon = next(svg(Plot("t", series=[series])).iter(f"{SPACE}polygon"))
    assert len((polygon.get("points") or "").split()) == 4


def test_logarithmic_axes_leave_out_what_has_no_logarithm() -> None:
    """Zero and less neither crash a logarithmic axis nor widen it."""
    assert span([0.0, -1.0, 1.0, 100.0], log=True) == (1.0, 100.0)
    assert log_ticks(0.5, 2000.0) == [1.0, 10.0, 100.0, 1000.0]
    svg(Plot("t", y=Axis(kind="log"), series=[Series("s", [(0.0, 0.0), (1.0, 10.0), (2.0, 1000.0)])]))


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.25, "0.25"), (12500.0, "12.5k"), (3e6, "3M"), (2e-5, "2.0e-05"), (-42.0, "-42")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    """Numbers beside an axis have few digits and a unit of thousands."""
    assert number_text(value) == text


def test_a_page_escapes_what_came_from_outside_and_loads_nothing() -> None:
    """Agent names and reasons can't inject markup; the page names no other host and forbids every load."""
    evil = '<script src="http://example.org/x.js">'
    table = Table(("agent", "p95"), [(evil, 1.5), ("b", None)], caption=evil)
    page = Page(
        evil, evil, [Section(evil, [evil, table, Figure(Plot(evil, series=[Series(evil, [(0.0, 1.0)])]))])]
    ).html()
    assert "<script" not in page
    assert escape(CONTENT_POLICY) in page
    assert "class='n'>1.5<" in page
    assert "class='n'>-<" in page


def test_scales_survive_what_is_very_near_or_very_far() -> None:
    """Values at the ends of what a float holds, and values a hair apart, get an axis with round numbers."""
    for low, high in ((-1.7e308, 1.7e308), (5e-324, 1e-323), (0.0, 5e-324), (1.0, 1.0 + 1e-15), (1.5e308, 1.5e308)):
        left, right = span([low, high])
        assert left < right
        found = ticks(left, right)
        assert 1 <= len(found) <= 7
        svg(Plot("t", series=[Series("s", [(0.0, low), (1.0, high)])]))


def test_scales_survive_one_value() -> None:
    """A single value is drawn in the middle of an axis around it."""
    assert span([5.0]) == (2.5, 7.5)
    assert span([0.0]) == (-0.5, 0.5)
    assert all(math.isfinite(one) for one in span([]))
