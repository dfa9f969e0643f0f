"""The ledger adds up: whatever is told, however often, in whatever order and however old it grows."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.costing.buckets import DAY, HOUR, US, Use, Who, micros
from actors.costing.prices import HOUR_S, Sort, Table, Tariff
from actors.costing.statement import Curves, Open, statement, sums
from actors.costing.timeline import DAYS_FOR, OTHERS, Timeline
from subjects.cost import Price
from subjects.lease import LeaseInterval, Sampled

NOW = 1_800_000_000.0
SORT = Sort("gpu", "A100", 1000, 4)

ages = st.floats(0, 390 * DAY)
lengths = st.floats(0, 40 * DAY)
shares = st.integers(1, 1000)


@st.composite
def intervals(draw: st.DrawFn) -> list[LeaseInterval]:
    """Lines of the ledger, of a few tenants and agents, up to more than a year old."""
    rows: list[LeaseInterval] = []
    for number in range(draw(st.integers(0, 25))):
        end = NOW - draw(ages)
        milli = draw(shares)
        rows.append(LeaseInterval(
            lease=f"l{number // 2}", device=f"g{number % 5}", node="n", kind="gpu", model="A100", layer="l",
            tenant=draw(st.sampled_from("ab")), agent=draw(st.sampled_from("xyz")), milli=milli, memory_mib=0,
            share=milli / 1000, token=number, began_at=max(NOW - 399 * DAY, end - draw(lengths)), ended_at=end,
            end="released", device_milli=1000, node_gpus=4,
        ))  # fmt: skip
    return rows


def by_who(timeline: Timeline) -> dict[Who, Use]:
    """Sums over all buckets."""
    found: dict[Who, Use] = {}
    for bucket in timeline.view(0):
        for (who, _), use in bucket.use.items():
            old = found.get(who, Use())
            found[who] = Use(old.share + use.share, old.milli + use.milli, old.leases + use.leases)
    return found


def truth(rows: list[LeaseInterval]) -> dict[Who, tuple[int, int]]:
    """The same, straight from the intervals."""
    found: dict[Who, tuple[int, int]] = {}
    for one in rows:
        length, who = micros(one.ended_at) - micros(one.began_at), Who(one.layer, one.tenant, one.agent)
        share, milli = found.get(who, (0, 0))
        found[who] = share + length * round(one.share * US), milli + length * one.milli
    return found


@settings(deadline=None, max_examples=60)
@given(intervals(), st.randoms(use_true_random=False), st.lists(st.floats(0, 3 * DAY), max_size=3))
def test_the_sum_of_all_buckets_is_the_sum_of_all_intervals(
    rows: list[LeaseInterval], random: Random, later: list[float]
):
    """To the microsecond: in any order, told twice, redelivered, cut by prices, and folded as time goes on."""
    timeline, told = Timeline(NOW), rows + rows[::2]
    random.shuffle(told)
    timeline.cut([NOW // 60 * 60 - 7200, NOW // 60 * 60 - 40 * DAY])
    now = NOW
    for seq, one in enumerate(told, 1):
        timeline.take(seq, one)
        timeline.take(seq, one)
        if later and seq % 9 == 0:
            now = min(now + later[seq % len(later)], NOW + 0.9 * DAY)
            timeline.advance(now)
    found = by_who(timeline)
    assert {who: (use.share, use.milli) for who, use in found.items() if use.share or use.leases} == {
        who: sums for who, sums in truth(rows).items() if sums != (0, 0) or who in found
    }
    assert sum(use.leases for use in found.values()) == len({one.lease for one in rows})
    assert timeline.repeated == len(rows[::2])
    assert timeline.cells == sum(len(bucket.use) for bucket in timeline.buckets.values())


@settings(deadline=None, max_examples=25)
@given(intervals(), st.integers(1, 8))
def test_memory_is_bounded_and_the_sums_stay(rows: list[LeaseInterval], most: int):
    """With too many agents some are counted together, under their tenant as long as that goes: nothing is lost."""
    timeline = Timeline(NOW, most_cells=most)
    for seq, one in enumerate(rows, 1):
        timeline.take(seq, one)
    found = by_who(timeline)
    assert sum(use.share for use in found.values()) == sum(share for share, _ in truth(rows).values())
    agents = {who.agent for who in found}
    assert agents <= {"x", "y", "z", OTHERS}
    buckets = len(timeline.buckets)
    assert timeline.cells <= 2 * most + buckets  # one for all others in each bucket


def test_what_is_too_old_is_dropped():
    """After a year and a month nothing is left of it, in memory neither."""
    timeline = Timeline(NOW)
    timeline.take(1, LeaseInterval(
        lease="l", device="g", node="n", kind="gpu", model="A100", layer="l", tenant="t", agent="a", milli=1000,
        memory_mib=0, share=1.0, token=1, began_at=NOW - 500, ended_at=NOW, end="expired",
    ))  # fmt: skip
    timeline.advance(NOW + DAYS_FOR + 3 * DAY)
    assert (timeline.buckets, timeline.cells) == ({}, 0)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1000)), min_size=1, max_size=6, unique_by=lambda one: one[0]),
    st.integers(-1000, 7000), st.integers(0, 5000), st.integers(0, 3000),
)  # fmt: skip
def test_money_is_the_same_however_an_interval_is_split(
    changes: list[tuple[int, float]], begin: int, first: int, second: int
):
    """An interval that lies under several price tables costs the sum of its parts, and each part its own price."""
    tables = tuple(
        Table(60.0 * at, "EUR", (Price(model="A100", per_hour=price, gpus=4),)) for at, price in sorted(changes)
    )
    tariff, middle = Tariff(tables), begin + first
    end = middle + second
    whole, *parts = (tariff.money(SORT, *pair) for pair in ((begin, end), (begin, middle), (middle, end)))
    assert whole == pytest.approx(sum(part or 0.0 for part in parts))
    slow = sum((tables[tariff.number(at)].per_hour(SORT) or 0.0) / HOUR_S for at in range(begin, end))
    assert whole == pytest.approx(slow, rel=1e-6, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 80), st.integers(1, 30), st.integers(1, 4)), max_size=8),
    st.lists(st.floats(0, 50_000), min_size=80, max_size=80),
    st.integers(0, 30), st.sampled_from([2 * HOUR, 3 * DAY, 60 * DAY]),
)  # fmt: skip
def test_energy_is_shared_out_whole(uses: list[tuple[int, int, int]], joules: list[float], gap: int, age: int):
    """What lease lines and the idle line have together is what the devices used, also where minutes were not told."""
    start = (int(NOW) - age) // HOUR * HOUR
    timeline, seq = Timeline(NOW), 0
    for number, used in enumerate(joules):
        if number % 31 != gap:
            seq += 1
            timeline.sample(seq, Sampled(
                at=start + 60.0 * (number + 1), kind="gpu", model="A100", devices=32, total=32.0, lent=0.0, wanted=0.0,
                waiting=0, busy=None, joules=used, joules_from="integrated",
            ))  # fmt: skip
    opens: list[Open] = []
    for number, (at, minutes, devices) in enumerate(uses):
        begin, end = start + 60 * at, min(start + 60 * (at + minutes), start + 80 * 60)
        if number % 2:
            opens.append(Open(Who("l", "open", ""), SORT, f"o{number}", begin * US, end * US, devices * US, 1000))
            continue
        seq += 1
        timeline.take(seq, LeaseInterval(
            lease=f"l{number}", device="g", node="n", kind="gpu", model="A100", layer="l", tenant="t", agent="",
            milli=1000, memory_mib=0, share=float(devices), token=number, began_at=begin, ended_at=max(begin, end),
            end="released", device_milli=1000, node_gpus=4,
        ))  # fmt: skip
    measured = sum(used for number, used in enumerate(joules) if number % 31 != gap)
    found = statement(timeline.view(timeline.floor(start)), opens, (timeline.floor(start), NOW), Tariff(), fleet={})
    assert found.joules == pytest.approx(measured, rel=1e-6, abs=1e-3)
    assert all((row.joules or 0.0) >= 0 for row in found.lines)


def test_an_open_interval_is_counted_as_if_it_were_in_the_ledger():
    """A lease has the same hours and joules a moment before its end, when it is live, and after it."""
    rows = [
        Sampled(
            at=NOW // 60 * 60 - 60 * number, kind="gpu", model="A100", devices=4, total=4.0, lent=1.0, wanted=0.0,
            waiting=0, busy=None, joules=1000.0 * number, joules_from="counter",
        )
        for number in range(30, 0, -1)
    ]  # fmt: skip
    before, after = Timeline(NOW), Timeline(NOW)
    for seq, row in enumerate(rows, 1):
        before.sample(seq, row)
        after.sample(seq, row)
    begin, end = NOW // 60 * 60 - 1234.5, NOW // 60 * 60 - 321.25
    after.take(100, LeaseInterval(
        lease="l", device="g", node="n", kind="gpu", model="A100", layer="l", tenant="t", agent="a", milli=500,
        memory_mib=0, share=0.5, token=1, began_at=begin, ended_at=end, end="released", device_milli=1000, node_gpus=4,
    ))  # fmt: skip
    one = Open(Who("l", "t", "a"), SORT, "l", micros(begin), micros(end), 500_000, 500)
    window, who = (before.floor(NOW - HOUR), NOW), Who("l", "t", "a")
    old, new = before.view(window[0]), after.view(window[0])
    live = sums(old, [one], window, Curves(old, Tariff()))[who]
    done = sums(new, [], window, Curves(new, Tariff()))[who]
    assert (live.gpu, live.leases, live.shares) == (done.gpu, done.leases, done.shares)
    assert live.joules == pytest.approx(done.joules)
