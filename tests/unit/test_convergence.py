"""A search that improves is left alone; one that stagnates gets mutation and immigrants; one that is done ends."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.evolving.convergence import (
    EARLY,
    MOST_IMMIGRANTS,
    MOST_MUTATION,
    PATIENCE,
    WINDOW,
    Convergence,
    Look,
)


def fold(looks: Iterable[Look], state: Convergence | None = None) -> Convergence:
    """The state after them."""
    state = state or Convergence()
    for look in looks:
        state = state.after(look)
    return state


def flat(count: int, *, best: float = 0.5, half_width: float = 0.0, distance: float = 1.0) -> list[Look]:
    """Generations without news."""
    return [Look(best, half_width, distance)] * count


def test_steady_improvement_is_left_alone():
    """Nothing is done while each generation is better."""
    state = fold(Look(0.1 * i, 0.0, 1.0) for i in range(1, 20))
    assert state.status == "improving"
    assert (state.advice.immigrants, state.advice.mutation_factor, state.advice.reason) == (0.0, 1.0, "")


def test_luck_is_not_improvement():
    """Ups within the noise do not end stagnation; without half-widths the same ups would."""
    ups = [0.5, 0.52, 0.54, 0.51, 0.53] * 4
    noisy = fold(Look(up, 0.05, 1.0) for up in ups)
    assert noisy.stagnant == len(ups) - 1
    assert fold(Look(up, 0.0, 1.0) for up in ups).stagnant < len(ups) - 1


def test_slow_but_true_progress_counts_in_time():
    """The reference stays where it was, so small steps add up to more than the noise."""
    state = fold(Look(0.5 + 0.01 * i, 0.04, 1.0) for i in range(30))
    assert state.stagnant < 7
    assert state.reference is not None
    assert state.reference > 0.7


def test_stagnation_with_diversity_left_is_pressed_not_ended():
    """After the patience mutation and immigrants grow to their bounds; only then, and after a window, it is over."""
    state = fold(flat(1 + PATIENCE - 1))
    assert state.advice.mutation_factor == 1.0
    state = fold(flat(1), state)
    assert 1.0 < state.advice.mutation_factor < MOST_MUTATION
    assert state.advice.immigrants > 0.0
    state = fold(flat(WINDOW - PATIENCE), state)
    assert state.status == "stagnant"
    assert (state.advice.mutation_factor, state.advice.immigrants) == (MOST_MUTATION, MOST_IMMIGRANTS)
    assert not state.converged
    assert "stagnant for 15" in state.advice.reason
    state = fold(flat(WINDOW), state)
    assert state.converged
    assert state.status == "converged"


def test_collapse_with_stagnation_is_premature_then_converged():
    """Diversity gone within a few generations calls for immigrants at once; a window later it is over."""
    state = fold([*flat(3), *flat(PATIENCE, distance=0.01)])
    assert state.premature
    assert state.advice.immigrants == MOST_IMMIGRANTS
    assert "too early" in state.describe()
    state = fold(flat(WINDOW, distance=0.01), state)
    assert state.status == "converged"
    assert not state.premature


def test_a_late_collapse_is_not_premature():
    """After many improving generations losing diversity is how a search ends."""
    state = fold([*(Look(0.1 * i, 0.0, 1.0) for i in range(EARLY)), *flat(PATIENCE + 1, best=0.0, distance=0.01)])
    assert state.collapsed
    assert not state.premature


def test_collapse_while_improving_is_no_reason_to_act():
    """CMA-ES narrows while it improves."""
    state = fold(Look(0.1 * i, 0.0, 0.5**i) for i in range(20))
    assert state.collapsed
    assert state.status == "improving"
    assert state.advice.immigrants == 0.0


def test_recovery_takes_the_pressure_off():
    """After an improvement mutation and immigrants decay to nothing, and the reason says so."""
    state = fold(flat(20))
    assert state.advice.mutation_factor == MOST_MUTATION
    state = fold([Look(1.0, 0.0, 1.0)], state)
    assert 1.0 < state.advice.mutation_factor < MOST_MUTATION
    assert "go back" in state.advice.reason
    state = fold((Look(1.0 + 0.1 * i, 0.0, 1.0) for i in range(1, 12)), state)
    assert (state.advice.immigrants, state.advice.mutation_factor) == (0.0, 1.0)


def test_a_generation_that_failed_is_one_without_improvement():
    """No figure, no news; and the first figure after it counts."""
    state = fold([Look(None, 0.0, 1.0)] * 3)
    assert state.stagnant == 3
    assert fold([Look(0.1, 0.0, 1.0)], state).status == "improving"


looks = st.builds(Look, st.none() | st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 2))


@settings(deadline=None)
@given(st.lists(looks, max_size=60), st.integers(0, 60))
def test_the_fold_can_be_cut_anywhere(history: list[Look], cut: int):
    """The state alone is enough to go on, also after it was stored; and it never leaves its bounds."""
    state = fold(history)
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(fold(history[:cut])), type=Convergence)
    assert fold(history[cut:], stored) == state
    assert 1.0 <= state.advice.mutation_factor <= MOST_MUTATION
    assert 0.0 <= state.advice.immigrants <= MOST_IMMIGRANTS
    assert state.stagnant <= state.looks == len(history)
    assert not (state.premature and state.converged)
    assert state.describe()


@settings(deadline=None)
@given(st.lists(looks, max_size=40))
def test_every_search_without_news_ends(history: list[Look]):
    """Whatever happened before, generations without improvement converge within a bounded time."""
    state = fold(history)
    level = max([look.best for look in history if look.best is not None], default=0.0)
    state = fold(flat(PATIENCE + 2 * WINDOW + 10, best=level - 3.0), state)
    assert state.converged or state.reference == level - 3.0
