"""Server-sent events: the wire form, refusals before the first byte, errors after it, and the end of everything."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import msgspec
import pytest

from chimera import SystemClock
from chimera.errors import NotFoundError, RestartingError
from chimera.http import Bridge, BridgeSettings
from chimera.http.patience import Patience
from chimera.http.streaming import Streams
from chimera.metrics import Metrics
from subjects import Port
from subjects.news import TaskNews, WatchTasks
from tests.support.bridge import FakeCaller, FakeProbe, ManualClock, Rig

pytestmark = pytest.mark.anyio

NEWS = [
    TaskNews(kind="state", seq="1-4", at=1.5, id="t", agent="a", state="running", attempt=1),
    TaskNews(kind="heartbeat", seq="1-4", at=2.0),
    TaskNews(kind="ended", seq="1-5", at=2.5, id="t", agent="a", state="succeeded", attempt=1, note="two\nlines"),
]


async def test_elements_become_events_with_name_and_id() -> None:
    """Each element is one event; a heartbeat is a comment; a line end in a text stays inside its JSON."""
    rig = Rig(port=Port.SCHEDULER)
    rig.caller.streamed = NEWS
    async with rig.client() as client:
        answer = await client.get("/api/tasks/t/events")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    retry, state, heartbeat, ended, nothing = answer.text.split("\n\n")
    assert (retry, heartbeat, nothing) == ("retry: 2000", ": heartbeat", "")
    assert state.split("\n")[:2] == ["event: state", "id: 1-4"]
    name, place, data = ended.split("\n")
    assert (name, place) == ("event: ended", "id: 1-5")
    assert msgspec.json.decode(data.removeprefix("data: "), type=TaskNews) == NEWS[2]
    assert rig.caller.asked == [WatchTasks(id="t")]
    assert rig.caller.streams_ended == 1


async def test_last_event_id_and_query_reach_the_actor() -> None:
    """The header that a browser sends after a reconnect becomes ``after``; the query names the agent."""
    rig = Rig(port=Port.SCHEDULER)
    async with rig.client() as client:
        await client.get("/api/events", params={"agent": "a"}, headers={"Last-Event-ID": "1-4"})
        refused = await client.get("/api/events", headers={"Last-Event-ID": "9" * 65})
    assert rig.caller.asked == [WatchTasks(agent="a", after="1-4")]
    assert (refused.status_code, refused.json()["code"]) == (400, "bad-message")


async def test_a_refusal_keeps_its_status_and_a_later_failure_is_an_event() -> None:
    """Before the first element an error is an HTTP error; after it, the last event says what happened."""
    rig = Rig(port=Port.SCHEDULER)
    rig.caller.error = NotFoundError("no task 't' is known")
    async with rig.client() as client:
        refused = await client.get("/api/tasks/t/events")
        rig.caller.error, rig.caller.streamed, rig.caller.failure = None, NEWS[:1], RestartingError("it restarts")
        broken = await client.get("/api/tasks/t/events")
    assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
    assert broken.status_code == 200
    name, data = broken.text.rstrip().split("\n\n")[-1].split("\n")
    assert name == "event: closed"
    assert msgspec.json.decode(data.removeprefix("data: "))["code"] == "restarting"


async def test_head_gets_headers_only() -> None:
    """HEAD does not listen."""
    rig = Rig(port=Port.SCHEDULER)
    rig.caller.streamed, rig.caller.endless = NEWS[:1], True
    async with rig.client() as client:
        answer = await client.head("/api/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert rig.caller.streams_ended == 1


async def test_open_streams_are_bounded_and_none_begins_after_the_end() -> None:
    """One too many is told when to come again; after ``close`` nobody gets in."""
    streams = Streams(most=1)
    with Patience(ManualClock()) as first:
        streams.enter(first)
        assert len(streams) == 1
        with pytest.raises(Exception, match="1 streams are open"):
            streams.enter(Patience(ManualClock()))
        streams.close()
    assert first.cut == "closed"
    streams.leave(first)
    with pytest.raises(Exception, match="the bridge stops"):
        streams.enter(Patience(ManualClock()))


@asynccontextmanager
async def listening(folder: Path) -> AsyncGenerator[tuple[Bridge, FakeCaller, httpx.AsyncClient]]:
    """A bridge on a socket whose actor streams one element and then nothing."""
    caller = FakeCaller()
    caller.streamed, caller.endless = NEWS[:1], True
    settings = BridgeSettings(ports={Port.SCHEDULER: 0}, data=folder, drain_s=30.0)
    bridge = Bridge(caller, FakeProbe(), settings, metrics=Metrics(), clock=SystemClock())
    async with anyio.create_task_group() as group:
        await bridge.start()
        group.start_soon(bridge.wait)
        base = f"http://127.0.0.1:{bridge.ports[Port.SCHEDULER]}"
        async with httpx.AsyncClient(base_url=base, timeout=10, trust_env=False) as client:
            yield bridge, caller, client
        await bridge.stop()


async def test_a_stopping_bridge_ends_its_streams_at_once(tmp_path: Path) -> None:
    """A listener hears that the server stops; the drain time is not used up for it."""
    async with listening(tmp_path) as (bridge, caller, client), client.stream("GET", "/api/events") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        with anyio.fail_after(10):
            await bridge.stop()
            rest = [line async for line in lines]
        assert ": the server stops" in rest
        assert caller.streams_ended == 1


async def test_a_listener_that_goes_away_ends_its_stream(tmp_path: Path) -> None:
    """Closing the connection closes the actor's side."""
    async with listening(tmp_path) as (_, caller, client):
        async with client.stream("GET", "/api/events") as answer:
            assert await anext(answer.aiter_lines()) == "retry: 2000"
            assert caller.streams_ended == 0
        with anyio.fail_after(10):
            while not caller.streams_ended:  # noqa: ASYNC110 - the other side has no event here
                await anyio.sleep(0.01)
