"""The gate's comparisons: which way is better, what survives rounding, and evidence across stages."""

from __future__ import annotations

import math
import random

import pytest

from actors.gating.comparing import Comparison
from actors.gating.comparisons import compare
from actors.gating.records import Row
from subjects.experiment import Evidence, Metric, Mode

LEVEL = 0.02
COVARIATE = "input_bytes"


def split(seed: int, count: int, live: float, tried: float, spread: float = 0.0) -> list[Row]:
    """Messages to either release; 0 or 1 at a rate, or numbers in [0, 1] around it."""
    rng = random.Random(seed)  # noqa: S311 - a simulation

    def draw(rate: float) -> float:
        return min(1.0, max(0.0, rng.gauss(rate, spread))) if spread else float(rng.random() < rate)

    return [
        Row(1, [], [draw(tried)], rng.random()) if rng.random() < 0.5 else Row(0, [draw(live)], [], rng.random())
        for _ in range(count)
    ]


def pairs(rows: list[Row]) -> list[Row]:
    """The same numbers as pairs."""
    lives, trieds = [row.live for row in rows if row.live], [row.tried for row in rows if row.tried]
    return [Row(1, live, tried) for live, tried in zip(lives, trieds, strict=False)]


def judged(metric: Metric, stage: Mode, rows: list[Row], bound: float = 0.0, covariate: str = "") -> Evidence:
    """The evidence of messages."""
    comparison = compare(metric, bound, LEVEL, stage, covariate)
    comparison.add(rows, 0)
    return comparison.evidence()


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize(
    ("kind", "stage", "bound", "covariate"),
    [
        ("proportion", "replay", 0.0, ""),
        ("proportion", "split", 0.0, ""),
        ("proportion", "replay", 0.05, ""),
        ("proportion", "split", 0.05, ""),
        ("mean", "shadow", 0.0, ""),
        ("mean", "split", 0.0, ""),
        ("mean", "split", 0.0, COVARIATE),
        ("quantile", "replay", 0.0, ""),
        ("quantile", "split", 0.0, ""),
    ],
)
def test_every_comparison_knows_which_way_is_better(
    better: str, kind: str, stage: Mode, bound: float, covariate: str
) -> None:
    """A rise is evidence for better where higher is better, for worse where lower is; never for both."""
    metric = Metric(name="output.x", kind=kind, better=better, quantile=0.5)  # pyright: ignore[reportArgumentType] - parametrised
    rows = split(1, 4_000, 0.3, 0.6, 0.1 if kind != "proportion" else 0.0)
    rows = rows if stage == "split" else pairs(rows)
    found = judged(metric, stage, rows, bound, covariate)
    good, bad = (found.e_better, found.e_worse) if better == "higher" else (found.e_worse, found.e_better)
    assert good >= 1.0 / LEVEL > 1.0 > bad
    assert found.effect is not None
    assert found.interval.low is not None
    assert found.interval.high is not None
    assert found.interval.low <= found.effect <= found.interval.high
    assert found.effect == pytest.approx(0.3, abs=0.05)


def test_a_bound_allows_so_much_worse() -> None:
    """Worse by less than the bound is no evidence, by more it is."""
    metric = Metric(name="failed", better="lower")
    rows = pairs(split(2, 8_000, 0.1, 0.15))
    assert judged(metric, "replay", rows, 0.1).e_worse < 1.0
    assert judged(metric, "replay", rows, 0.01).e_worse > 1.0 / LEVEL


@pytest.mark.parametrize("covariate", ["", COVARIATE])
def test_numbers_at_the_bounds_survive_rounding(covariate: str) -> None:
    """A mean of equal numbers may be rounded beyond them: the comparison must not take that for a bad number."""
    rng = random.Random(3)  # noqa: S311 - a simulation
    for _ in range(200):
        high = rng.uniform(1.0, 1000.0)
        metric = Metric(name="run_ms", kind="mean", better="lower", low=0.0, high=high)
        rows = [Row(1, [], [0.0]) if n % 8 == 7 else Row(0, [high], [], float(n)) for n in range(100)]
        assert judged(metric, "split", rows, 0.0, covariate).e_better > 1.0


def test_a_stage_of_quantiles_that_shows_nothing_leaves_enough() -> None:
    """Half of the capital stays: after two silent stages the third can still reach the level by itself."""
    metric = Metric(name="run_ms", kind="quantile", better="lower", quantile=0.5)
    silent = judged(metric, "split", split(4, 100, 0.5, 0.5, 0.1)).e_better
    told = judged(metric, "split", split(4, 4_000, 0.6, 0.3, 0.1)).e_better
    assert silent == 0.5
    assert silent * silent * told >= 1.0 / LEVEL


def test_quantile_evidence_is_a_fair_bet() -> None:
    """The chance that the sequences ever part, times what is won then, plus what is kept, is at most 1."""
    metric = Metric(name="run_ms", kind="quantile", better="lower", quantile=0.5)
    found = judged(metric, "split", split(4, 4_000, 0.6, 0.3, 0.1))
    wrong = 1.0 - found.interval.confidence
    assert 0.5 + wrong * (found.e_better - 0.5) <= 1.0 + 1e-9


def test_the_adjustment_of_a_block_does_not_know_its_own_messages() -> None:
    """Numbers that the covariate explains fully give nothing but the blocks before: order within a block is nothing."""
    metric = Metric(name="score_error", kind="mean", better="lower")
    rows = split(5, 400, 0.5, 0.5, 0.1)

    def swapped(*, first: bool) -> Comparison:
        comparison = compare(metric, 0.0, LEVEL, "split", COVARIATE)
        for live, tried in zip([r for r in rows if r.live], [r for r in rows if r.tried], strict=False):
            comparison.add([live, tried] if first else [tried, live], 0)
        return comparison

    assert swapped(first=True).evidence().e_better == pytest.approx(swapped(first=False).evidence().e_better)


def test_a_covariate_makes_the_comparison_sharper() -> None:
    """The same messages, the same small effect: more evidence where the covariate explains most of the spread."""
    rng = random.Random(6)  # noqa: S311 - a simulation
    metric = Metric(name="score_error", kind="mean", better="lower")
    rows: list[Row] = []
    for _ in range(10_000):
        known, tried = rng.gauss(0.0, 1.0), rng.random() < 0.5
        value = min(1.0, max(0.0, 0.5 + 0.1 * known + rng.gauss(0.0, 0.02) - 0.006 * tried))
        rows.append(Row(1, [], [value], known) if tried else Row(0, [value], [], known))
    plain, adjusted = (judged(metric, "split", rows, 0.0, one).e_better for one in ("", COVARIATE))
    assert adjusted > 10.0 * plain


def test_nothing_seen_is_no_evidence() -> None:
    """Before the first message, and where messages do not tell, every figure says that nothing is known."""
    for kind in ("proportion", "mean", "quantile"):
        for stage in ("replay", "split"):
            metric = Metric(name="output.x", kind=kind)
            found = judged(metric, stage, [Row(1, [None], [None]), Row(1, [], [None])])
            assert (found.n_live, found.n_candidate, found.effect) == (0, 0, None)
            assert found.e_better <= 1.0
            assert found.e_worse <= 1.0
            assert not math.isnan(found.e_better)
