"""Attempts outlive the scheduler that began them; only what nobody works on is lost, and losses do not count."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors.queueing import states
from actors.queueing.records import Spec, Status
from actors.scheduling.adoption import GRACE_S
from chimera.system import System
from chimera.testing import settle
from chimera.wire import encode
from subjects.agent import Predict
from subjects.control import BEAT, Beat
from subjects.scheduler import CancelTask, Pause, Resume
from subjects.task import Retries
from tests.contract.scheduler.test_leading import usurp
from tests.support.scheduler_stage import Gate, Stage, submit, view

pytestmark = pytest.mark.anyio
ONCE = Retries(attempts=1)


class Joining:
    """An agent's work as its answer window has it: a job runs once, and whoever asks again gets the same answer."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.runs: list[str] = []
        self._ends: dict[str, anyio.Event] = {}
        self.cancelled: list[str] = []

    async def __call__(self, message: Predict) -> dict[str, Any]:
        known = self._ends.get(message.job_id)
        if known is not None:
            await known.wait()
            return message.input
        self.runs.append(message.job_id)
        self._ends[message.job_id] = anyio.Event()
        try:
            await self.gate(message)
        except BaseException:
            self.cancelled.append(message.job_id)
            raise
        self._ends[message.job_id].set()
        return message.input


async def restart(stage: Stage, system: System, epoch: int) -> None:
    """Have the scheduler refused its next word: it fails and is restarted on the same node."""
    bus = await stage.bus(f"usurper-{epoch}")
    await usurp(bus, epoch, system.node)
    with pytest.raises(Exception, match="leader"):
        await system.ask(Pause(agent="nobody"))
    await settle(60)
    for _ in range(3):
        await stage.clock.advance(0.5)
        await settle(30)


async def beat(stage: Stage, node: str, *, jobs: tuple[str, ...] = (), done: tuple[str, ...] = ()) -> None:
    """What the agents of a node say."""
    bus = await stage.bus(f"beat-{int(stage.clock.monotonic())}")
    await bus.publish(BEAT, encode(Beat(node=node, jobs=list(jobs), done=list(done))))
    await stage.clock.advance(0.1)
    await settle(60)


async def test_an_attempt_goes_on_while_its_scheduler_restarts(stage: Stage) -> None:
    """attempts=1: the work runs once, is not cancelled by the restart, and its late answer counts."""
    work = Joining()
    system = await stage.node(work=work)
    await submit(system, id="t", retries=ONCE)
    assert (await view(system, "t")).state == "running"
    await restart(stage, system, 5)
    running = await view(system, "t")
    assert (running.state, running.attempt, running.max_attempts) == ("running", 1, 1)
    await beat(stage, system.node, jobs=("t-1",))
    work.gate.open.set()
    done = await view(system, "t")
    assert (done.state, done.output, done.attempt) == ("succeeded", {"x": 1}, 1)
    assert (work.runs, work.cancelled) == (["t-1"], [])


async def test_an_answer_that_came_while_nobody_led_is_fetched(stage: Stage) -> None:
    """The work ended before anybody asked again: the node that keeps the answer is asked, nothing runs twice."""
    work = Joining()
    system = await stage.node(work=work)
    await submit(system, id="t", retries=ONCE)
    await view(system, "t")
    await restart(stage, system, 5)
    work.gate.open.set()
    assert (await view(system, "t")).state == "running"
    await beat(stage, system.node, done=("t-1",))
    assert (await view(system, "t")).state == "succeeded"
    assert work.runs == ["t-1"]


async def test_what_nobody_names_is_lost_and_does_not_count(stage: Stage) -> None:
    """After the grace the only attempt of a task is tried again under a higher number: the first was no try of it."""
    work = Joining()
    system = await stage.node(work=work)
    await submit(system, id="t", retries=ONCE)
    await view(system, "t")
    await restart(stage, system, 5)
    await stage.clock.advance(GRACE_S - 2.0)
    assert (await view(system, "t")).state == "running"
    await stage.clock.advance(3.0)
    await stage.clock.advance(2.0)
    lost = await view(system, "t")
    assert (lost.state, lost.attempts[0].outcome) == ("running", "lost")
    assert "names this attempt" in lost.attempts[0].detail
    work.gate.open.set()
    done = await view(system, "t")
    assert (done.state, done.attempt) == ("succeeded", 2)


async def test_an_adopted_attempt_counts_in_its_lane_and_can_be_cancelled(stage: Stage) -> None:
    """It takes a place of its agent's concurrency, and a cancel ends it; its answer changes nothing then."""
    work = Joining()
    system = await stage.node(work=work)
    await submit(system, id="t", retries=ONCE)
    await view(system, "t")
    await restart(stage, system, 5)
    await system.ask(CancelTask(id="t"))
    await beat(stage, system.node, jobs=("t-1",))
    work.gate.open.set()
    assert (await view(system, "t")).state == "cancelled"
    await system.ask(Resume(agent="nobody"))


def test_a_task_that_is_lost_too_often_dies_with_that_reason() -> None:
    """A poison task that ends whatever runs it must end, too: the sixth loss is its last."""
    spec = Spec("t", "a", "predict", b"", 2, 0.0, 0.0, 30.0, 1, 1.0, 2.0, 300.0, 0.0, "", (), "", 60.0, 0.0)
    status = states.submitted(spec, 0.0)
    for number in range(1, states.LOSSES + 1):
        status = states.lost(states.started(status, 1.0), 2.0, "gone", wait_s=0.0)
        assert (status.state, status.used, status.attempt, status.losses) == ("scheduled", 0, number, number)
        status = states.queued(status, 3.0)
    status: Status = states.lost(states.started(status, 1.0), 2.0, "gone", wait_s=0.0)
    assert status.state == "dead"
    assert "6 attempts were lost" in status.reason
