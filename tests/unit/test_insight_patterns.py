"""Trend, seasonality, changes and correlations: found where they are, and not in noise that only wanders."""

from __future__ import annotations

import numpy as np
import pytest

from actors.insight.arrays import Floats
from actors.insight.changes import changes
from actors.insight.correlation import correlations, false_discovery, pairs
from actors.insight.independence import autocorrelation, blocks, inflation
from actors.insight.injection import ar1, coupled
from actors.insight.season import season
from actors.insight.store import SeriesStore
from actors.insight.survey import Snapshot, snapshot, survey
from actors.insight.trend import trend

HOUR, DAY = 3600.0, 86_400.0
MONDAY = 1_700_438_400.0


def noise(n: int, rho: float, seed: int) -> Floats:
    """An AR(1) of variance 1."""
    return ar1(n, rho, np.random.default_rng(seed))


def test_a_trend_is_told_with_its_slope():
    """The interval holds the true slope, and the words say which way."""
    values = 100 + 0.01 * np.arange(672) + noise(672, 0.5, 1)
    found = trend("a/x", MONDAY, values, HOUR)
    assert found is not None
    assert found.figures["low_per_day"] < 0.24 < found.figures["high_per_day"]
    assert "rises" in found.words


def test_wandering_is_not_a_trend():
    """Autocorrelated noise without a trend gives at most about 5 % trends; a naive test gives 40 %."""
    told = sum(trend("a/x", 0.0, noise(480, 0.8, seed), HOUR) is not None for seed in range(100))
    assert told <= 11


def test_too_little_data_gives_no_trend():
    """Fewer than twelve blocks with data say nothing."""
    assert trend("a/x", 0.0, np.arange(11.0), HOUR) is None
    assert trend("a/x", 0.0, np.full(500, np.nan), HOUR) is None


@pytest.mark.parametrize("shift_hours", [0, 7])
def test_the_time_of_day_is_found_wherever_the_series_begins(shift_hours: int):
    """The peak's hour is right in UTC, and the strength is the cycle's share of the variance."""
    hours = np.arange(10 * 24) + shift_hours
    values = 5 * np.sin(2 * np.pi * (hours - 9) / 24) + noise(240, 0.3, 2)
    found = season("a/x", MONDAY + shift_hours * HOUR, values, "day")
    assert found is not None
    assert found.figures["peak_hour"] in {14, 15, 16}
    assert 0.85 < found.figures["strength"] < 1


def test_a_week_is_named_by_its_day():
    """A busy Wednesday is called Wednesday."""
    hours = np.arange(4 * 168)
    values = np.where((hours // 24) % 7 == 2, 10.0, 0.0) + noise(672, 0.2, 3)
    found = season("a/x", MONDAY, values, "week")
    assert found is not None
    assert "Wednesday" in found.words


def test_wandering_is_not_a_season():
    """Autocorrelated noise gives at most about 5 % seasons."""
    told = sum(season("a/x", 0.0, noise(336, 0.8, seed), "day") is not None for seed in range(60))
    assert told <= 8


def test_a_step_is_found_where_it_is():
    """One change, at the right place, with the levels on both sides."""
    values = 10 + noise(600, 0.4, 4)
    values[350:] += 3
    (found,) = changes("a/x", 0.0, values, 60.0)
    assert abs(found.since / 60 - 350) <= 6
    assert found.figures["change"] == pytest.approx(3, abs=0.6)


def test_a_change_of_spread_is_found():
    """Three times the spread with the same mean is a change of spread only."""
    values = noise(1200, 0.3, 5)
    values[700:] *= 3
    assert changes("a/x", 0.0, values, 60.0) == []
    (found,) = changes("a/x", 0.0, values, 60.0, of="spread")
    assert found.figures["factor"] == pytest.approx(3, rel=0.3)


def test_wandering_and_spikes_are_not_steps():
    """Strong autocorrelation and single spikes give at most 5 % changes."""
    told = 0
    for seed in range(40):
        values = noise(500, 0.9, seed)
        values[::97] += 15
        told += bool(changes("a/x", 0.0, values, 60.0))
    assert told <= 4


def test_a_long_series_is_cut_down_and_a_constant_says_nothing():
    """Work is bounded by blocks; no noise, no test."""
    values = 10 + noise(20_000, 0.0, 6)
    values[12_000:] += 1
    (found,) = changes("a/x", 0.0, values, 60.0)
    assert abs(found.since / 60 - 12_000) < 300
    assert changes("a/x", 0.0, np.ones(500), 60.0) == []


def test_planted_pairs_are_found_with_their_lag_and_nothing_else():
    """Each planted pair, in its direction; no pair of the independent series."""
    values, lags = coupled(12, 3, np.random.default_rng(7))
    found = pairs(values)
    assert {(min(pair.first, pair.second), pair.lag) for pair in found} == set(lags.items())
    assert all(pair.second == pair.first + 1 for pair in found if pair.lag)


def test_independent_wandering_series_do_not_correlate():
    """Ten sets of 190 pairs of autocorrelated series: at most one set has a false pair (a table of r has dozens)."""
    rng = np.random.default_rng(8)
    sets = [np.stack([ar1(600, 0.9, rng) for _ in range(20)]) for _ in range(10)]
    assert sum(bool(pairs(values)) for values in sets) <= 1


def test_series_that_do_not_move_or_have_no_data_are_left_out():
    """Constants and gaps neither correlate nor break anything."""
    values = np.stack([np.ones(300), np.full(300, np.nan), noise(300, 0, 9), noise(300, 0, 10)])
    assert pairs(values) == []
    assert pairs(values[:1]) == []


def test_words_of_a_correlation_say_who_follows_whom():
    """The second series follows the first by the lag."""
    rng = np.random.default_rng(11)
    first = ar1(700, 0.3, rng)
    second = -np.roll(first, 5) + 0.3 * ar1(700, 0.3, rng)
    (found,) = correlations(["a/load", "a/run_ms"], 0.0, np.stack([first, second])[:, 10:], 60.0)
    assert found.words.startswith("a/run_ms moves against a/load, 5 minutes later")


def test_false_discovery_by_hand():
    """Benjamini-Yekutieli of three p-values, worked out by hand: p * 3 * (1 + 1/2 + 1/3) / rank, made monotone."""
    assert false_discovery(np.array([0.01, 0.5, 0.02])) == pytest.approx([0.055, 0.9166667, 0.055])


def test_autocorrelation_and_its_price():
    """An AR(1) of 0.6 has a variance of the mean four times as large as independent values."""
    values = noise(20_000, 0.6, 12)
    assert autocorrelation(values) == pytest.approx(0.6, abs=0.03)
    assert inflation(values) == pytest.approx(4, rel=0.15)


def test_blocks_leave_gaps_as_gaps():
    """A block without data is not 0."""
    means, length = blocks(np.array([1.0, 3.0, np.nan, np.nan, 5.0, np.nan]), 3)
    assert length == 2
    assert np.array_equal(means, [2.0, np.nan, 5.0], equal_nan=True)


def test_a_survey_tells_the_season_and_the_step_and_nothing_of_the_quiet_ones():
    """Over twelve series with one season, one step and one trend, exactly these are told."""
    rng = np.random.default_rng(13)
    hours = 100 + np.stack([ar1(672, 0.3, rng) for _ in range(12)])
    minutes = 100 + np.stack([ar1(1440, 0.3, rng) for _ in range(12)])
    hours[0] += 4 * np.sin(2 * np.pi * np.arange(672) / 24)
    hours[1, 400:] += 3
    hours[2] += 0.01 * np.arange(672)
    names = [f"a{number}/x" for number in range(12)]
    found = survey(Snapshot(names, MONDAY, minutes, MONDAY, hours))
    told = {(pattern.series, pattern.kind) for pattern in found}
    assert told == {("a0/x", "seasonality"), ("a1/x", "change-point"), ("a2/x", "trend")}


def test_a_survey_of_a_store_that_has_just_begun_says_nothing():
    """An empty store and one with a single point give no pattern and no error."""
    store = SeriesStore()
    assert survey(snapshot(store)) == []
    store.add("a/error", 1.7e9, 0.0, now=1.7e9)
    assert survey(snapshot(store)) == []


def test_a_survey_stops_when_told():
    """The worker thread can be given up between series."""
    hours = np.ones((3, 672))
    assert survey(Snapshot(["a", "b", "c"], 0.0, np.ones((3, 1440)), 0.0, hours), stop=lambda: True) == []
