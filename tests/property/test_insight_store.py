"""The store of KPI series under any order, repetition and batching."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.insight.once import Once
from actors.insight.store import SeriesStore, Size

START, NOW = 1_700_000_000.0, 1_800_000_000.0
SMALL = Size(series=4, minutes=30, hours=24, late_s=120.0)
POINTS = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0, 119), st.integers(-1000, 1000)), min_size=1, max_size=60
)  # within two minutes of each other: none is late, in whatever order


@given(POINTS, st.randoms(use_true_random=False))
def test_order_within_the_window_does_not_matter(points: list[tuple[int, float, int]], random: object):
    """Any order and any repetition of the same records gives the same minutes."""
    shuffled = list(enumerate(points)) * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined] - a random.Random
    plain, mixed, once = SeriesStore(SMALL), SeriesStore(SMALL), Once(256)
    for series, offset, value in points:
        plain.add(f"s{series}", START + offset, value, now=NOW)
    for sequence, (series, offset, value) in shuffled:
        if once.take(sequence + 1) == "fresh":
            mixed.add(f"s{series}", START + offset, value, now=NOW)
    for store in (plain, mixed):
        store.advance(START + 600)
    assert plain.accepted == mixed.accepted == len(points)
    for name in plain.names:
        assert np.array_equal(plain.minutes(name)[1], mixed.minutes(name)[1], equal_nan=True)


@given(
    st.lists(
        st.tuples(
            st.integers(-1, 4),
            st.one_of(st.floats(-4000, 4000), st.just(float("nan")), st.just(1e9)),
            st.one_of(st.integers(-100, 100).map(float), st.just(float("inf"))),
        ),
        min_size=1,
        max_size=80,
    ),
    st.integers(1, 80),
)
@settings(max_examples=200)
def test_a_batch_is_the_same_as_one_by_one(points: list[tuple[int, float, float]], cut: int):
    """Vectorised ingestion accepts, refuses and aggregates exactly as single points do."""
    single, batched = SeriesStore(SMALL), SeriesStore(SMALL)
    for store in (single, batched):
        for number in range(4):
            store.register(f"s{number}")
    for number, offset, value in points:
        name = f"s{number}" if 0 <= number <= 3 else ""
        if name:
            single.add(name, START + offset, value, now=NOW)
        else:
            single.refuse("malformed")
    columns = np.array(points, np.float64)
    for part in (columns[:cut], columns[cut:]):
        if part.size:
            batched.add_many(part[:, 0].astype(np.int64), START + part[:, 1], part[:, 2], now=NOW)
    assert single.rejected == batched.rejected
    assert (single.accepted, single.newest) == (batched.accepted, batched.newest)
    for number in range(4):
        for view in ("mean", "count", "most"):
            ours, theirs = (store.minutes(f"s{number}", view=view)[1] for store in (single, batched))
            assert np.array_equal(ours, theirs, equal_nan=True)


@given(st.lists(st.integers(1, 400), max_size=200))
def test_once_is_a_set_as_far_as_it_remembers(numbers: list[int]):
    """Fresh exactly once per number; only what fell out of the window may be refused unseen."""
    once, seen, highest = Once(64), set[int](), 0
    for number in numbers:
        verdict = once.take(number)
        if number > highest - 64:
            assert verdict == ("repeated" if number in seen else "fresh")
            seen.add(number)
        else:
            assert verdict == "forgotten"
        highest = max(highest, number)
