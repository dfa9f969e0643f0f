"""Who is next: bounds on starvation within an agent and on unfairness between agents."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.queueing.policy import STEP_S, FairQueue

COSTS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Virtual time per rank, as the module says; the bounds below follow from it."""


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 120), st.booleans()), max_size=80))
def test_a_task_is_overtaken_only_by_those_that_ageing_lets_pass(arrivals: list[tuple[int, float, bool]]) -> None:
    """A task of rank r passes one of rank q queued before it only if it came less than (q - r) steps later."""
    queue, now = FairQueue(), 0.0
    waiting: dict[str, tuple[int, float]] = {}

    def pop() -> None:
        taken = queue.pop(lambda _: True)
        if taken is None:
            return
        rank, at = waiting.pop(taken.id)
        for other, since in waiting.values():
            if since < at:
                assert at - since <= (other - rank) * STEP_S + 1e-6

    for number, (level, gap, then_pop) in enumerate(arrivals):
        now += gap
        waiting[str(number)] = (level, now)
        queue.put(str(number), "a", level, now)
        if then_pop:
            pop()
    while waiting:
        pop()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 4), st.integers(0, 30), st.integers(1, 4), st.floats(5, 30))
def test_no_task_starves_whatever_keeps_coming(level: int, ahead: int, others: int, gap: float) -> None:
    """Against endless critical work in its own and other agents' queues, the wait has a bound that can be named.

    Each round one task is served and one critical task comes to every agent. In its own queue, only the tasks queued
    before it and those of the next ``level`` steps go first; between two tasks of its agent, another agent is served at
    most ``own cost / least cost + 1`` times.
    """
    queue, served, now = FairQueue(), 0, 0.0
    for number in range(ahead):
        queue.put(f"ahead{number}", "a", 0, 0.0)
    queue.put("mine", "a", level, 0.0)
    while "mine" in queue:
        served += 1
        now += gap
        for agent in range(others):
            queue.put(f"o{agent}.{served}", f"b{agent}", 0, now)
        queue.put(f"a{served}", "a", 0, now)
        queue.pop(lambda _: True)
        own = ahead + 1 + math.ceil(level * STEP_S / gap) + 1
        assert served <= own * (1 + 2 * others) + others * (COSTS[level] / COSTS[0] + 1)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=30, max_size=30), min_size=2, max_size=5), st.integers(1, 30))
def test_busy_agents_get_equal_shares_up_to_one_task_each(levels: list[list[int]], pops: int) -> None:
    """While all have work, two agents' shares of virtual time differ by no more than their largest costs together.

    That is the bound of start-time fair queueing (Goyal, Vin, Cheng 1996, theorem 1) with equal weights.
    """
    queue = FairQueue()
    for agent, own in enumerate(levels):
        for number, level in enumerate(own):
            queue.put(f"{agent}.{number}", str(agent), level, 0.0)
    share: Counter[str] = Counter()
    for _ in range(pops):  # fewer than any agent has: all stay busy
        taken = queue.pop(lambda _: True)
        assert taken is not None
        share[taken.agent] += int(COSTS[taken.level] * 100)
    for one in range(len(levels)):
        for other in range(one):
            bound = 100 * (COSTS[max(levels[one])] + COSTS[max(levels[other])])
            assert abs(share[str(one)] - share[str(other)]) <= bound
