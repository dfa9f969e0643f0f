"""Anomalies as minutes come: points, levels and spread, with time of day and heavy tails allowed for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from actors.insight.arrays import Floats
from actors.insight.detector import Detector, Sensitivity, scale_of
from actors.insight.injection import KINDS, ar1, injected
from actors.insight.memory import Memory
from actors.insight.profile import DayProfile
from actors.insight.rows import RowDetector
from actors.insight.scoring import average_precision, roc_auc, vus_pr
from actors.insight.selfcheck import measure, self_check, summary, windowed_gaussian
from actors.insight.store import SeriesStore
from actors.insight.tail import Tail
from actors.insight.watch import Watch
from subjects.insight import Anomaly

START = 1_700_006_400.0


def watched(values: Floats, series: str = "a/x") -> list[Anomaly]:
    """What a detector tells of a series of minutes."""
    detector = Detector(series, scale="linear")
    return [a for minute, value in enumerate(values.tolist()) for a in detector.update(START + 60 * minute, value)]


def minute_of(anomaly: Anomaly) -> int:
    """At which index of the series it was."""
    return round((anomaly.at - START) / 60)


def quiet(n: int, seed: int) -> Floats:
    """A series with nothing in it."""
    return 50 + 2 * ar1(n, 0.3, np.random.default_rng(seed))


def test_a_spike_is_told_at_its_minute():
    """Once, with what was expected, and the words say so."""
    values = quiet(1000, 1)
    values[800] += 60
    (found,) = [a for a in watched(values) if minute_of(a) >= 700]
    assert (minute_of(found), found.kind) == (800, "point")
    assert found.expected == pytest.approx(50, abs=3)
    assert found.confidence > 0.999
    assert "where" in found.words


def test_a_changed_level_is_told_once():
    """A level three sigma up is told within an hour, and not for ever after."""
    values = quiet(2000, 2)
    values[1000:] += 6
    levels = [minute_of(a) for a in watched(values) if a.kind == "level"]
    assert len(levels) == 1
    assert 1000 <= levels[0] < 1060


def test_a_changed_spread_is_told():
    """Three times the spread, same mean."""
    values = quiet(1600, 3)
    values[1000:] += 2 * (values[1000:] - 50)
    assert any(1000 <= minute_of(a) < 1060 for a in watched(values))


def test_the_time_of_day_is_no_anomaly():
    """After two days, a daily swing of ten sigma gives no alarm in two days; the same at a wrong hour does."""
    minutes = np.arange(5 * 1440)
    wave = 20 * np.sin(2 * np.pi * minutes / 1440)
    usual = watched(wave + quiet(minutes.size, 4))
    assert [a for a in usual if minute_of(a) >= 3 * 1440] == []
    moved = np.where(minutes < 4 * 1440 + 300, wave, 20 * np.sin(2 * np.pi * (minutes - 300) / 1440))
    assert any(minute_of(a) >= 4 * 1440 + 300 for a in watched(moved + quiet(minutes.size, 4)))


def test_minutes_without_data_are_neither_learned_nor_told():
    """Silence is not an anomaly of a latency."""
    values = quiet(600, 5)
    values[200:400] = np.nan
    assert watched(values) == []


def test_a_constant_series_and_its_end():
    """No spread, no alarm and no division by zero."""
    assert watched(np.full(600, 3.0)) == []


def test_latencies_are_judged_by_factors():
    """A series of milliseconds is taken on a log scale, an error rate is not; what is told is in milliseconds."""
    assert (scale_of("a/run_ms"), scale_of("a/load"), scale_of("a/error")) == ("log", "root", "linear")
    rng = np.random.default_rng(6)
    detector = Detector("a/run_ms")
    values = np.exp(rng.normal(1, 0.2, 600))
    values[500] = 100.0
    found = [a for minute, v in enumerate(values.tolist()) for a in detector.update(START + 60 * minute, v)]
    assert [minute_of(a) for a in found] == [500]
    assert found[0].expected == pytest.approx(math.e, rel=0.2)


def test_a_heavy_tail_raises_the_bar():
    """Student's t with three degrees of freedom needs more sigmas than a normal distribution, at the same rate."""
    rng = np.random.default_rng(7)
    normal, heavy = Tail(1 / 14_400), Tail(1 / 14_400)
    for light, wild in zip(rng.normal(size=20_000), rng.standard_t(3, 20_000) / 3**0.5, strict=True):
        normal.learn(abs(light))
        heavy.learn(abs(wild))
    assert 3.5 < normal.limit < 5.5
    assert heavy.limit > 8


def test_a_profile_is_silent_until_it_knows_two_days():
    """A first day can't tell its shape from its drift."""
    profile = DayProfile()
    for minute in range(3 * 1440):
        at = START + 60 * minute
        if minute < 2 * 1440:
            assert profile.expected(at) is None
        profile.learn(at, 10 + 5 * math.sin(2 * math.pi * at / 86_400))
    for hour in range(24):
        at = START + 3 * 86_400 + hour * 3600
        assert profile.expected(at) == pytest.approx(5 * math.sin(2 * math.pi * at / 86_400), abs=0.15)


def test_memory_is_not_moved_by_one_value():
    """An outlier counts as four sigma; the autocorrelation is that of the series."""
    memory = Memory(500)
    for value in ar1(5000, 0.6, np.random.default_rng(8)).tolist():
        memory.learn(value)
    assert memory.rho == pytest.approx(0.6, abs=0.12)
    before = memory.sigma
    memory.learn(1e9)
    assert memory.sigma < 1.1 * before


def test_the_watch_feeds_every_series_and_each_load():
    """Closed minutes reach a detector per series; a rush of tasks shows in the load, newest first."""
    store, rng = SeriesStore(), np.random.default_rng(9)
    watch = Watch(store)
    for minute in range(400):
        for _ in range(int(rng.poisson(400 if minute == 350 else 20))):
            at = START + 60 * minute + float(rng.uniform(0, 60))
            store.add("a/error", at, 0.0, now=START + 1e6)
        watch.step()
    assert set(watch.scores()) == {"a/error", "a/load"}
    (found,) = watch.anomalies(agent="a", since=START + 340 * 60)
    assert (found.series, minute_of(found)) == ("a/load", 350)
    assert watch.anomalies(agent="other") == []


def test_rows_are_judged_together():
    """A row whose figures are each usual but never together is far out; anomalies do not teach it otherwise."""
    rng = np.random.default_rng(10)
    detector = RowDetector(2)
    base = rng.normal(size=2000)
    rows = np.stack([base, base + 0.1 * rng.normal(size=2000)], axis=1) * [1.0, 1000.0]
    usual = [detector.update(row) for row in rows]
    odd = [detector.update(np.array([1.0, -1000.0])) for _ in range(20)]
    assert float(np.median(usual[200:])) < 1
    assert min(odd) > 30
    with pytest.raises(ValueError, match="2 finite numbers"):
        detector.update(np.array([1.0, np.nan]))


def test_scores_by_hand():
    """ROC AUC, average precision and VUS-PR of scores that can be worked out."""
    labels = np.array([False, False, True, True])
    assert roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), labels) == pytest.approx(0.75)
    assert roc_auc(np.zeros(4), labels) == pytest.approx(0.5)
    assert average_precision(np.array([0.1, 0.4, 0.35, 0.8]), labels) == pytest.approx((1 + 2 / 3) / 2)
    long = np.zeros(2000, np.bool_)
    long[900:1000] = True
    rng = np.random.default_rng(11)
    assert vus_pr(long.astype(float), long, most=0, steps=1) == pytest.approx(1)
    assert vus_pr(rng.uniform(size=2000), long, most=0, steps=1) == pytest.approx(0.05, abs=0.03)
    near = np.roll(long, 8).astype(float)
    assert vus_pr(rng.uniform(size=2000), long) < 0.2
    assert vus_pr(near, long) > 0.8
    assert vus_pr(np.zeros(10), np.zeros(10, np.bool_)) == 0


def test_the_plain_anchor_is_what_it_says():
    """The windowed Gaussian is sigmas from the mean of the values before."""
    values = quiet(2000, 12)
    found = windowed_gaussian(values, 500)
    past = values[1000:1500]
    assert found[1500] == pytest.approx(abs(values[1500] - past.mean()) / past.std(), rel=1e-6)


def test_injections_are_what_their_labels_say():
    """Before the label a series equals its clean part's statistics; each kind is labelled in its last two days."""
    for kind in KINDS:
        case = injected(kind, np.random.default_rng(13))
        start = int(np.argmax(case.labels))
        assert start >= 4 * 1440
        assert case.labels.any()
        assert case.until >= start + int(case.labels.sum())
    assert not injected("none", np.random.default_rng(13)).labels.any()


def test_the_self_check_repeats_and_beats_the_plain_anchor():
    """The same seed gives the same figures, another seed others; we rank better than a windowed Gaussian."""
    first = self_check(seed=5, rounds=1, measured_at=1.0)
    assert first == self_check(seed=5, rounds=1, measured_at=1.0)
    assert first.injections == len(KINDS) + 3
    assert first.vus_pr > 1.5 * first.baseline_vus_pr
    assert first.recall >= 0.75
    assert first.false_alarms_per_day < 1


def test_a_blind_detector_gets_a_bad_mark():
    """The figure is measured: with alarms switched off, nothing but correlations is found."""
    blind = summary(measure(5, 1, Sensitivity(rate=1e-300, delta=1e-300)), 5, 1.0)
    assert blind.recall <= 3 / 8
    assert self_check(seed=5, rounds=1, measured_at=1.0, stop=lambda: True).injections == 0
