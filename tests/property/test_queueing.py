from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.queueing import states
from actors.queueing.adaptive import Aimd, AimdPolicy
from actors.queueing.calendar import next_cron, next_every, parse_cron, zone_of
from actors.queueing.ledger import Ledger
from actors.queueing.limits import TokenBucket
from actors.queueing.littles import Rate, desired_workers
from actors.queueing.policy import FairQueue
from actors.queueing.records import Control, Entry, Moved, New, Spec, Status, Took, pack, unpack
from actors.queueing.retry import backoff_s
from chimera.errors import BadMessageError
from chimera.journal import join

SPEC = Spec(
    id="t", agent="a", task="predict", input=b"\x80", level=2, deadline=0, not_before=0, limit_s=30, attempts=3,
    first_s=1, factor=2, most_s=300, jitter=0.2, key="", labels=(), callback="", keep_s=3600, submitted_at=0,
)  # fmt: skip
MOVES: dict[str, Callable[[Status, float], Status]] = {
    "queued": states.queued,
    "started": states.started,
    "succeeded": lambda s, now: states.succeeded(s, now, b"", 1),
    "failed": lambda s, now: states.failed(s, SPEC, now, "x", "", wait_s=1, again=True),
    "dead": lambda s, now: states.failed(s, SPEC, now, "x", "", wait_s=1, again=False),
    "put back": lambda s, now: states.put_back(s, now, "x", wait_s=1),
    "cancelled": states.cancelled,
    "expired": states.expired,
}


@given(st.lists(st.sampled_from(sorted(MOVES)), max_size=30))
def test_no_path_leads_out_of_a_final_state_and_attempts_only_grow(moves: list[str]) -> None:
    """Whatever is tried, a final state stays, the attempt's number never falls, and attempts never exceed the limit."""
    status = Status("queued", 0.0)
    for at, name in enumerate(moves):
        before = status
        try:
            status = MOVES[name](status, float(at))
        except states.IllegalMoveError:
            assert status is before
            continue
        assert not states.is_final(before.state)
        assert status.attempt >= before.attempt
        assert 0 <= status.used <= SPEC.attempts
        assert status.state in states.NEXT[before.state]


def test_the_final_states_are_final_in_the_table() -> None:
    """The table itself has no way out of the four ends, and every state can reach one."""
    assert {state for state in states.NEXT if states.is_final(state)} == {"succeeded", "dead", "cancelled", "expired"}
    for follow in states.NEXT.values():
        assert follow <= set(states.NEXT)


def test_a_late_answer_is_fenced() -> None:
    """An answer counts only for the attempt that runs; not after a rescue, nor after a revival."""
    first = states.started(Status("queued", 0.0), 1.0)
    assert not states.fences(first, 1)
    second = states.started(states.queued(states.failed(first, SPEC, 2.0, "stuck", "", wait_s=0, again=True), 3.0), 4.0)
    assert states.fences(second, 1)
    assert not states.fences(second, 2)
    dead = states.failed(second, SPEC, 5.0, "x", "", wait_s=0, again=False)
    alive = states.started(states.revived(dead, 6.0), 7.0)
    assert states.fences(alive, 2)
    assert alive.attempt == 3


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 20))
def test_ageing_lets_no_background_task_starve(levels: list[int], gap: int) -> None:
    """Against an endless stream of critical tasks, a task is served once it has waited its ranks' steps."""
    queue = FairQueue(step_s=60.0)
    queue.put("old", "a", levels[0], 0.0)
    now, count = 0.0, 0
    while "old" in queue:
        now += gap
        count += 1
        queue.put(f"c{count}", "a", 0, now)
        queue.pop(lambda _: True)
        assert now <= levels[0] * 60.0 + 2 * gap


@given(st.integers(1, 8), st.integers(1, 200), st.lists(st.integers(0, 4), min_size=8, max_size=8))
def test_a_flood_of_others_delays_a_single_task_by_one_task_each(others: int, flood: int, levels: list[int]) -> None:
    """However many tasks other agents queued before, a newcomer's single task waits for at most one of each."""
    queue = FairQueue()
    for number in range(flood):
        for other in range(others):
            queue.put(f"{other}.{number}", f"agent{other}", levels[other], float(number))
    for _ in range(flood // 2):
        queue.pop(lambda _: True)
    queue.put("single", "newcomer", 4, 1e6)
    before: Counter[str] = Counter()
    while (taken := queue.pop(lambda _: True)) is not None and taken.id != "single":
        before[taken.agent] += 1
    assert taken is not None
    assert max(before.values(), default=0) <= 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=60), st.data())
def test_the_queue_gives_every_task_once(tasks: list[tuple[int, int]], data: st.DataObject) -> None:
    """Every task that was put and not discarded is given exactly once; counts stay right throughout."""
    queue = FairQueue()
    for number, (agent, level) in enumerate(tasks):
        queue.put(str(number), f"a{agent}", level, float(number))
        queue.put(str(number), f"a{agent}", level, float(number))
    gone = data.draw(st.sets(st.sampled_from([str(n) for n in range(len(tasks))]))) if tasks else set[str]()
    assert all(queue.discard(task) for task in gone)
    assert not any(queue.discard(task) for task in gone)
    assert sum(queue.levels) == len(queue) == len(tasks) - len(gone)
    served: list[str] = []
    while (taken := queue.pop(lambda _: True)) is not None:
        served.append(taken.id)
    assert sorted(served) == sorted({str(n) for n in range(len(tasks))} - gone)
    assert queue.levels == [0] * 5


def test_an_agent_that_may_not_run_holds_nobody_up() -> None:
    """A paused agent is passed over, and does not get its lost time back at once when it resumes."""
    queue = FairQueue()
    for number in range(20):
        queue.put(f"p{number}", "paused", 2, 0.0)
        queue.put(f"f{number}", "free", 2, 0.0)
    for _ in range(10):
        taken = queue.pop(lambda agent: agent == "free")
        assert taken is not None
        assert taken.agent == "free"
    order = [taken.agent for _ in range(6) if (taken := queue.pop(lambda _: True)) is not None]
    assert Counter(order) == {"paused": 3, "free": 3}


@given(st.floats(0, 10), st.floats(1, 10), st.floats(0, 1000), st.floats(0, 1), st.integers(1, 100), st.integers(0, 99))
def test_backoff_stays_between_its_bounds(  # noqa: PLR0917 - hypothesis passes them by place
    first: float, factor: float, most: float, jitter: float, used: int, seed: int
) -> None:
    """Never above the ceiling, never below the unjittered pause less its jitter."""
    spec = replace(SPEC, first_s=first, factor=factor, most_s=most, jitter=jitter)
    wait = backoff_s(spec, used, random.Random(seed))  # noqa: S311 - jitter is no secret
    base = min(most, first * factor ** min(used - 1, 64))
    assert base * (1 - jitter) - 1e-9 <= wait <= base + 1e-9


@given(st.floats(0.5, 100), st.lists(st.floats(0, 2), max_size=200))
def test_a_bucket_never_gives_more_than_its_rate(rate: float, gaps: list[float]) -> None:
    """Over any time from the start, at most the burst plus rate times time."""
    bucket = TokenBucket(rate, 0.0)
    now, taken = 0.0, 0
    for gap in gaps:
        now += gap
        free = bucket.wait_s(now) <= 1e-9
        got = bucket.take(now)
        assert got or not free
        taken += got
        assert taken <= bucket.burst + rate * now + 1e-6


def test_the_limit_grows_with_a_fast_agent_and_shrinks_with_a_slow_one() -> None:
    """Additive increase while the agent keeps its pace at full use; multiplicative decrease when it slows down."""
    aimd = Aimd(64, AimdPolicy(start=8, window=4))
    for _ in range(40):
        aimd.sample(0.010, aimd.limit)
    grown = aimd.limit
    assert grown == 18
    for _ in range(8):
        aimd.sample(0.100, aimd.limit)
    assert aimd.limit < grown
    for _ in range(100):
        aimd.refused()
    assert aimd.limit == 1


def test_an_idle_agents_limit_does_not_grow() -> None:
    """Without full use, a fast answer says nothing about more at once."""
    aimd = Aimd(64, AimdPolicy(start=8, window=4))
    for _ in range(40):
        aimd.sample(0.010, 1)
    assert aimd.limit == 8


def _reference(text: str, after: datetime) -> datetime:
    """Minute by minute, by the definition of crontab(5): slow and plain."""
    minute, hour, day, month, weekday = text.split()
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)

    def fits(field: str, value: int, low: int, high: int) -> bool:
        for part in field.split(","):
            span, _, step = part.partition("/")
            first, _, last = span.partition("-")
            begin = low if span == "*" else int(first)
            end = high if span == "*" or (step and not last) else int(last or first)
            if begin <= value <= end and (value - begin) % int(step or 1) == 0:
                return True
        return False

    for _ in range(60 * 24 * 800):
        sunday = moment.isoweekday() % 7
        by_day = fits(day, moment.day, 1, 31)
        by_weekday = fits(weekday, sunday, 0, 7) or (sunday == 0 and fits(weekday, 7, 0, 7))
        either = (by_day and by_weekday) if day[0] == "*" or weekday[0] == "*" else (by_day or by_weekday)
        if either and fits(month, moment.month, 1, 12) and fits(hour, moment.hour, 0, 23):
            if fits(minute, moment.minute, 0, 59):
                return moment
            moment += timedelta(minutes=1)
        else:
            moment = moment.replace(minute=0) + timedelta(hours=1)
    raise AssertionError("never")


def _cron_field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(st.one_of(st.just("*"), span), st.integers(1, 7)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    one = st.one_of(number.map(str), span, stepped)
    return st.one_of(st.just("*"), st.lists(one, min_size=1, max_size=3).map(",".join))


@settings(max_examples=150, deadline=None)
@given(
    _cron_field(0, 59), _cron_field(0, 23), _cron_field(1, 28), _cron_field(1, 12), _cron_field(0, 6),
    st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis wants naive bounds
)  # fmt: skip
def test_cron_fires_when_the_definition_says(  # noqa: PLR0917 - hypothesis passes them by place
    minute: str, hour: str, day: str, month: str, weekday: str, after: datetime
) -> None:
    """The next run equals that of a minute-by-minute search."""
    text = f"{minute} {hour} {day} {month} {weekday}"
    found = next_cron(parse_cron(text), ZoneInfo("UTC"), after.timestamp())
    assert found is not None
    assert datetime.fromtimestamp(found, UTC) == _reference(text, after)


def test_cron_in_a_zone_fires_once_through_both_changes_of_the_clock() -> None:
    """Berlin 2026: 02:30 is skipped on 29 March (fires at 03:30) and comes twice on 25 October (fires once)."""
    cron, zone = parse_cron("30 2 * * *"), zone_of("Europe/Berlin")
    at = datetime(2026, 3, 28, 12, tzinfo=zone).timestamp()
    spring = [at := next_cron(cron, zone, at) or 0.0 for _ in range(2)]
    assert [datetime.fromtimestamp(one, zone).strftime("%d %H:%M") for one in spring] == ["29 03:30", "30 02:30"]
    at = datetime(2026, 10, 24, 12, tzinfo=zone).timestamp()
    autumn = [at := next_cron(cron, zone, at) or 0.0 for _ in range(2)]
    assert [datetime.fromtimestamp(one, UTC).strftime("%d %H:%M") for one in autumn] == ["25 00:30", "26 01:30"]


@pytest.mark.parametrize("text", ["* * * *", "60 * * * *", "* * 0 * *", "5-1 * * * *", "*/0 * * * *", "x * * * *", ""])
def test_a_bad_cron_is_refused_by_name(text: str) -> None:
    """Each is refused with a message that says what is wrong."""
    with pytest.raises(BadMessageError, match="cron"):
        parse_cron(text)


def test_leap_days_are_found_and_impossible_days_are_not() -> None:
    """29 February is found years ahead; 30 February never."""
    found = next_cron(parse_cron("0 0 29 2 *"), ZoneInfo("UTC"), datetime(2096, 3, 1, tzinfo=UTC).timestamp())
    assert found is not None
    assert datetime.fromtimestamp(found, UTC).year == 2104
    assert next_cron(parse_cron("0 0 30 2 *"), ZoneInfo("UTC"), 0.0) is None


@given(st.floats(1, 1e5), st.floats(0, 1e9), st.floats(0, 1e6))
def test_every_keeps_its_grid(every: float, start: float, later: float) -> None:
    """The next run is later than asked, no more than one period away, and on the grid."""
    after = start + later
    found = next_every(every, start, after)
    assert after < found <= max(after, start) + every * (1 + 1e-6) + 1e-6


@given(st.lists(st.floats(0, 30), max_size=100))
def test_a_rate_counts_what_came_in_its_window(gaps: list[float]) -> None:
    """Never more than what came within the window and one step, never less than within the window less one step."""
    rate, now, times = Rate(0.0), 0.0, list[float]()
    for gap in gaps:
        now += gap
        rate.add(now)
        times.append(now)
    counted = rate.per_s(now) * max(1.0, min(60.0, now))
    assert sum(at > now - 59 for at in times) - 1e-6 <= counted <= sum(at > now - 61 for at in times) + 1e-6


def test_desired_workers_follow_littles_law() -> None:
    """10 tasks/s of 0.4 s are 4 busy workers, 5 at 80 %; a backlog asks for more; idleness for none."""
    assert desired_workers(10, 0.4, 0) == 5
    assert desired_workers(10, 0.4, 600) == 9
    assert desired_workers(0, 0.4, 0) == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_ledger_read_from_the_log_equals_the_one_that_wrote_it(data: st.DataObject) -> None:
    """Random lives of tasks, written, packed and read again, give the same tasks, keys, counts and queue."""
    live, log, now = Ledger(), list[Entry](), 0.0
    _write(live, log, Took(1, "n", 0.0))
    for number in range(data.draw(st.integers(1, 12))):
        key = data.draw(st.sampled_from(["", f"k{number}"]))
        spec = replace(SPEC, id=f"t{number}", key=key, keep_s=1e9, not_before=data.draw(st.sampled_from([0.0, 50.0])))
        _write(live, log, New(spec, states.submitted(spec, now)))
    for _ in range(data.draw(st.integers(0, 60))):
        now += 1.0
        task = live.tasks[data.draw(st.sampled_from(sorted(live.tasks)))]
        try:
            status = MOVES[data.draw(st.sampled_from(sorted(MOVES)))](task.status, now)
        except states.IllegalMoveError:
            continue
        _write(live, log, Moved(task.spec.id, status))
    _write(live, log, Control(paused=True, limits={"a": (3, 0.5)}))
    read = Ledger()
    for entry in unpack(join([pack(entry) for entry in log])):
        read.restore(entry)
    read.settle(now)
    for name in ("keys", "control", "epoch", "leader", "unfinished", "unfinished_bytes"):
        assert getattr(read, name) == getattr(live, name), name
    for name in ("tasks", "running", "scheduled", "finished", "dead"):
        mine, other = getattr(live, name), getattr(read, name)
        assert {key: task.status for key, task in mine.items()} == {key: task.status for key, task in other.items()}
    assert read.queue.levels == live.queue.levels


def _write(ledger: Ledger, log: list[Entry], entry: Entry) -> None:
    ledger.apply(entry)
    log.append(entry)
