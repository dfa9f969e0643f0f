"""Faults that the simulation found, each as the smallest story that shows it."""

from __future__ import annotations

import anyio
import pytest

from actors.scheduling.journal import LEASE_S
from chimera.bus import Appended
from chimera.errors import AgentError, AgentTrapError, ConflictError, DeadlineError, RestartingError
from chimera.testing import settle
from subjects.scheduler import CancelTask, GetTask, Revive
from subjects.task import Retries
from tests.support.scheduler_stage import Failing, Gate, Stage, submit, view

pytestmark = pytest.mark.anyio


async def test_an_end_is_told_when_it_is_stored_and_not_before(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a wait that runs out nor a cancel that comes too late tells of an end that could still be lost."""
    gate, stored = Gate(), anyio.Event()
    system = await stage.node(work=gate)
    task = await submit(system)
    await view(system, task)
    bus = system.bus
    assert bus is not None
    append = bus.append

    async def slow(
        subject: str, data: bytes, *, msg_id: str, expected_last: int | None = None, timeout_s: float = 5.0
    ) -> Appended:
        await stored.wait()
        return await append(subject, data, msg_id=msg_id, expected_last=expected_last, timeout_s=timeout_s)

    monkeypatch.setattr(bus, "append", slow)
    told: list[str] = []

    async def ask(question: GetTask | CancelTask) -> None:
        told.append((await system.ask(question)).state)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, GetTask(id=task, wait_ms=500))
        await settle()
        gate.open.set()
        await settle()
        group.start_soon(ask, CancelTask(id=task))
        await stage.clock.advance(1.0)
        assert told == []
        stored.set()
    assert told == ["succeeded", "succeeded"]


async def test_a_revived_task_takes_no_key_from_an_unfinished_one(stage: Stage) -> None:
    """While another task has the key, a dead one stays dead: alone it is refused, among many it is left out."""
    system = await stage.node(work=Failing(1, AgentError("no")))
    dead = await submit(system, id="old", key="k")
    assert (await view(system, dead)).state == "dead"
    holder = await submit(system, id="new", key="k", not_before=stage.clock.time() + 60.0)
    with pytest.raises(ConflictError, match="'new' has key 'k'"):
        await system.ask(Revive(id=dead))
    assert (await system.ask(Revive(every=True))).ids == []
    assert await submit(system, id="third", key="k") == holder


async def test_a_clock_that_is_set_back_does_not_lengthen_a_pause(stage: Stage) -> None:
    """An hour back: a retry waits no longer than its longest pause, and a time that was named stays what it was."""
    system = await stage.node(work=Failing(1, AgentTrapError("trap")))
    retried = await submit(system, retries=Retries(attempts=3, first_s=4.0, most_s=5.0))
    named = stage.clock.time() + 30.0
    later = await submit(system, not_before=named)
    assert (await view(system, retried)).state == "scheduled"
    stage.clock.jump(-3600.0)
    await stage.clock.advance(2.0)
    assert (await view(system, retried)).state == "scheduled"
    await stage.clock.advance(6.0)
    assert (await view(system, retried)).state == "succeeded"
    assert (await view(system, later)).due_at == named


async def test_a_leader_that_can_not_be_confirmed_by_a_present_server_does_not_speak(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers pings, but not who wrote last: somebody else may lead, so nothing is told from memory."""
    system = await stage.node()
    task = await submit(system)
    await view(system, task)
    assert system.bus is not None

    async def mute(stream: str) -> tuple[int, int, int]:
        raise DeadlineError(stream, stage="sent")

    monkeypatch.setattr(system.bus, "stream_state", mute)
    await stage.clock.advance(LEASE_S + 0.5)
    with pytest.raises(RestartingError, match="who leads"):
        await system.ask(GetTask(id=task))
