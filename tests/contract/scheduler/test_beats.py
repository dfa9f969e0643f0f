"""The agents' signs of life reach the scheduler: the real agent actor, its window and its beats, end to end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from actors import agent
from actors.queueing.stuck import Patience
from actors.scheduler import Scheduler
from actors.scheduling.core import Policy
from chimera.errors import RestartingError
from subjects.scheduler import GetTask, ListStuck, Pause, ReportProgress, Submit
from subjects.task import Retries
from tests.contract.scheduler.test_leading import usurp
from tests.support.agent_world import World, world

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """A beat every 20 ms instead of every three seconds."""
    monkeypatch.setattr(agent, "_BEAT_S", 0.02)


def core_of(here: World) -> Any:
    """The present scheduler's state."""
    instance = here.system.cells["scheduler"].instance
    actor: Any = instance.actor if instance is not None else None
    return getattr(actor, "_core", None)


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that has no event, ten seconds at most."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - see above
            await anyio.sleep(0.005)


async def start(here: World, **fields: Any) -> None:
    """Have one task run that nobody lets go."""
    here.box.gate = anyio.Event()
    await here.system.ask(Submit(id="t", agent="echo", input={"label": "x"}, **fields))
    await until(lambda: "t" in core_of(here).ledger.running)


async def test_an_agents_beats_keep_its_attempt_alive() -> None:
    """Patience of 0.3 s, a task of far more: the beats of the agent's loop, and no answer, keep it from being stuck."""
    policy = Policy(patience=Patience(heartbeat_s=0.3), rescue=True)
    async with world() as here:
        await here.system.spawn(Scheduler, bus=here.bus, policy=policy)
        await start(here)
        task = core_of(here).ledger.running["t"]
        first = task.beat_at
        await until(lambda: task.beat_at > first + 0.6)
        assert (await here.system.ask(ListStuck())).tasks == []
        assert (await here.system.ask(GetTask(id="t"))).attempt == 1
        here.box.gate.set()
        assert (await here.system.ask(GetTask(id="t", wait_ms=5000))).state == "succeeded"


async def test_without_beats_it_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round, so that the test above can fail: an agent that never beats loses its attempt."""
    monkeypatch.setattr(agent, "_BEAT_S", 1000.0)
    async with world() as here:
        await here.system.spawn(Scheduler, bus=here.bus, policy=Policy(patience=Patience(heartbeat_s=0.3)))
        await start(here)
        await until(lambda: (tries := core_of(here).ledger.tasks["t"].status.tries) and tries[0].outcome == "lost")
        here.box.gate.set()


async def test_a_restarted_scheduler_gets_the_answer_of_the_running_attempt() -> None:
    """attempts=1, the real window and real beats: the scheduler is replaced, the work runs once and counts."""
    async with world() as here:
        await here.system.spawn(Scheduler, bus=here.bus)
        await start(here, retries=Retries(attempts=1))
        before = core_of(here)
        await usurp(here.bus, 5, here.system.node)
        with suppress(RestartingError):
            await here.system.ask(Pause(agent="nobody"))
        await until(lambda: (now := core_of(here)) is not None and now is not before and now.ledger.epoch == 6)
        await until(lambda: "t" in core_of(here).scopes)
        here.box.gate.set()
        done = await here.system.ask(GetTask(id="t", wait_ms=8000), timeout_s=10.0)
        assert (done.state, done.attempt) == ("succeeded", 1)
        assert len(here.box.payloads) == 1


async def test_progress_of_a_fenced_attempt_says_stop() -> None:
    """A worker whose attempt is not the present one is told so."""
    async with world() as here:
        await here.system.spawn(Scheduler, bus=here.bus)
        await start(here)
        assert (await here.system.ask(ReportProgress(id="t", attempt=2, progress=0.1))).stop
        assert not (await here.system.ask(ReportProgress(id="t", attempt=1, progress=0.1, note="n"))).stop
        assert (await here.system.ask(GetTask(id="t"))).progress == 0.1
        here.box.gate.set()
