"""Tasks beyond the scheduler's memory: one list, from what it remembers and what the store does, without a seam."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from actors.historian import Historian
from actors.scheduling.core import Policy
from chimera.errors import NotFoundError, UnavailableError
from chimera.store import Store, open_store
from chimera.system import System
from subjects.scheduler import GetTask, ListTasks
from subjects.task import TaskPage
from tests.support.postgres import PostgresServer
from tests.support.scheduler_stage import Stage, submit

pytestmark = pytest.mark.anyio

KEPT = 5


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An open, empty store of either kind."""
    url = ""
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = await server.new_schema()
    async with open_store(url, tmp_path) as opened:
        yield opened


class Away:
    """A store that can be switched off."""

    def __init__(self, store: Store) -> None:
        self.store, self.away = store, False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise UnavailableError("PostgreSQL is away")
        return getattr(self.store, name)


async def told(stage: Stage, store: Away, count: int) -> System:
    """A scheduler that remembers few of the tasks it did, and a store that knows all of them."""
    system = await stage.node(store=store, policy=Policy(keep_finished=KEPT))
    await system.spawn(Historian, bus=system.bus, store=store.store)
    for number in range(count):
        await submit(system, id=f"t{number:02}", labels={"odd": str(number % 2)}, keep_s=60.0)
        await stage.clock.advance(1.0)
    with anyio.fail_after(30):
        while await ended(store) < count:
            await stage.clock.advance(0.1)
            await anyio.sleep(0.01)
    await stage.clock.advance(10.0)
    return system


async def ended(store: Any) -> int:
    """Finished tasks that the store knows."""
    (row,) = await store.fetch("SELECT count(*) FROM tasks WHERE state = 'succeeded'", {})
    return row[0]


async def pages(system: System, **fields: Any) -> list[TaskPage]:
    """All pages, followed to the end."""
    found = [await system.ask(ListTasks(**fields))]
    while found[-1].next:
        found.append(await system.ask(ListTasks(**fields, after=found[-1].next)))
    return found


async def test_pages_go_on_into_the_past(store: Store, stage: Stage):
    """Newest first, each once, without a gap where memory ends; filters and totals hold for all."""
    system = await told(stage, Away(store), 23)
    await submit(system, id="t99", not_before=stage.clock.time() + 9e4)
    everything = ["t99", *(f"t{number:02}" for number in reversed(range(23)))]
    for limit in (1, 4, 7, 23, 24, 100):
        found = await pages(system, limit=limit)
        assert [task.id for page in found for task in page.tasks] == everything
        assert {page.total for page in found} == {24}
        assert {page.missing for page in found} == {""}
    odd = await pages(system, limit=3, label="odd=1", state="succeeded")
    assert [task.id for page in odd for task in page.tasks] == [f"t{number:02}" for number in range(21, 0, -2)]
    assert odd[0].total == 11
    assert [task.id for page in await pages(system, state="scheduled") for task in page.tasks] == ["t99"]


async def test_a_task_of_the_past_is_as_it_was(store: Store, stage: Stage):
    """Forgotten by the scheduler, told by the store in the same words; its result until its time is over."""
    away = Away(store)
    system = await told(stage, away, 8)
    young, old = await system.ask(GetTask(id="t07")), await system.ask(GetTask(id="t00", changes=True))
    same = {"id": "t00", "submitted_at": old.submitted_at, "age_s": old.age_s, "started_at": old.started_at}
    same |= {"ended_at": old.ended_at, "labels": old.labels, "attempts": old.attempts, "changes": old.changes}
    assert msgspec.structs.replace(young, **same) == old
    assert (old.output, old.input) == ({"x": 1}, {"x": 1})
    assert [change.state for change in old.changes] == ["queued", "running", "succeeded"]
    await stage.clock.advance(120.0)
    assert (await system.ask(GetTask(id="t00"))).output is None
    with pytest.raises(NotFoundError):
        await system.ask(GetTask(id="nobody"))


async def test_without_the_store_it_says_what_is_missing(store: Store, stage: Stage):
    """The living are told as ever; that the past is missing is said, and not that there is none."""
    away = Away(store)
    system = await told(stage, away, 8)
    away.away = True
    (page,) = await pages(system)
    assert [task.id for task in page.tasks] == [f"t{number:02}" for number in (7, 6, 5, 4, 3)]
    assert "PostgreSQL is away" in page.missing
    assert [len(one.tasks) for one in await pages(system, limit=2)] == [2, 2, 1]
    (queued,) = await pages(system, state="queued")
    assert (queued.tasks, queued.missing) == ([], "")
    with pytest.raises(UnavailableError, match="history can't be asked"):
        await system.ask(GetTask(id="t00"))
    live = await system.ask(GetTask(id="t07", changes=True))
    assert (live.state, live.changes) == ("succeeded", [])
    assert "PostgreSQL is away" in live.missing
    away.away = False
    assert (await system.ask(GetTask(id="t00"))).state == "succeeded"


async def test_the_log_waits_for_the_history_but_not_for_ever(
    store: Store, stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    """While the store is away, compaction leaves what it has not seen; beyond a bound it goes on, and says so."""
    monkeypatch.setattr("actors.scheduling.clockwork.COMPACT_MESSAGES", 10)
    away = Away(store)
    away.away = True
    async with AsyncExitStack() as stack:
        for hold_bytes, kept in ((1 << 30, True), (1000, False)):
            apart = Stage(stack)
            system = await apart.node(store=away, policy=Policy(keep_finished=KEPT, hold_bytes=hold_bytes))
            assert system.bus is not None
            for number in range(30):
                await submit(system, id=f"t{number}")
            await apart.clock.advance(20.0)
            first, _, _ = await system.bus.stream_state("TASKS")
            assert (first == 1) is kept
            stage.clock, stage.hub = apart.clock, apart.hub
            await system.cells["scheduler"].stop("stopped", 0.0)
