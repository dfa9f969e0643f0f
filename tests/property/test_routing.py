"""Sticky assignment, for any agent, key and share."""

from hypothesis import given
from hypothesis import strategies as st

from actors.execution.routing import draw, is_candidate

keys = st.text(max_size=64)
shares = st.floats(0.0, 1.0)


@given(keys, keys, st.integers(1, 1000))
def test_a_place_is_fixed_and_inside_the_unit_interval(agent: str, key: str, number: int) -> None:
    """A key's place never moves and lies in [0, 1)."""
    place = draw(agent, number, key)
    assert 0.0 <= place < 1.0
    assert place == draw(agent, number, key)


@given(keys, st.lists(shares, min_size=2))
def test_raising_the_share_only_moves_keys_to_the_candidate(key: str, given_shares: list[float]) -> None:
    """Along rising shares a key changes sides at most once, from live to candidate."""
    sides = [is_candidate("a", 2, key, share) for share in sorted(given_shares)]
    assert sides == sorted(sides)


@given(keys)
def test_nobody_at_zero_and_everybody_at_one(key: str) -> None:
    """Share 0 is no traffic, share 1 all of it."""
    assert not is_candidate("a", 2, key, 0.0)
    assert is_candidate("a", 2, key, 1.0)


def test_shares_are_met_and_trials_are_independent() -> None:
    """Over 20,000 keys the share is met within 1.5 points, and two trials overlap as chance would have it."""
    names = [f"user-{n}" for n in range(20_000)]
    first = {name for name in names if is_candidate("a", 2, name, 0.2)}
    second = {name for name in names if is_candidate("a", 3, name, 0.2)}
    assert abs(len(first) / 20_000 - 0.2) < 0.015
    assert abs(len(first & second) / 20_000 - 0.04) < 0.01
