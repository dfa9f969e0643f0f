"""Watching tasks: every fact in order, a bounded queue per listener, and going on where one was."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import anyio
import pytest

from actors.scheduling import audience
from actors.scheduling.audience import HEARTBEAT_S, QUEUE, Audience
from chimera.bus import MemoryBus, MemoryHub
from chimera.errors import AgentTrapError, NotFoundError, OverloadedError
from chimera.system import System
from chimera.testing import ManualClock, settle
from subjects.event import TaskSubmitted
from subjects.news import TaskNews, WatchTasks
from subjects.scheduler import CancelTask, ReportProgress
from subjects.task import Retries
from tests.support.scheduler_stage import Failing, Gate, Stage, submit, view
from tests.support.scheduling import scheduling

pytestmark = pytest.mark.anyio


class Watcher:
    """Collects news in the background until its stream ends."""

    def __init__(self, system: System, **what: Any) -> None:
        self._system, self._what = system, what
        self.news: list[TaskNews] = []
        self.ended = False

    async def run(self) -> None:
        source = cast("AsyncGenerator[TaskNews]", self._system.stream(WatchTasks(**self._what)))
        async with aclosing(source):
            async for news in source:
                self.news.append(news)
        self.ended = True

    @property
    def kinds(self) -> list[str]:
        return [news.kind for news in self.news]


async def test_one_task_is_followed_from_its_state_to_its_end(stage: Stage) -> None:
    """State, start, failure with its reason, second start, progress, end; then the stream ends by itself."""
    gate = Gate()
    failing = Failing(1, AgentTrapError("unreachable executed"))

    async def work(message: Any) -> dict[str, Any]:
        await failing(message)
        return await gate(message)

    system = await stage.node(work=work)
    watcher = Watcher(system, id="t")
    async with anyio.create_task_group() as group:
        await submit(system, id="t", not_before=stage.clock.time() + 5, retries=Retries(first_s=3.0, jitter=0.0))
        group.start_soon(watcher.run)
        await settle()
        assert [(news.kind, news.state) for news in watcher.news] == [("state", "scheduled")]
        await stage.clock.advance(6.0)
        await settle(60)
        await stage.clock.advance(4.0)
        await settle(60)
        await system.ask(ReportProgress(id="t", attempt=2, progress=0.5, note="half"))
        gate.open.set()
        await settle(60)
    assert watcher.ended
    assert watcher.kinds == ["state", "started", "retrying", "started", "progressed", "ended"]
    retrying, progressed, ended = watcher.news[2], watcher.news[4], watcher.news[5]
    assert (retrying.attempt, retrying.reason) == (1, "agent-trap: unreachable executed")
    assert (progressed.attempt, progressed.progress, progressed.note) == (2, 0.5, "half")
    assert (ended.state, ended.attempt) == ("succeeded", 2)


async def test_a_task_that_has_ended_is_told_at_once_and_an_unknown_one_refused(stage: Stage) -> None:
    """Nobody waits for news that can't come."""
    system = await stage.node()
    await submit(system, id="t")
    await view(system, "t")
    watcher = Watcher(system, id="t")
    await watcher.run()
    assert [(news.kind, news.state) for news in watcher.news] == [("state", "succeeded")]
    with pytest.raises(NotFoundError):
        await Watcher(system, id="unknown").run()


async def test_an_agents_tasks_are_followed_and_others_not(stage: Stage) -> None:
    """The filter holds, the numbers rise, and a cancelled task has ended."""
    gate = Gate()
    system = await stage.node(work=gate)
    watcher = Watcher(system, agent="a")
    async with anyio.create_task_group() as group:
        group.start_soon(watcher.run)
        await settle()
        await submit(system, id="mine", agent="a")
        await submit(system, id="other", agent="b")
        await view(system, "mine")
        await system.ask(CancelTask(id="mine"))
        await settle(60)
        group.cancel_scope.cancel()
    assert watcher.kinds[0] == "listening"
    assert sorted(watcher.kinds[1:3]) == ["started", "submitted"]
    assert (watcher.news[3].kind, watcher.news[3].state) == ("ended", "cancelled")
    assert {news.id for news in watcher.news[1:]} == {"mine"}
    numbers = [int(news.seq.partition("-")[2]) for news in watcher.news]
    assert numbers == sorted(numbers)
    assert len(system.cells["scheduler"].turns) == 0


async def test_a_watcher_that_comes_again_goes_on_where_it_was(stage: Stage) -> None:
    """``after`` gives what came since, once each."""
    system = await stage.node()
    first = Watcher(system)
    async with anyio.create_task_group() as group:
        group.start_soon(first.run)
        await settle()
        await submit(system, id="one")
        await view(system, "one")
        group.cancel_scope.cancel()
    await submit(system, id="two")
    await view(system, "two")
    second = Watcher(system, after=first.news[1].seq)
    async with anyio.create_task_group() as group:
        group.start_soon(second.run)
        await settle()
        group.cancel_scope.cancel()
    assert second.kinds[0] == "listening"
    told = [(news.kind, news.id) for news in [*first.news[1:2], *second.news[1:]]]
    assert sorted(told) == sorted((kind, task) for kind in ("submitted", "started", "ended") for task in ("one", "two"))


@pytest.mark.parametrize("after", ["0-1", "1-999", "nonsense", "1-", "1--1", "99-0"])
async def test_a_place_that_is_not_known_is_a_gap(stage: Stage, after: str) -> None:
    """Another leader's number, a future one or rubbish: the watcher is told that it may have missed something."""
    system = await stage.node()
    watcher = Watcher(system, after=after)
    async with anyio.create_task_group() as group:
        group.start_soon(watcher.run)
        await settle()
        group.cancel_scope.cancel()
    assert watcher.kinds == ["gap"]


async def test_a_follower_passes_the_leaders_news_on() -> None:
    """Whichever instance is asked, the news is the leader's; when the watcher goes, the leader forgets it."""
    hub = MemoryHub()
    async with (
        MemoryBus(hub, name="a") as bus, MemoryBus(hub, name="b") as other, scheduling(bus, node="a") as leader,
        scheduling(other, node="b", work=None) as follower, anyio.create_task_group() as group,
    ):  # fmt: skip
        watcher = Watcher(follower)
        group.start_soon(watcher.run)
        with anyio.fail_after(10):
            while len(watcher.news) < 1:  # noqa: ASYNC110 - news has no event
                await anyio.sleep(0.01)
            await submit(leader, id="t")
            while len(watcher.news) < 4:  # noqa: ASYNC110 - the same
                await anyio.sleep(0.01)
        assert watcher.kinds[0] == "listening"
        assert sorted(watcher.kinds[1:]) == ["ended", "started", "submitted"]
        group.cancel_scope.cancel()


async def test_silence_is_broken_by_heartbeats(stage: Stage) -> None:
    """A listener hears something every fifteen seconds."""
    system = await stage.node()
    watcher = Watcher(system)
    async with anyio.create_task_group() as group:
        group.start_soon(watcher.run)
        await settle()
        await stage.clock.advance(HEARTBEAT_S + 0.1)
        await settle()
        group.cancel_scope.cancel()
    assert watcher.kinds == ["listening", "heartbeat"]


def fact(number: int) -> TaskSubmitted:
    """A fact."""
    return TaskSubmitted(id=f"t{number}", agent="a", priority="normal", at=0.0)


async def test_a_slow_listener_is_cut_off_with_a_notice() -> None:
    """It gets what its bounded queue holds, then ``behind`` with its place; it can come again for the rest."""
    heard = Audience(ManualClock())
    source = heard.listen(WatchTasks(), None)
    assert (await anext(source)).kind == "listening"
    for number in range(QUEUE + 5):
        heard.tell(fact(number))
    news = [one async for one in source]
    assert [one.kind for one in news] == ["submitted"] * QUEUE + ["behind"]
    assert news[-1].seq == news[-2].seq == f"0-{QUEUE}"
    assert (len(heard), heard.cut_off) == (0, 1)
    again = heard.listen(WatchTasks(after=news[-1].seq), None)
    rest = [await anext(again) for _ in range(6)]
    assert [one.id for one in rest[1:]] == [f"t{QUEUE + extra}" for extra in range(5)]
    await again.aclose()


async def test_listeners_are_bounded() -> None:
    """One too many is told to come later; one that left makes room."""
    heard = Audience(ManualClock(), most=1)
    first = heard.listen(WatchTasks(), None)
    await anext(first)
    with pytest.raises(OverloadedError):
        await anext(heard.listen(WatchTasks(), None))
    await first.aclose()
    second = heard.listen(WatchTasks(), None)
    assert (await anext(second)).kind == "listening"
    await second.aclose()


async def test_only_the_last_facts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place before the oldest kept fact is a gap, the one just before it is not."""
    monkeypatch.setattr(audience, "_KEPT", 3)
    heard = Audience(ManualClock())
    for number in range(5):
        heard.tell(fact(number))
    for after, kind in (("0-1", "gap"), ("0-2", "listening")):
        source = heard.listen(WatchTasks(after=after), None)
        assert (await anext(source)).kind == kind
        await source.aclose()
