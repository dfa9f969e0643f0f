"""Autonomous mode: whatever happens, it keeps to its budgets, has a way on from everywhere, and can be stopped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.evolving.autonomy import Autonomy, Drifted, Expired, Finished, Refused, Sign, Switched, Waited
from subjects.autonomous import AutonomousBudget, SetAutonomous

ON = SetAutonomous(
    agent="a", budget=AutonomousBudget(cycles=5, cpu_s=10.0, harmed=20, promotions=3), rest_s=1.0, watch_least_s=5.0
)
OFF = SetAutonomous(agent="a", on=False)


def signs() -> st.SearchStrategy[Sign]:
    """Anything that may happen, also what does not fit the phase."""
    finished = st.builds(
        Finished, evolution=st.sampled_from([f"auto-a-{number}" for number in range(8)]), state=st.just("exhausted"),
        promoted=st.none() | st.integers(2, 9), harmed=st.integers(0, 12), cpu_s=st.floats(0, 6), reason=st.just("so"),
    )  # fmt: skip
    return st.one_of(
        finished, st.just(Refused(reason="no tasks")), st.just(Drifted(reason="longer texts")), st.just(Waited()),
        st.just(Expired()), st.sampled_from([Switched(request=ON), Switched(request=OFF)]),
    )  # fmt: skip


def folded(history: list[tuple[Sign, float]]) -> tuple[Autonomy, list[str]]:
    """The mode after a history, and the acts it asked for."""
    loop, now, acts = Autonomy(agent="a", settings=OFF), 0.0, list[str]()
    for sign, passed in history:
        now += passed
        acts.append(loop.take(sign, now))
    return loop, acts


HISTORY = st.lists(st.tuples(signs(), st.floats(0, 100)), max_size=60)


@given(HISTORY)
def test_no_cycle_begins_without_a_budget(history: list[tuple[Sign, float]]):
    """Each time an evolution is begun, every budget has something left."""
    loop, now = Autonomy(agent="a", settings=OFF), 0.0
    for sign, passed in history:
        now += passed
        spent, was_on = loop.used, loop.on
        act = loop.take(sign, now)
        if act == "start" and was_on:
            assert spent.cycles < 5
            assert spent.cpu_s < 10.0
            assert spent.promotions < 3
            assert spent.harmed < 20


@given(HISTORY)
def test_the_switch_always_wins(history: list[tuple[Sign, float]]):
    """Off means off: an evolution under way is stopped, and nothing but the switch begins another."""
    loop, _ = folded(history)
    evolving = loop.on and loop.phase == "evolve"
    assert loop.take(Switched(request=OFF), 1e9) == ("stop" if evolving else "")
    assert (loop.on, loop.phase) == (False, "off")
    for sign in (Waited(), Drifted(reason="x"), Finished(
        evolution=loop.evolution, state="exhausted", promoted=None, harmed=0, cpu_s=0.0, reason=""
    )):  # fmt: skip
        assert loop.take(sign, 2e9) == ""
        assert not loop.on


@given(HISTORY)
def test_every_phase_has_a_way_on(history: list[tuple[Sign, float]]):
    """While it is on, the end of an evolution or mere time brings it into another phase."""
    loop, _ = folded(history)
    if not loop.on:
        return
    before = loop.number
    if loop.phase == "evolve":
        loop.take(Finished(
            evolution=loop.evolution, state="exhausted", promoted=None, harmed=0, cpu_s=0.0, reason=""
        ), loop.since)  # fmt: skip
        assert loop.phase in ("rest", "off")
    else:
        sign = loop.waits(loop.since + 1e7)
        assert sign is not None
        loop.take(sign, loop.since + 1e7)
    assert loop.number > before


@given(HISTORY)
def test_the_log_is_the_state(history: list[tuple[Sign, float]]):
    """The same signs give the same steps and acts again, and every step has a reason."""
    first, acts = folded(history)
    again, same = folded(history)
    assert list(first.steps) == list(again.steps)
    assert acts == same
    assert all(step.reason for step in first.steps)


def test_fruitless_cycles_rest_longer_each_time():
    """A rest doubles after each cycle that changed nothing, and is as short as at first after a promotion."""
    loop = Autonomy(agent="a", settings=OFF)
    loop.take(Switched(request=ON), 0.0)
    rests: list[float] = []
    for promoted in (None, None, 4, None):
        loop.take(
            Finished(evolution=loop.evolution, state="exhausted", promoted=promoted, harmed=0, cpu_s=1.0, reason="r"),
            10.0,
        )
        rests.append(loop.rest_s)
        loop.take(Drifted(reason="d"), 1e6)
    assert rests == [1.0, 2.0, 1.0, 1.0]
