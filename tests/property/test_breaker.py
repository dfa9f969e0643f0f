"""The circuit breaker as a state machine against a plain model of its promises."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.execution.breaker import Breaker, BreakerPolicy, Ticket

POLICY = BreakerPolicy(failures=3, window_s=30.0, open_s=10.0, max_open_s=40.0)


class BreakerMachine(RuleBasedStateMachine):
    """Random traffic; what must hold at every step is checked from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(POLICY)
        self.now = 100.0
        self.tickets: list[Ticket] = []
        self.failures: list[float] = []
        self.opened_at: float | None = None

    @rule(seconds=st.floats(0.0, 50.0))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule()
    def ask(self) -> None:
        """Somebody wants to run a task."""
        state = self.breaker.state(self.now)
        ticket = self.breaker.allow(self.now)
        if state == "closed":
            assert ticket is not None
        if state == "open":
            assert ticket is None
            assert self.breaker.retry_after(self.now) > 0
        if ticket is not None:
            self.tickets.append(ticket)
            if state == "half-open":
                assert self.breaker.allow(self.now) is None, "two probes at once"

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), ok=st.booleans())
    def report(self, data: st.DataObject, ok: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
        """A task ends."""
        ticket = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
        before = self.breaker.state(self.now)
        changed = self.breaker.record(ticket, self.now, ok=ok)
        after = self.breaker.state(self.now)
        if before == "closed" and not ok:
            self.failures.append(self.now)
        if before == "closed" and after == "open":
            recent = [at for at in self.failures if self.now - at <= POLICY.window_s]
            assert len(recent) >= POLICY.failures
        if before == "open":
            assert after == "open"
            assert not changed, "a straggler changed an open breaker"
        if after == "closed" and before != "closed":
            assert ok
            assert before == "half-open"
            self.failures.clear()

    @precondition(lambda self: self.tickets)
    @rule()
    def give_up(self) -> None:
        """A task is cancelled."""
        self.breaker.release(self.tickets.pop())

    @invariant()
    def it_always_comes_back(self) -> None:
        """Whatever happened, within the longest time a try is allowed again."""
        assert self.breaker.retry_after(self.now) <= POLICY.max_open_s + 1e-6


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBreaker = BreakerMachine.TestCase
