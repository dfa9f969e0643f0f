"""Prices, budgets, energy and the ways to spend less: each figure by hand, and nothing told that is not known."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest

from actors.brokering.planning import FEW_MINUTES, Known, plan
from actors.costing import batching, idleness, mix
from actors.costing.batching import Ended
from actors.costing.buckets import DAY, HOUR, MINUTE, US, Bucket, Lend, Use, Who
from actors.costing.budget import Budget, Live, Rates, Standing, by_tenant, standing, view, whole_period, words
from actors.costing.energy import Gauge
from actors.costing.idleness import Idle
from actors.costing.mix import Site, Wanted
from actors.costing.outlook import hourly, outlook, recommend
from actors.costing.prices import Sort, Table, Tariff, mean_rate
from actors.costing.solver import Row, cheapest
from actors.costing.statement import Curves, Open, power, statement
from actors.costing.timeline import Timeline
from subjects.capacity import CapacityPoint
from subjects.cost import Price
from subjects.lease import LeaseInterval

NOW = 1_800_000_000.0
A100 = Sort("gpu", "NVIDIA A100-SXM4-80GB", 1000, 8)
BARE, BESIDE = Sort("cpu", "x86_64", 16_000, 0), Sort("cpu", "x86_64", 64_000, 8)
PRICES = (
    Price(model="A100", per_hour=24.0, gpus=8, processors=64),
    Price(model="A100", per_hour=4.0, gpus=1, processors=16),
    Price(model="A100", per_hour=8.0, gpus=8, processors=64, spot=True),
    Price(model="A100-SXM4-80GB", per_hour=32.0, gpus=8, processors=64),
    Price(model="", per_hour=0.8, processors=8),
)  # fmt: skip
TABLE = Table(0.0, "EUR", PRICES)


@pytest.mark.parametrize(
    ("sort", "per_hour"),
    [
        (A100, 4.0),  # the row that says most of its name
        (Sort("gpu", "NVIDIA A100-PCIE", 1000, 8), 3.0),  # of eight, not spot
        (Sort("gpu", "NVIDIA A100-PCIE", 1000, 1), 4.0),  # of one
        (Sort("gpu", "NVIDIA H200", 1000, 8), None),
        (BARE, 1.6),  # twice the processors
        (BESIDE, 0.0),  # its GPUs have paid
    ],
)
def test_a_device_costs_its_part_of_the_node(sort: Sort, per_hour: float | None):
    """A GPU costs its part of a node of its model and size; what no row speaks of has no price, not a made-up one."""
    assert TABLE.per_hour(sort) == per_hour
    assert Table().per_hour(sort) is None


def test_the_first_prices_hold_for_the_past_and_later_ones_do_not():
    """What was used before any price was set is counted with the first; a change counts from its own time."""
    first = Tariff().followed_by(Table(500.0, "EUR", PRICES[:1]))
    both = Tariff(Tariff(first).followed_by(Table(900.0, "EUR", PRICES[1:2])))
    assert [table.since for table in both.tables] == [0.0, 900.0]
    assert both.money(A100, 0, 1800) == pytest.approx(900 / 3600 * 3 + 900 / 3600 * 4)
    assert mean_rate(TABLE, [A100, Sort("gpu", "H200", 1000, 8)]) is None


def test_a_meter_that_begins_anew_loses_nothing_and_invents_nothing():
    """Energy before the first word is not counted, a reset counts from nothing, silence is no reading."""
    gauge = Gauge()
    gauge.take("a", 1e9, "counter")
    gauge.take("a", 1e9 + 50, "counter")
    gauge.take("a", 20.0, "integrated")
    gauge.take("b", 5.0, "none")
    assert gauge.draw(["a", "b"]) == (70.0, "integrated")
    assert gauge.draw(["a", "b"]) == (0.0, "none")
    gauge.keep([])
    gauge.take("a", 500.0, "counter")
    assert gauge.draw(["a"]) == (0.0, "counter")


def test_power_is_measured_declared_or_unknown():
    """A sample's joules count; a node that tells none counts with declared watts if there are any; a GPU never."""
    measured = Bucket(0, MINUTE, lend={("gpu", "m"): Lend(1, 4, 4, joules=24_000, metered=1, source="counter")})
    silent = Bucket(0, MINUTE, lend={("cpu", "m"): Lend(1, 2, 16), ("gpu", "m"): Lend(1, 4, 4)})
    assert power(measured, ("gpu", "m"), Table()).watts == 100.0
    assert power(silent, ("cpu", "m"), Table()).source == "none"
    told = power(silent, ("cpu", "m"), Table(watts=7.0))
    assert (told.watts, told.source) == (7.0, "declared")
    assert power(silent, ("gpu", "m"), Table(watts=7.0)).source == "none"


def live(tenant: str, began: float, expires: float, share: float = 1.0) -> Live:
    """A share of an A100."""
    who = Who("l", tenant, "")
    return Live(
        Open(who, A100, f"{tenant}{began}", round(began * US), round(NOW * US), round(share * US), 1000), expires
    )


def test_a_budget_counts_what_ended_and_what_is_live():
    """Used: what ended in the period and what live leases had of it; committed: until they expire or it renews."""
    budget = Budget("money", 100.0, float(DAY))
    begin = NOW // DAY * DAY
    rates = Rates(Tariff((TABLE,)), ())
    use = {(Who("l", "t", ""), A100): Use(3600 * US * US), (Who("l", "u", ""), A100): Use(9000 * US * US)}
    buckets = [Bucket(int(begin) - HOUR, HOUR, use), Bucket(int(begin), HOUR, use)]
    opens = [live("t", begin - 500, NOW + 1800, 0.5), live("u", begin, NOW + 100), live("t", NOW - 5, NOW + 10 * DAY)]
    at = standing(
        budget, by_tenant(buckets, {"t"})["t"], [opens[0], opens[2]], curves=Curves(buckets, rates.tariff), rates=rates,
        now=NOW,
    )  # fmt: skip
    assert at.used == pytest.approx(4.0 + 4.0 * 0.5 * (NOW - begin) / 3600 + 4.0 * 5 / 3600)
    assert at.committed == pytest.approx(4.0 * 0.5 * 0.5 + 4.0 * (begin + DAY - NOW) / 3600)
    assert at.per_s == pytest.approx(4.0 * 1.5 / 3600)
    shown = view("t", budget, at, NOW)
    assert shown.left == pytest.approx(max(0.0, 100 - at.used - at.committed))
    assert shown.runs_out_at is None or shown.runs_out_at < begin + DAY
    late = view("t", Budget("money", at.used + 1e-3, float(DAY)), at, NOW)
    assert late.runs_out_at == pytest.approx(NOW + 1e-3 / at.per_s)


def test_what_has_no_price_hides_nothing_else_from_a_budget():
    """Of a tenant's use the priced part counts, also where another part of it has no price."""
    alien = Sort("gpu", "H200", 1000, 8)
    use = {(Who("l", "t", ""), sort): Use(3600 * US * US) for sort in (A100, alien)}
    rates, budget = Rates(Tariff((TABLE,)), ()), Budget("money", 10.0, float(DAY))
    buckets = [Bucket(int(NOW // DAY * DAY), HOUR, use)]
    curves = Curves(buckets, rates.tariff)
    assert standing(budget, buckets, [], curves=curves, rates=rates, now=NOW).used == pytest.approx(4.0)
    assert rates.per_s("money", alien) is None
    assert rates.per_s("joules", A100) is None


def test_periods_are_as_exact_as_the_ledger():
    """Whole minutes to a day, whole hours to a month, whole days above; the words say when it renews."""
    assert [whole_period(one) for one in (61, DAY, DAY + 1, 32 * DAY + 1)] == [120, DAY, DAY + HOUR, 33 * DAY]
    text = words("t", Budget("money", 10.0, float(DAY)), Standing(0.0, used=9.5, committed=0.25), "EUR")
    assert text == (
        "the budget of tenant t is 10 EUR per day: 9.5 are used and 0.25 are committed by live leases; it renews at "
        "1970-01-02 00:00 UTC"
    )


# -- ways to spend less ------------------------------------------------------------------------------------------------


def demand(gpus: float = 9.0) -> Wanted:
    """Nine A100 at the peak."""
    return Wanted({"NVIDIA A100": gpus}, gpus, 70.0, 1000, 0.0, 500)


SITES = [Site(f"n{number}", {"NVIDIA A100": 8}, 64.0, 512_000) for number in range(4)]
MIX = Table(0.0, "EUR", (*PRICES[:3], PRICES[4]))


def test_the_cheapest_mix_is_found_and_proved():
    """For nine GPUs one node of eight and one of one, not two of eight; spot only as far as leases may be taken."""
    found = mix.solve(MIX, SITES, demand())
    assert found is not None
    assert (found.counts, found.proved) == ((1, 1, 0, 0), True)
    saving, text = mix.saving(MIX, SITES, demand(), found)
    assert saving is not None
    assert (saving.saves, saving.basis, saving.unit, text) == (pytest.approx((96 - 28) * 24), "modelled", "money", "")
    free = demand()
    free.spot = 1.0
    spotted = mix.solve(MIX, SITES, free)
    assert spotted is not None
    assert spotted.counts[2] == 1
    assert mix.solve(MIX, SITES, Wanted({"H200": 1.0}, 1.0)) is None


def test_what_a_row_does_not_say_of_its_node_is_taken_from_such_nodes():
    """Two bare nodes of eight processors: a row without a size is one of them, and one of four is half."""
    sites = [Site("a", {}, 8.0, 1000), Site("b", {}, 8.0, 1000)]
    table = Table(0.0, "EUR", (Price(model="", per_hour=1.0), Price(model="", per_hour=0.45, processors=4)))
    found = mix.solve(table, sites, Wanted(processors=12.0, memory_mib=1500))
    assert found is not None
    assert found.counts == (0, 3)
    found = mix.solve(table, sites, Wanted(processors=8.0, memory_mib=1000))
    assert found is not None
    assert found.counts == (0, 2)
    assert mix.present(sites, Table(0.0, "EUR", table.prices[:1])) == 2.0


def test_no_mix_is_proposed_that_costs_more_or_that_can_not_be_priced():
    """Where the present nodes are the cheapest, or one has no price, it is said."""
    assert "cheapest" in mix.saving(MIX, SITES[:1], demand(8), mix.solve(MIX, SITES[:1], demand(8)))[1]
    alien = [Site("x", {"H200": 8}, 64.0, 0)]
    assert "no price" in mix.saving(MIX, alien, demand(), None)[1]


def test_the_solver_against_trying_everything():
    """On small cases the least cost is that of all combinations."""
    draw = random.Random(7)  # noqa: S311 - cases, not secrets
    for _ in range(20):
        costs = [draw.randint(1, 9) for _ in range(3)]
        rows = [Row([draw.randint(0, 4) for _ in range(3)], draw.randint(0, 9)) for _ in range(2)]
        found = cheapest(costs, rows, 9, 5.0)
        combinations = [(a, b, c) for a in range(10) for b in range(10) for c in range(10)]
        able = [
            sum(cost * count for cost, count in zip(costs, counts, strict=True))
            for counts in combinations
            if all(sum(w * n for w, n in zip(row.weights, counts, strict=True)) >= row.least for row in rows)
        ]
        assert (found is None) == (not able)
        if found is not None:
            assert sum(cost * count for cost, count in zip(costs, found.counts, strict=True)) == min(able)


def test_a_change_of_prices_splits_an_old_hour():
    """Long after it, each part of an hour in which prices changed has its own price."""
    change = NOW // HOUR * HOUR - 5 * DAY + 1200.0
    tables = (
        Table(0.0, "EUR", (Price(model="A100", per_hour=1.0),)),
        Table(change, "EUR", (Price(model="A100", per_hour=10.0),)),
    )
    tariff, timeline = Tariff(tables), Timeline(NOW)
    timeline.cut([change])
    timeline.take(1, LeaseInterval(
        lease="l", device="g", node="n", kind="gpu", model="A100", layer="l", tenant="t", agent="", milli=1000,
        memory_mib=0, share=1.0, token=1, began_at=change - 1200, ended_at=change + 2400, end="released",
    ))  # fmt: skip
    since = change - DAY
    told = statement(timeline.view(since), [], (since, NOW), tariff, fleet={})
    assert told.cost == pytest.approx(1200 / 3600 * 1.0 + 2400 / 3600 * 10.0)


def test_idle_leases_are_told_with_what_they_cost():
    """Ten minutes without use count, at the price of their share, else at their power; else only in words."""
    idle = [Idle("a", 1.0, 700.0, 2.0, 50.0), Idle("b", 0.5, 3600.0, 1.0, None), Idle("c", 1.0, 30.0, 9.0, 9.0)]
    saving, _ = idleness.saving(idle)
    assert saving is not None
    assert (saving.saves, saving.basis, saving.figures["leases"]) == (72.0, "measured", 2.0)
    assert saving.how.startswith("chimera gpu release b")
    watts, _ = idleness.saving([Idle("a", 1.0, 700.0, None, 10.0)])
    assert watts is not None
    assert (watts.unit, watts.saves) == ("joules", 864_000.0)
    assert idleness.saving([Idle("a", 1.0, 700.0, None, None)])[0] is None
    assert "no live lease" in idleness.saving([])[1]


def tasks(sizes: list[int], own_s: float, each_s: float, noise: float = 0.0) -> list[Ended]:
    """Batches of these sizes, half a second apart."""
    found, draw = list[Ended](), random.Random(3)  # noqa: S311 - noise, not secrets
    for number, size in enumerate(sizes):
        seconds = own_s + each_s * size + draw.gauss(0, noise)
        found += [Ended("a", "n", NOW + number * 0.5 + part * 1e-4, seconds / size) for part in range(size)]
    return found


def test_a_timeout_saves_what_a_batch_itself_takes():
    """With 8 ms for a batch and 0.5 ms for a task, waiting makes larger batches; the saving is the model's own sum."""
    ended = tasks([1, 2, 1, 3, 1, 2] * 10, 0.008, 0.0005, 1e-4)
    found = batching.batches(ended)
    assert [int(size) for size, _ in found] == [1, 2, 1, 3, 1, 2] * 10
    saving, text = batching.saving("a", ended, slack_s=1.0, watts_busy=60.0, seconds=30.0)
    assert saving is not None, text
    rate, now = len(ended) / 30.0, len(ended) / 60
    assert saving.figures["own_ms"] == pytest.approx(8.0, rel=0.1)
    assert saving.saves == pytest.approx(rate * 86_400 * 0.008 * (1 / now - 1 / (1 + rate)) * 60, rel=0.1)
    assert (saving.basis, saving.unit) == ("modelled", "joules")


def test_where_waiting_saves_nothing_it_is_said():
    """No time of its own, no slack, too few batches, or no power curve: words, and no figure."""
    assert "no time of its own" in batching.saving(
        "a", tasks([1, 2, 3] * 20, 0.0, 0.01, 1e-3), slack_s=1, watts_busy=60, seconds=30
    )[1]  # fmt: skip
    ended = tasks([1, 2] * 30, 0.008, 0.0005)
    assert "no larger batches" in batching.saving("a", ended, slack_s=0.0, watts_busy=60, seconds=30)[1]
    assert "tell nothing" in batching.saving("a", ended[:9], slack_s=1.0, watts_busy=60, seconds=30)[1]
    assert batching.power_line([(0.5, 100.0)] * 100) is None
    curve = batching.power_line([(number / 100, 10 + 60 * number / 100) for number in range(60)])
    assert curve is not None
    assert (curve.a, curve.b) == (pytest.approx(10.0), pytest.approx(60.0))


def test_the_plan_says_honestly_what_it_lacks():
    """With nothing recorded and no prices there is no saving, and a sentence for each kind of it."""
    nothing = Known(
        now=NOW, buckets=(), records=(), sites=(), tariff=Tariff(), packing="pack", idle=(), spot=0.0, tasks=(),
        slack_s=0.05,
    )  # fmt: skip
    found = plan(nothing, lambda: False)
    assert found.savings == []
    for word in ("no prices", "node mix", "idle release", "consolidation", "batching"):
        assert any(word in text for text in found.words), word
    minutes = [Bucket(60 * n, MINUTE, lend={("gpu", "m"): Lend(1, 1, 1, 1)}) for n in range(FEW_MINUTES - 1)]
    few = Known(
        now=NOW, buckets=minutes, records=(), sites=SITES, tariff=Tariff((MIX,)), packing="pack", idle=(), spot=0.0,
        tasks=(), slack_s=0.05,
    )  # fmt: skip
    assert any(f"at least {FEW_MINUTES}" in text for text in plan(few, lambda: False).words)


# -- capacity ----------------------------------------------------------------------------------------------------------


def test_hours_are_known_only_with_enough_minutes():
    """Whole hours with half of their minutes count; the hour that runs now, and gaps, do not."""
    start = int(NOW) // HOUR * HOUR - 4 * HOUR
    minutes = [
        Bucket(start + 60 * n, MINUTE, lend={("gpu", "a"): Lend(1, 4, 4, 2.0), ("gpu", "b"): Lend(1, 4, 4, 1.0)},
               waiting={"gpu": 0.5})
        for n in (*range(60), *range(60, 80), *range(120, 175), *range(240, 290))
    ]  # fmt: skip
    since, values = hourly(minutes, "gpu", NOW)
    assert since == start
    np.testing.assert_allclose(values, [3.5, np.nan, 3.5])
    assert hourly(minutes, "cpu", NOW)[1].size == 0


def test_a_forecast_learns_the_day_and_tells_its_error():
    """Ten days of a daily rhythm with noise: it beats the naive method, and its interval holds what it promises."""
    draw = np.random.default_rng(5)
    hours = np.arange(240)
    values = 6 + 4 * np.sin(2 * np.pi * hours / 24) + draw.normal(0, 0.4, hours.size)
    now = 240 * HOUR + 60.0
    found = outlook("gpu", 0, values, there=8.0, lent=5.0, hours=48, now=now)
    assert len(found.points) == 48
    assert found.points[0].at == 241 * HOUR
    truth = 6 + 4 * np.sin(2 * np.pi * (np.array([one.at for one in found.points]) // HOUR) / 24)
    assert np.abs(truth - [one.expected for one in found.points]).mean() < 1.0
    assert found.error is not None
    assert found.naive_error is not None
    assert found.coverage is not None
    assert found.error < 1.0
    assert found.coverage > 0.7
    assert found.recommendation.startswith("add ")
    assert "held-out" in found.recommendation


def test_what_to_do_follows_from_the_upper_bound():
    """Above what is there: add, by when; far below: give back; else nothing."""
    points = [CapacityPoint(at=HOUR * n, expected=5.0, low=4.0, high=6.0 + n) for n in range(4)]
    assert recommend("gpu", points, 7.5, 0.3).startswith("add 2 GPUs by 1970-01-01 02:00 UTC")
    assert recommend("gpu", points, 40.0, 0.3).startswith("25 GPUs could be given back")
    assert recommend("gpu", points, 10.0, 0.3).startswith("nothing to do")


def test_the_broker_starts_without_heavy_libraries():
    """Importing the actor and the command line loads neither scipy nor numpy."""
    code = (
        "import sys, actors.gpu_broker, chimera.cli.gpu_costs; "
        "sys.exit(any(name in sys.modules for name in ('numpy', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
