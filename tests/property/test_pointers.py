"""The decisions of the release book, for any sequence of acts."""

from hypothesis import given
from hypothesis import strategies as st

from actors.execution.pointers import Pointers, deployed, registered, retired, rolled_back
from chimera.errors import ChimeraError

acts = st.lists(
    st.one_of(
        st.tuples(st.just("deploy"), st.integers(1, 6), st.sampled_from([0.0, 0.1, 0.5, 1.0])),
        st.tuples(st.just("rollback"), st.just(0), st.just(0.0)),
        st.tuples(st.just("retire"), st.just(0), st.just(0.0)),
    ),
    max_size=12,
)


def step(now: Pointers, act: tuple[str, int, float]) -> Pointers:
    """One act; one that is refused changes nothing."""
    name, number, share = act
    try:
        if name == "deploy":
            return deployed(now, min(number, now.last + 1), share)[1]
        return rolled_back(now, "a") if name == "rollback" else retired(now)
    except ChimeraError:
        return now


@given(acts)
def test_pointers_never_contradict_themselves(sequence: list[tuple[str, int, float]]) -> None:
    """All releases named exist, live is neither candidate nor previous, and a retired agent shares no traffic."""
    now = registered(1)
    for act in sequence:
        now = step(now, act)
        others = [number for number in (now.candidate, now.previous) if number is not None]
        assert now.live not in others, now
        assert all(1 <= number <= now.last for number in [now.live, *others])
        assert (now.candidate is None) or (now.state == "live" and 0.0 <= now.share < 1.0)


@given(acts, st.integers(1, 6), st.sampled_from([0.1, 1.0]))
def test_a_deploy_can_be_repeated(sequence: list[tuple[str, int, float]], number: int, share: float) -> None:
    """Deploying the same number with the same share twice is as good as once."""
    now = registered(1)
    for act in sequence:
        now = step(now, act)
    once = step(now, ("deploy", number, share))
    target = min(number, now.last + 1)
    assert step(once, ("deploy", target, share)) == once


@given(acts)
def test_a_swap_can_be_undone(sequence: list[tuple[str, int, float]]) -> None:
    """After a swap of a live agent, one rollback serves what was served before."""
    now = registered(1)
    for act in sequence:
        now = step(now, act)
    swapped = step(now, ("deploy", now.last + 1, 1.0))
    if now.state == "live" and swapped.live != now.live:
        assert rolled_back(swapped, "a").live == now.live
