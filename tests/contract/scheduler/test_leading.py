"""Who leads, when a leader was replaced without a word of its own to be refused, or came back."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from actors.queueing.records import Took, pack
from actors.scheduling.journal import LEASE_S, STREAM, SUBJECT
from chimera.bus import Bus, MemoryBus, MemoryHub
from chimera.errors import BusDownError, RestartingError
from chimera.journal import join
from chimera.system import System
from chimera.testing import settle
from chimera.wire import encode
from subjects import Request
from subjects.control import DOWN, ActorDown
from subjects.scheduler import (
    CancelTask,
    CheckScheduler,
    GetQueue,
    GetTask,
    ListDead,
    ListSchedules,
    ListStuck,
    ListTasks,
    Pause,
    Revive,
    Submit,
    Unschedule,
)
from tests.support.scheduler_stage import Stage, submit, view
from tests.support.scheduling import scheduling

pytestmark = pytest.mark.anyio


async def usurp(bus: Bus, epoch: int, node: str) -> None:
    """Take the lead in the log, in the name of a node."""
    _, last, _ = await bus.stream_state(STREAM)
    await bus.append(SUBJECT, join([pack(Took(epoch, node, 0.0))]), msg_id=f"usurp-{epoch}", expected_last=last)


async def epoch_of(system: System) -> int:
    """The epoch of the scheduler that answers, after however many restarts."""
    while True:
        with suppress(RestartingError):
            return (await system.ask(CheckScheduler())).epoch
        await settle()


QUESTIONS = [
    GetTask(id="t"), GetTask(id="unknown"), CancelTask(id="unknown"), Revive(id="t"), Unschedule(id="unknown"),
    Submit(id="t", input={"other": 1}), ListTasks(), GetQueue(), ListStuck(), ListDead(), ListSchedules(),
    CheckScheduler(),
]  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: type(question).__name__)
async def test_a_leader_that_slept_does_not_answer_for_the_present(stage: Stage, question: Request[object]) -> None:
    """After a silence in which somebody else took over, nothing is answered, nor refused, from memory."""
    system = await stage.node("a")
    await submit(system, id="t")
    await view(system, "t")
    await usurp(await stage.bus("o"), 7, "zz")
    assert (await system.ask(GetTask(id="t"))).state == "succeeded"  # it has just written: nobody takes over that fast
    await stage.clock.advance(LEASE_S + 0.5)
    with pytest.raises(RestartingError):
        await system.ask(question)


async def test_a_leader_that_nobody_asks_finds_out_by_itself(stage: Stage) -> None:
    """Without a write and without a question, a replaced leader steps down with its next housekeeping."""
    system = await stage.node("a")
    await settle()
    await usurp(await stage.bus("o"), 7, "zz")
    for _ in range(8):
        await stage.clock.advance(1.0)
        await settle()
    assert await epoch_of(system) == 8  # whoever took over is not there: it leads again


async def test_reads_go_on_while_the_log_can_not_be_asked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can take over without the server: what is known goes on being told."""
    system = await stage.node("a")
    await submit(system, id="t")
    await view(system, "t")
    assert system.bus is not None

    async def silent(stream: str) -> tuple[int, int, int]:
        raise BusDownError(stream)

    monkeypatch.setattr(system.bus, "stream_state", silent)
    await stage.clock.advance(LEASE_S + 0.5)
    assert (await system.ask(GetTask(id="t"))).state == "succeeded"


async def test_a_leader_that_came_back_is_not_replaced_for_its_former_end() -> None:
    """The notice that a leader ended comes after the same node took the lead anew: the follower goes on following."""
    hub = MemoryHub()
    async with (
        MemoryBus(hub, name="b") as other, MemoryBus(hub, name="a") as bus, scheduling(bus, node="a") as first,
        scheduling(other, node="b") as second,
    ):  # fmt: skip
        assert (await second.ask(CheckScheduler())).epoch == 1
        await usurp(other, 2, "a")
        with suppress(RestartingError):
            await first.ask(Pause())  # refused: it restarts, and takes the lead anew
        await _until(first, 3)
        await bus.publish(DOWN, encode(ActorDown(node="a", address="scheduler@a", reason="stopped")))
        await settle()
        await _until(second, 3)
        health = await second.ask(CheckScheduler())
        assert (health.leader, health.epoch) == ("a", 3)


async def _until(system: System, epoch: int) -> None:
    """Ask until the leader of this epoch answers, for ten seconds at most."""
    with anyio.fail_after(10):
        while await epoch_of(system) != epoch:  # noqa: ASYNC110 - the other node has no event here
            await anyio.sleep(0.01)
