"""What genomes are measured by, what is remembered of them, and how fast that goes."""

from __future__ import annotations

import math

import pytest

from actors.breeding.fitness_cache import FitnessCache, SheetKey
from actors.breeding.sheet import Result, Sheet
from actors.breeding.tally import Rate
from actors.breeding.yardstick import Yardstick
from chimera.errors import BadMessageError
from chimera.testing import ManualClock
from subjects.agent import Manifest
from subjects.evolution import Descriptor, Objective
from subjects.experiment import Metric
from subjects.trial import Failed, GenomeRun
from tests.support.examining import MANIFEST, split_of

CASES = split_of(100).train
TRAP = Failed(place=1, outcome="agent-trap", detail="it trapped")
COST = Objective(metric=Metric(name="cpu_ms", kind="mean", better="lower", high=50.0))


def run_of(*columns: list[bool | float | int | str | None], failures: list[Failed] | None = None) -> GenomeRun:
    """A run on three cases, with 1, 2 and 3 ms."""
    return GenomeRun(
        checksum="c", tasks=3, outputs=list(columns), failures=failures or [], cpu_ms=[1.0, 2.0, 3.0],
        run_ms=[2.0, 4.0, 6.0],
    )  # fmt: skip


def test_only_what_is_needed_is_asked_for():
    """Fields of label, score and descriptors, each once; times only where an objective needs them."""
    plain = Yardstick([Objective(metric=Metric(name="failed"))], [], MANIFEST)
    assert (plain.fields, plain.times) == ((), False)
    rich = Yardstick(
        [Objective(), Objective(statistic="correlation"), COST, Objective(metric=Metric(name="score_error"))],
        [Descriptor(name="warmth"), Descriptor(name="run_ms", high=9.0)], MANIFEST,
    )  # fmt: skip
    assert (rich.fields, rich.times) == (("label", "score", "warmth"), True)
    assert len(rich.gauges) == 6
    assert rich.digest != plain.digest


def test_a_failed_task_is_wrong_dear_and_without_behaviour():
    """Nobody gains by failing: wrong label, most cost; a descriptor leaves it out."""
    stick = Yardstick([Objective(), COST], [Descriptor(name="warmth", high=10.0)], MANIFEST)
    rows = stick.read(run_of(["up", None, "down"], [3.0, None, True], failures=[TRAP]), CASES, [4, 5, 6])
    assert rows[0] == [1.0, 0.0, 0.0]
    assert rows[1] == [1.0, 50.0, 3.0]
    assert rows[2][0] == 3.0
    assert [math.isnan(one) for one in rows[2]] == [False, True, True]


def test_a_failed_task_speaks_against_the_correlation():
    """What was not said counts as the opposite of what people said."""
    stick = Yardstick([Objective(statistic="correlation")], [], MANIFEST)
    places = [0, 1, 2]
    judged = [CASES.cases[place].score or 0.0 for place in places]
    said = stick.read(run_of([*judged[:1], None, *judged[2:]], failures=[TRAP]), CASES, places)[0]
    assert said == [judged[0], 2 * CASES.centre - judged[1], judged[2]]


def test_what_can_not_be_measured_is_refused():
    """A quantile is no mean over cases; a correlation needs a score."""
    with pytest.raises(BadMessageError, match="by means"):
        Yardstick([Objective(metric=Metric(name="run_ms", kind="quantile"))], [], MANIFEST)
    with pytest.raises(BadMessageError, match="score"):
        Yardstick([Objective(statistic="correlation")], [], Manifest(name="mute"))


def test_an_estimate_is_of_the_cases_that_count():
    """Figures that other evaluations left on the sheet do not count here."""
    stick = Yardstick([Objective()], [], MANIFEST)
    sheet = Sheet(len(CASES), 1)
    sheet.fill([0, 1, 2, 3], [[1.0, 0.0, 1.0, math.nan]])
    result = Result("c", sheet, places=[2, 0, 3, 9])
    assert result.figures(0) == [(2, 1.0), (0, 1.0)]
    assert (stick.estimate(0, result, CASES).n, stick.estimate(0, result, CASES).value) == (2, 1.0)


def test_the_cache_is_bounded_and_keeps_what_is_used():
    """The least lately used sheets go first, by their bytes."""
    size = Sheet(1000, 2).size
    cache = FitnessCache(most=3 * size)
    keys = [SheetKey(str(n), "cases", "stick") for n in range(4)]
    for key in keys[:3]:
        cache.keep(key, Sheet(1000, 2))
    cache.keep(keys[2], Sheet(1000, 2))
    assert (len(cache), cache.size) == (3, 3 * size)
    assert cache.find(keys[0]) is not None
    cache.keep(keys[3], Sheet(1000, 2))
    assert cache.find(keys[1]) is None
    assert all(cache.find(keys[n]) is not None for n in (0, 2, 3))
    assert cache.size <= 3 * size


@pytest.mark.anyio
async def test_the_rate_follows_what_happens():
    """A steady stream has its rate from the start; when it stops, the rate falls."""
    clock = ManualClock()
    rate = Rate(clock, span_s=20.0)
    assert rate.per_s == 0.0
    for _ in range(10):
        await clock.advance(1.0)
        rate.add(5)
    assert rate.per_s == pytest.approx(5.0, rel=0.1)
    for _ in range(200):
        await clock.advance(1.0)
        rate.add(5)
    assert rate.per_s == pytest.approx(5.0, rel=0.1)
    await clock.advance(60.0)
    assert rate.per_s < 0.5
