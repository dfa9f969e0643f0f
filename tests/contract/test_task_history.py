"""The history of tasks, on every store: what the log said, once, in whatever order it is told again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from actors.queueing import states
from actors.queueing.records import Entry, Moved, New, Spec, Status, pack
from actors.scheduling.projection import TaskProjection
from chimera.bus.contract import Stored
from chimera.journal import join
from chimera.store import Regress, Store, TaskFilter, TaskHistory, open_store
from chimera.store.tasks import LOST_END, WENT_BACK
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open, empty store of either kind."""
    url = ""
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = await server.new_schema()
    async with open_store(url, tmp_path) as opened:
        yield opened


@pytest.fixture
def history(store: Store) -> TaskHistory:
    """What is under test."""
    return TaskHistory(store)


@pytest.fixture
def projection(store: Store) -> TaskProjection:
    """Writes log entries."""
    return TaskProjection(store)


def spec(task_id: str, *, at: float = 100.0, agent: str = "a", labels: tuple[tuple[str, str], ...] = ()) -> Spec:
    """A task that was submitted at ``at``."""
    return Spec(
        task_id, agent, "predict", msgspec.msgpack.encode({"n": 1}), 2, 0.0, 0.0, 30.0, 3, 1.0, 2.0, 300.0, 0.2, "",
        labels, "", 3600.0, at,
    )  # fmt: skip


def message(seq: int, *entries: Entry) -> Stored:
    """A message of the log."""
    return Stored("TASKS", seq, "chimera.task.log", join([pack(entry) for entry in entries]), 0.0)


def life(one: Spec) -> list[Status]:
    """Queued, running, succeeded: one second each."""
    queued = states.submitted(one, one.submitted_at)
    running = states.started(queued, one.submitted_at + 1)
    return [queued, running, states.succeeded(running, one.submitted_at + 2, msgspec.msgpack.encode({"m": 2}), 7)]


def told(one: Spec, first: int = 1) -> list[Stored]:
    """Its life as messages of the log."""
    queued, running, ended = life(one)
    entries = (New(one, queued), Moved(one.id, running), Moved(one.id, ended))
    return [message(seq, entry) for seq, entry in enumerate(entries, first)]


async def test_a_life_in_one_batch_or_in_three_is_the_same_rows(projection: TaskProjection, history: TaskHistory):
    """How messages are cut into transactions leaves no trace."""
    await projection.save(told(spec("t1"), 1))
    for one in told(spec("t2"), 4):
        await projection.save([one])
    rows = [await history.task(name) for name in ("t1", "t2")]
    assert rows[0] is not None
    assert rows[1] is not None
    assert rows[0]._replace(id="t2", seq=6) == rows[1]
    assert (rows[1].state, rows[1].since, rows[1].release, rows[1].keep_until) == ("succeeded", 102.0, 7, 3702.0)
    assert rows[1].output == msgspec.msgpack.encode({"m": 2})
    for name in ("t1", "t2"):
        assert [(row.state, row.at) for row in await history.changes(name)] == [
            ("queued", 100.0), ("running", 101.0), ("succeeded", 102.0)
        ]  # fmt: skip


async def test_messages_told_again_change_nothing(store: Store, projection: TaskProjection, history: TaskHistory):
    """Exactly once: the same messages again, also the early ones after the late ones, leave everything as it is."""
    messages = told(spec("t1"))
    await projection.save(messages)
    before = await history.task("t1"), await history.changes("t1")
    await projection.save(messages)
    await projection.save(messages[:2])
    assert (await history.task("t1"), await history.changes("t1")) == before
    assert await store.position("TASKS") == 3


async def test_compaction_leaves_the_history(projection: TaskProjection, history: TaskHistory):
    """A living task that is written again keeps its changes and gains none; a final one is not even rewritten."""
    one, two = spec("t1"), spec("t2")
    await projection.save([*told(one), message(4, New(two, life(two)[0]))])
    await projection.save([message(5, New(one, life(one)[2]), New(two, life(two)[0]))])
    final, living = await history.task("t1"), await history.task("t2")
    assert final is not None
    assert living is not None
    assert (final.seq, living.seq) == (3, 5)
    assert len(await history.changes("t1")) == 3
    assert len(await history.changes("t2")) == 1
    await projection.caught_up(5)
    assert (await history.task("t2")) == living


async def test_who_starts_late_knows_the_present_and_the_attempts(projection: TaskProjection, history: TaskHistory):
    """A log that was compacted before it was ever read gives the status, the submit and the begin of each attempt."""
    one = spec("t1")
    await projection.save([message(9, New(one, life(one)[2]))])
    assert [row.state for row in await history.changes("t1")] == ["queued", "running", "succeeded"]


async def test_an_end_nobody_saw_is_called_unknown(projection: TaskProjection, history: TaskHistory):
    """A task seen running that is missing in a log that was compacted meanwhile does not run for ever."""
    one = spec("t1")
    await projection.save(told(one)[:2])
    await projection.caught_up(50)
    row = await history.task("t1")
    assert row is not None
    assert (row.state, row.reason) == ("unknown", LOST_END)


async def test_a_stream_that_went_back_is_told_anew(store: Store, projection: TaskProjection, history: TaskHistory):
    """What came after is doubted; what is written there now counts, though its number was used before."""
    one, lost = spec("t1"), spec("lost")
    await projection.save([*told(one), message(4, New(lost, life(lost)[0]))])
    await projection.went_back(Regress("TASKS", 2, 4), "g1")
    assert (await store.position("TASKS"), await store.high_water("TASKS")) == (0, 2)
    stopped = Moved("t1", states.cancelled(life(one)[1], 150.0))
    await projection.save([*told(one)[:2], message(3, stopped)])
    row, gone = await history.task("t1"), await history.task("lost")
    assert row is not None
    assert gone is not None
    assert (row.state, row.seq, gone.state, gone.reason) == ("cancelled", 3, "unknown", WENT_BACK)
    assert [change.state for change in await history.changes("t1")] == ["queued", "running", "cancelled"]


async def test_filters_and_pages(projection: TaskProjection, history: TaskHistory):
    """Every filter picks its own, and pages follow each other without a gap or a repeat, newest first."""
    labels = (("team", 'x"y'), ("Env", "prod"))
    for number in range(7):
        one = spec(f"t{number}", at=100.0 + number // 2, agent="ab"[number % 2], labels=labels if number == 3 else ())
        await projection.save(told(one, 1 + 3 * number))

    async def ids(**fields: object) -> list[str]:
        return [row.id for row in await history.tasks(TaskFilter(**fields))]  # pyright: ignore[reportArgumentType] - any field

    assert await ids() == ["t6", "t4", "t5", "t2", "t3", "t0", "t1"]
    assert await ids(agent="b") == ["t5", "t3", "t1"]
    assert await ids(label=("team", 'x"y')) == ["t3"]
    assert await ids(label=("team", "x")) == await ids(label=("env", "prod")) == []
    assert await ids(state="dead") == []
    assert await ids(priority="normal", since=102.0, until=103.0) == ["t4", "t5"]
    assert await ids(after_id="t4", after_at=102.0, limit=2) == ["t5", "t2"]
    assert await history.count(TaskFilter(agent="b", limit=1)) == 3


async def test_old_history_goes(store: Store, projection: TaskProjection, history: TaskHistory):
    """Ended long ago, or too many: gone with their changes. A living task stays. A result goes at its own time."""
    for number in range(4):
        await projection.save(told(spec(f"t{number}", at=100.0 * (number + 1)), 1 + 3 * number))
    alive = spec("alive", at=1.0)
    await projection.save([message(20, New(alive, life(alive)[0]))])
    assert await history.forget(before=150.0, keep=2, now=3850.0) == 2
    assert [row.id for row in await history.tasks(TaskFilter())] == ["t3", "t2", "alive"]
    assert await history.changes("t0") == []
    old, young = await history.task("t2"), await history.task("t3")
    assert old is not None
    assert young is not None
    assert (old.output is None, young.output is None) == (False, False)
    await history.forget(before=0.0, keep=9, now=3950.0)
    old = await history.task("t2")
    assert old is not None
    assert (old.output, old.keep_until, old.state) == (None, None, "succeeded")
    assert store.statistics().errors == 0


async def test_a_message_that_is_none_of_ours_is_passed_over(store: Store, projection: TaskProjection):
    """It is counted, and the projection goes on behind it."""
    await projection.save([Stored("TASKS", 1, "chimera.task.log", b"\xc1", 0.0), *told(spec("t1"), 2)])
    assert (projection.rejected, await store.position("TASKS")) == (1, 4)
