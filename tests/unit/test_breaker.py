"""The circuit breaker, step by step."""

from actors.execution.breaker import Breaker, BreakerPolicy

POLICY = BreakerPolicy(failures=3, window_s=30.0, ratio=0.5, open_s=10.0, max_open_s=25.0)


def fail(breaker: Breaker, now: float, times: int = 1, *, ok: bool = False) -> None:
    """Report results of tries that were allowed."""
    for _ in range(times):
        ticket = breaker.allow(now)
        assert ticket is not None
        breaker.record(ticket, now, ok=ok)


def test_it_opens_probes_and_closes() -> None:
    """Three failures open it for ten seconds; one good probe closes it with a clean slate."""
    breaker = Breaker(POLICY)
    fail(breaker, 0.0, 3)
    assert breaker.state(9.9) == "open"
    assert breaker.retry_after(4.0) == 6.0
    assert breaker.state(10.0) == "half-open"
    fail(breaker, 10.0, ok=True)
    assert (breaker.state(10.0), breaker.failures) == ("closed", 0)
    fail(breaker, 10.0, 2)
    assert breaker.state(10.0) == "closed"


def test_failed_probes_double_the_wait_up_to_the_most() -> None:
    """10, 20, then 25 seconds."""
    breaker = Breaker(POLICY)
    fail(breaker, 0.0, 3)
    fail(breaker, 10.0)
    assert breaker.retry_after(10.0) == 20.0
    fail(breaker, 30.0)
    assert breaker.retry_after(30.0) == 25.0


def test_old_failures_do_not_count() -> None:
    """Three failures over more than the window leave it closed."""
    breaker = Breaker(POLICY)
    for now in (0.0, 20.0, 40.0):
        fail(breaker, now)
    assert breaker.state(40.0) == "closed"


def test_a_busy_agent_that_rarely_fails_stays_on() -> None:
    """Failures under half of the latest results do not open it."""
    breaker = Breaker(POLICY)
    for _ in range(50):
        fail(breaker, 1.0, 2, ok=True)
        fail(breaker, 1.0)
    assert breaker.state(1.0) == "closed"


def test_a_lost_probe_does_not_shut_it_for_ever() -> None:
    """A probe that never reports is replaced after a while; a released one at once."""
    breaker = Breaker(POLICY)
    fail(breaker, 0.0, 3)
    assert breaker.allow(10.0) is not None
    assert breaker.allow(11.0) is None
    second = breaker.allow(20.0)
    assert second is not None
    breaker.release(second)
    assert breaker.allow(20.0) is not None
