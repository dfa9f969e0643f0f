"""Models: what they predict, how wrong they say they are, and that a flipped bit is noticed."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from actors.insight.arrays import Floats
from actors.insight.drift import ErrorWatch, Shift, decide, shift, train_reference
from actors.insight.forecast import predict, train_forecaster
from actors.insight.model import Model, from_bytes, renumbered, sealed, to_bytes
from actors.insight.smoothing import Setting, reach, smooth
from actors.insight.surrogate import estimate, train_surrogate
from chimera.errors import BadMessageError, CorruptError

HOUR = 3600.0


def rate(hours: Floats) -> Floats:
    """Tasks per minute at each hour."""
    return 100 + 60 * np.sin(2 * np.pi * hours / 24)


def load_model(days: int = 28, seed: int = 1) -> Model:
    """A forecaster of Poisson counts around ``rate``."""
    hours = np.arange(24.0 * days)
    values = np.random.default_rng(seed).poisson(rate(hours)).astype(np.float64)
    return train_forecaster("a/load", "load", 0.0, values, HOUR, trained_at=9.0, unit="tasks/min")


def test_a_load_is_forecast_with_its_time_of_day():
    """A day ahead the forecast is near the truth, each hour within its interval, and better than yesterday's value."""
    model = load_model()
    ahead = np.arange(24.0) + 28 * 24
    found = [predict(model, hour * HOUR + 1) for hour in ahead]
    assert max(abs(f.expected - truth) for f, truth in zip(found, rate(ahead), strict=True)) < 15
    assert all(f.low < truth < f.high for f, truth in zip(found, rate(ahead), strict=True))
    assert model.better
    assert model.error == pytest.approx(8, abs=2)


def test_the_interval_covers_what_it_says():
    """Over twenty models, nine in ten of the values that nobody saw lie inside, in the report and in the future."""
    rng, inside, reported = np.random.default_rng(2), list[bool](), list[float]()
    for seed in range(20):
        model = load_model(14, seed)
        reported.append(model.coverage or 0.0)
        for hour in range(14 * 24, 14 * 24 + 12):
            found = predict(model, hour * HOUR)
            inside.append(found.low <= float(rng.poisson(float(rate(np.array([float(hour)]))[0]))) <= found.high)
    assert 0.84 < float(np.mean(inside)) < 0.97
    assert 0.84 < float(np.mean(reported)) < 0.97


def test_a_latency_stays_positive_and_the_interval_widens():
    """Far ahead the interval is wider, and no bound is negative."""
    values = np.exp(np.random.default_rng(3).normal(0, 0.5, 400))
    model = train_forecaster("a/run_ms", "latency", 0.0, values, 60.0, trained_at=1.0)
    near, far = predict(model, 400 * 60.0), predict(model, 4000 * 60.0)
    assert 0 <= far.low < near.low < near.expected < near.high < far.high


def test_a_shift_in_the_held_out_part_shows_in_the_error():
    """The error is measured on what was not seen: a break there makes it large and the coverage small."""
    values = 10 + np.random.default_rng(4).normal(0, 1, 500)
    calm = train_forecaster("a/x", "figure", 0.0, values, 60.0, trained_at=1.0)
    values[400:] += np.arange(100) * 0.5
    broken = train_forecaster("a/x", "figure", 0.0, values, 60.0, trained_at=1.0)
    assert calm.error is not None
    assert broken.error is not None
    assert broken.error > 2 * calm.error
    assert (broken.coverage or 0) < (calm.coverage or 0)


def test_training_repeats():
    """The same data gives the same bytes."""
    assert to_bytes(load_model()) == to_bytes(load_model())


@pytest.mark.parametrize("values", [np.ones(30), np.full(500, np.nan), np.empty(0)])
def test_too_little_to_learn_from_is_refused(values: Floats):
    """The error says how much is needed."""
    with pytest.raises(BadMessageError, match="a forecaster takes 60"):
        train_forecaster("a/x", "figure", 0.0, values, 60.0, trained_at=1.0)


def test_a_constant_and_gaps_can_be_learned():
    """No spread and missing values are no reason to fail."""
    values = np.full(200, 5.0)
    values[::3] = np.nan
    assert predict(train_forecaster("a/x", "figure", 0.0, values, 60.0, trained_at=1.0), 200 * 60.0).expected == 5.0


def test_the_past_is_not_forecast():
    """A time within the training window is refused."""
    with pytest.raises(BadMessageError, match="begins at"):
        predict(load_model(), 5.0)


def test_smoothing_by_hand():
    """One setting, three values, worked out by hand; a damped trend moves by its geometric sum."""
    levels, trends = smooth(np.array([1.0, 2.0, 3.0]), (Setting(0.5, 0.5, 0.5),))
    assert levels[0].tolist() == pytest.approx([1.5, 1.6875, 2.3515625])
    assert trends[0].tolist() == pytest.approx([-0.25, 0.03125, 0.33984375])
    assert reach(0.5, np.array([1.0, 2.0, 3.0])).tolist() == pytest.approx([0.5, 0.75, 0.875])


def test_a_stored_model_comes_back_and_any_flipped_bit_is_noticed():
    """Every single byte of what is stored is guarded by the checksum or the format."""
    model = load_model(7)
    data = to_bytes(model)
    assert from_bytes(data) == model
    for place in range(0, len(data), 7):
        spoiled = bytearray(data)
        spoiled[place] ^= 1
        with pytest.raises(CorruptError):
            from_bytes(bytes(spoiled))
    with pytest.raises(CorruptError):
        from_bytes(data[:-1])
    with pytest.raises(CorruptError):
        from_bytes(b"\x00" * (2 << 20))


def test_a_model_of_another_format_or_kind_is_not_used():
    """A sound record that this program can't read says so."""
    model = load_model(7)
    with pytest.raises(CorruptError, match="format 2"):
        from_bytes(to_bytes(sealed(msgspec.structs.replace(model, format=2))))
    with pytest.raises(CorruptError, match="don't fit"):
        shift(model, np.ones(200))


def test_a_version_is_part_of_the_seal():
    """Renumbering seals again; editing without sealing does not pass."""
    model = load_model(7)
    assert renumbered(model, 4).sound
    assert not msgspec.structs.replace(model, version=4).sound


def test_inputs_that_changed_are_told_and_others_are_not():
    """A tenth of a sigma in 20,000 messages is drift; two hundred draws from the same distribution never are."""
    rng = np.random.default_rng(5)
    model = train_reference("a/length", rng.normal(size=20_000), (0.0, 1.0), trained_at=1.0)
    assert not any(shift(model, rng.normal(size=500)).drifted for _ in range(200))
    found = shift(model, rng.normal(0.15, 1, 20_000))
    assert found.drifted
    assert "drift" in found.words


def test_ties_are_no_drift():
    """Whole numbers with few values: the same distribution is not told, another is."""
    rng = np.random.default_rng(6)
    model = train_reference("a/words", rng.poisson(2, 5000).astype(float), (0.0, 1.0), trained_at=1.0)
    assert not any(shift(model, rng.poisson(2, 2000).astype(float)).drifted for _ in range(100))
    assert shift(model, rng.poisson(3, 2000).astype(float)).drifted


def test_nothing_can_be_compared_with_nothing():
    """Too few messages for a reference, none to compare."""
    with pytest.raises(BadMessageError, match="takes 100 messages"):
        train_reference("a/x", np.ones(99), (0.0, 1.0), trained_at=1.0)
    model = train_reference("a/x", np.ones(100), (0.0, 1.0), trained_at=1.0)
    with pytest.raises(BadMessageError, match="nothing to compare"):
        shift(model, np.array([np.nan]))


def test_errors_that_grow_are_told_and_others_are_not():
    """Three times the error is told within 60 forecasts; the same error or a smaller one is not."""
    rng = np.random.default_rng(7)
    calm, better, worse = (ErrorWatch(2.0) for _ in range(3))
    for step in range(2000):
        error = abs(float(rng.normal(0, 2.5)))
        calm.update(error)
        better.update(error * (0.3 if step >= 1000 else 1))
        if worse.update(error * (3 if step >= 1000 else 1)):
            assert 1000 <= step < 1060
    assert (calm.drifted, better.drifted, worse.drifted) == (False, False, True)
    assert worse.ratio == pytest.approx(3, rel=0.2)


def test_what_follows_from_drift():
    """Keep what is good; retrain what is not, if there is something to retrain on; else tell a person."""
    model = load_model(7)
    bad = ErrorWatch(1.0)
    bad.drifted = True
    moved = Shift(0.5, 0.1, drifted=True, words="a/length: drift")
    assert decide(model, now=10.0).act == "keep"
    assert decide(model, now=10.0, errors=bad, fresh_rows=168).act == "retrain"
    assert decide(model, now=10.0, inputs=moved, fresh_rows=168).reason == "a/length: drift"
    assert decide(model, now=10.0, errors=bad, fresh_rows=3).act == "alert"
    assert "days old" in decide(model, now=30 * 86_400.0, fresh_rows=168).reason
    assert "checksum" in decide(msgspec.structs.replace(model, rows=1), now=10.0).reason


def test_a_surrogate_knows_a_curved_surface_and_its_own_error():
    """A quadratic with noise is met within the noise; outside what was tried it refuses."""
    rng = np.random.default_rng(8)
    points = np.stack([rng.uniform(1, 64, 120), rng.uniform(0, 1, 120)], axis=1)
    values = 5 + 0.01 * (points[:, 0] - 20) ** 2 - 3 * points[:, 1] + rng.normal(0, 0.3, 120)
    model = train_surrogate("a/p95", ["batch", "rate"], points, values, window=(0.0, 1.0), trained_at=2.0)
    assert model.better
    assert model.error == pytest.approx(0.24, abs=0.08)
    expected, low, high = estimate(model, {"batch": 20.0, "rate": 0.5})
    assert expected == pytest.approx(3.5, abs=0.3)
    assert low < 3.5 < high
    with pytest.raises(BadMessageError, match="tried from"):
        estimate(model, {"batch": 200.0, "rate": 0.5})
    with pytest.raises(BadMessageError, match="rate is missing"):
        estimate(model, {"batch": 20.0})
    with pytest.raises(BadMessageError, match="at least 10"):
        train_surrogate("a/p95", ["batch"], np.ones((3, 1)), np.ones(3), window=(0.0, 1.0), trained_at=2.0)
