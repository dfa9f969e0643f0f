"""The calibration in its quick form, and whether the committed table is what the full form gives."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
import numpy as np
import pytest

from actors.gating.comparisons import compare
from actors.gating.records import Row
from actors.inference.bernstein import MeanSequence
from actors.inference.covariate import LARGEST
from actors.inference.means import AsymptoticSequence
from actors.inference.quantiles import QuantileSequence
from subjects.experiment import Metric
from tests.calibration.case import Case, Result, measured
from tests.calibration.cuped import REACH, adjusted_differences, with_covariate
from tests.calibration.sequences import asymptotic_path, mean_path, quantile_misses
from tests.calibration.speed import speeds
from tests.calibration.table import CASES, DATA, TABLE, data, document
from tests.calibration.worlds import coin, traffic

CHEAP = [case for case in CASES if case.test == "paired wins" and case.setting.startswith(("0.1", "1.0", "wins 3.5"))]
COSTLY = "over replay"


@functools.cache
def committed() -> dict[str, Any]:
    """Figures by name, as they stand in the repository."""
    return msgspec.json.decode(DATA.read_bytes())["figures"]


@pytest.mark.parametrize("case", [case for case in CASES if COSTLY not in case.group], ids=lambda case: case.name)
def test_the_quick_form_holds(case: Case) -> None:
    """Fewer experiments of every kind, the same bounds."""
    found = measured(case, "quick")
    assert found.holds is not False, f"{found.value} of {found.runs}"


def test_replay_is_cheaper_in_the_quick_form() -> None:
    """The cheapest of the costly ones."""
    case = next(case for case in CASES if COSTLY in case.group and "80%" in case.setting)
    assert measured(case, "quick").holds


@pytest.mark.parametrize("case", CHEAP, ids=lambda case: case.name)
def test_the_committed_figures_are_what_the_command_gives(case: Case) -> None:
    """Some full rows, computed again from their seeds."""
    assert measured(case).value == pytest.approx(committed()[case.name]["value"], rel=1e-6)


def test_the_committed_table_is_of_these_cases_and_holds() -> None:
    """Every case has its figure with its bounds, every bound holds, and both files are of the same figures."""
    assert len(CHEAP) >= 3
    assert list(committed()) == [case.name for case in CASES]
    results = [Result(case, committed()[case.name]["runs"], committed()[case.name]["value"]) for case in CASES]
    assert all(one.runs == one.case.runs and one.holds is not False for one in results)
    assert DATA.read_bytes() == data(results)
    assert TABLE.read_text(encoding="utf-8") == document(results)


def test_a_missed_bound_is_seen() -> None:
    """The naive test would miss the bound that the others hold, and a figure just beyond chance is a miss."""
    naive = next(case for case in CASES if "naive" in case.test and case.least == 0.3)
    case = next(case for case in CASES if case.most == 0.05)
    assert not Result(case, 1000, measured(naive, "quick").value).holds
    assert Result(case, 1000, 0.067).holds
    assert not Result(case, 1000, 0.069).holds


def test_sequences_at_once_are_the_streaming_ones() -> None:
    """What the simulations compute is what the classes say at every look."""
    rng = np.random.default_rng(3)
    values = coin(0.3)(rng, (1, 400))
    low, high = mean_path(values, 0.05)
    wide_low, wide_high = asymptotic_path(values, 0.05)
    missed = quantile_misses(values < 1.0, values <= 1.0, 0.8, 0.05)
    mean, wide, quantile = MeanSequence(0.0, 1.0, 0.05), AsymptoticSequence(0.05), QuantileSequence(0.8, 0.05)
    for at, value in enumerate(values[0].tolist()):
        for one in (mean, wide, quantile):
            one.add((value,))
        assert mean.interval() == pytest.approx((max(0.0, low[0, at]), min(1.0, high[0, at])))
        assert wide.interval() == pytest.approx((wide_low[0, at], wide_high[0, at]))
        seen = quantile.interval()
        assert bool(missed[0, at]) == (not seen[0] <= 1.0 <= seen[1])


def test_a_quantile_sequence_that_is_wrong_is_seen() -> None:
    """A quantile that is not the truth is outside in time, on either side, and the same in both forms."""
    values = np.random.default_rng(4).random((1, 2_000))
    sequence = QuantileSequence(0.5, 0.05)
    sequence.add(values[0].tolist())
    low, high = sequence.interval()
    for truth in (0.3, 0.45, 0.5, 0.55, 0.7):
        missed = quantile_misses(values < truth, values <= truth, 0.5, 0.05)
        assert bool(missed[0, -1]) == (not low <= truth <= high)
    assert low > 0.3
    assert high < 0.7


def test_the_adjustment_at_once_is_the_comparisons() -> None:
    """CUPED over all blocks gives the evidence of the gate's own comparison, message by message."""
    rng, share, count = np.random.default_rng(5), 0.2, 1_500
    draws = np.random.default_rng(6)
    world = traffic(np.random.default_rng(6), share, count)
    values, covariate = with_covariate(rng, (1, count))
    path = adjusted_differences(world, values, covariate)
    comparison = compare(Metric(name="score_error", kind="mean"), 0.0, 0.05, "split", "input_bytes")
    for tried, value, known in zip(draws.random(count) < share, values[0], covariate[0], strict=True):
        row = Row(1, [], [float(value)], float(known)) if tried else Row(0, [float(value)], [], float(known))
        comparison.add([row], 0)
    mean = MeanSequence(-REACH, REACH, 0.05)
    mean.add(path[0].tolist())
    interval = comparison.evidence().interval
    assert (interval.low, interval.high) == pytest.approx(mean.interval())
    assert REACH == 1.0 + 2.0 * LARGEST


def test_the_speed_of_a_message_is_measured() -> None:
    """Every comparison is timed; how fast it is, the command says on a quiet machine."""
    found = speeds(50)
    assert len(found) == 7
    assert all(fold > 0.0 and look > 0.0 for _, fold, look in found)
