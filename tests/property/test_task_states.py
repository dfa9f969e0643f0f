"""The life of a task as a state machine, against every operation in any order."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from actors.queueing import states
from actors.queueing.records import Spec, Status
from actors.queueing.retry import backoff_s

SPEC = Spec(
    id="t", agent="a", task="predict", input=b"\x80", level=2, deadline=0, not_before=0, limit_s=30, attempts=3,
    first_s=1, factor=2, most_s=300, jitter=0.2, key="", labels=(), callback="", keep_s=3600, submitted_at=0,
)  # fmt: skip


class Life(RuleBasedStateMachine):
    """Every function that makes one status from another, whenever hypothesis likes."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.status, self.spec = 0.0, Status("queued", 0.0), SPEC
        self.lives, self.ends, self.spent = 1, 0, 0

    @initialize(attempts=st.integers(1, 5), not_before=st.sampled_from([0.0, 10.0]))
    def submit(self, attempts: int, not_before: float) -> None:
        """It begins, now or later."""
        self.spec = replace(SPEC, attempts=attempts, not_before=not_before)
        self.status = states.submitted(self.spec, self.now)

    def _try(self, to: frozenset[str], move: Callable[[Status, float], Status]) -> None:
        before, self.now = self.status, self.now + 1.0
        try:
            after = move(before, self.now)
        except states.IllegalMoveError:
            assert not to & states.NEXT[before.state], "a legal move was refused"
            return
        assert after.state in states.NEXT[before.state], "an illegal move was made"
        assert not states.is_final(before.state)
        assert after.attempt == before.attempt + (after.state == "running")
        self.ends += states.is_final(after.state)
        self.status = after

    @rule()
    def due(self) -> None:
        """Its time comes."""
        self._try(frozenset({"queued"}), states.queued)

    @rule()
    def start(self) -> None:
        """An attempt begins."""
        self._try(frozenset({"running"}), states.started)

    @rule()
    def succeed(self) -> None:
        """It is done."""
        self._try(frozenset({"succeeded"}), lambda status, now: states.succeeded(status, now, b"", 1))

    @rule(again=st.booleans(), wait=st.floats(0, 10))
    def fail(self, again: bool, wait: float) -> None:  # noqa: FBT001 - hypothesis passes it by name
        """An attempt fails: once more only while attempts are left."""
        left = again and self.status.used < self.spec.attempts
        self._try(
            frozenset({"dead"}),
            lambda status, now: states.failed(status, self.spec, now, "x", "", wait_s=wait, again=again),
        )
        if self.status.since == self.now and self.status.state in {"dead", "scheduled"}:
            assert self.status.state == ("scheduled" if left else "dead")

    @rule()
    def put_back(self) -> None:
        """It never began."""
        self._try(frozenset({"scheduled"}), lambda status, now: states.put_back(status, now, "x", wait_s=1.0))

    @rule()
    def cancel(self) -> None:
        """Nobody wants it."""
        self._try(frozenset({"cancelled"}), states.cancelled)

    @rule()
    def expire(self) -> None:
        """It is too late."""
        self._try(frozenset({"expired"}), states.expired)

    @rule()
    def revive(self) -> None:
        """Only a dead task begins anew, and its attempts go on counting."""
        before = self.status
        try:
            self.status = states.revived(before, self.now)
        except states.IllegalMoveError:
            assert before.state != "dead"
            return
        assert before.state == "dead"
        assert self.status.attempt == before.attempt
        assert self.status.used == 0
        self.lives += 1

    @rule(attempt=st.integers(0, 20))
    def answer(self, attempt: int) -> None:
        """An answer counts for the running attempt only."""
        counts = self.status.state == "running" and self.status.attempt == attempt
        assert states.fences(self.status, attempt) is not counts

    @invariant()
    def each_life_ends_once(self) -> None:
        """No life ends twice, whatever is tried after its end."""
        assert self.ends == self.lives - (not states.is_final(self.status.state))

    @invariant()
    def attempts_are_bounded(self) -> None:
        """Never more than were granted, and no more remembered than is kept."""
        assert 0 <= self.status.used <= self.spec.attempts
        assert len(self.status.tries) <= states.KEEP_TRIES


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase


@settings(deadline=None)
@given(st.floats(0, 100), st.floats(1, 10), st.floats(0, 1000), st.floats(0, 1), st.integers(0, 9))
def test_the_pauses_of_a_task_rise_to_their_cap_and_stay_there(
    first: float, factor: float, most: float, jitter: float, seed: int
) -> None:
    """Without jitter no pause is shorter than the one before or above the cap; with it, by its share at most."""
    spec = replace(SPEC, first_s=first, factor=factor, most_s=most)
    rng = random.Random(seed)  # noqa: S311 - jitter is no secret
    plain = [backoff_s(replace(spec, jitter=0.0), used, rng) for used in range(1, 100)]
    assert plain == sorted(plain)
    assert plain[0] == min(first, most)
    assert plain[-1] <= most
    jittered = [backoff_s(replace(spec, jitter=jitter), used, rng) for used in range(1, 100)]
    assert all(wait * (1 - jitter) - 1e-9 <= late <= wait for wait, late in zip(plain, jittered, strict=True))
