"""The agent actor runs tasks: answers, repeats, failures, candidates, breakers, bulkheads."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from actors.execution.settings import Serving
from chimera.errors import (
    AgentContractError,
    AgentError,
    AgentTrapError,
    BadMessageError,
    BreakerOpenError,
    ChimeraError,
    ConflictError,
    DeadlineError,
    NoAgentError,
    NoReleaseError,
    OverloadedError,
    UnavailableError,
)
from chimera.wire import decode
from subjects.agent import (
    AgentView,
    CheckHealth,
    Deploy,
    ListAgents,
    Manifest,
    Predict,
    Rollback,
)
from subjects.event import TaskProcessed
from tests.support.agent_world import MANIFEST, world
from tests.support.guests import MODULE, FakeSandbox, module
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


async def test_predict_answers_and_records() -> None:
    """A task is answered by the live release, and one record of it reaches the KPI stream."""
    async with world() as one:
        answer = await one.predict("a", text="hi")
        assert (answer.release, answer.output["says"], answer.replayed) == (1, {"text": "hi"}, False)
        assert answer.timings.run_ms == 1.0
        assert answer.timings.total_ms >= 0
        record = decode((await one.stored("KPI", 1))[0].data, TaskProcessed)
        assert (record.job_id, record.agent, record.outcome, record.input) == ("a", "echo", "ok", {"text": "hi"})


async def test_inputs_are_not_recorded_when_switched_off() -> None:
    """With recording off, neither input nor output is in the record."""
    async with world(serving=Serving(flush_s=0.001, record_inputs=False)) as one:
        await one.predict("a", text="secret")
        assert b"secret" not in (await one.stored("KPI", 1))[0].data


async def test_a_repeated_job_gets_its_stored_answer() -> None:
    """The same job and body do not run twice, whatever order the body's keys have."""
    async with world() as one:
        first = await one.predict("a", x=1, y=2)
        again = await one.predict("a", y=2, x=1)
        assert again.replayed
        assert again.output == first.output
        assert len(one.box.payloads) == 1


async def test_a_job_id_with_another_body_is_a_conflict() -> None:
    """A job id names one request."""
    async with world() as one:
        await one.predict("a", x=1)
        with pytest.raises(ConflictError):
            await one.predict("a", x=2)


async def test_unknown_agent_and_task() -> None:
    """Both are refused by name, and nothing runs."""
    async with world() as one:
        with pytest.raises(NoAgentError):
            await one.predict("a", agent="nobody")
        with pytest.raises(BadMessageError, match="has no task 'fly'"):
            await one.ask(Predict(job_id="b", agent="echo", task="fly", input={}))
        assert not one.box.payloads


@pytest.mark.parametrize(
    ("kind", "error", "outcome"),
    [
        ("agent-error", AgentError, "agent-error"),
        ("agent-trap", AgentTrapError, "agent-trap"),
        ("lost", UnavailableError, "crashed"),
        ("list", AgentContractError, "agent-contract"),
    ],
)
async def test_each_failure_is_its_own_error(kind: str, error: type[ChimeraError], outcome: str) -> None:
    """What became of a task in the guest is told apart, in the answer and in the record."""
    async with world() as one:
        with pytest.raises(error):
            await one.predict("a", do=kind)
        assert decode((await one.stored("KPI", 1))[0].data, TaskProcessed).outcome == outcome


async def test_deploys_and_rollbacks_under_load_fail_no_request() -> None:
    """While releases change back and forth, every one of many concurrent tasks is answered."""
    async with world() as one:
        releases: set[int] = set()
        stop = False

        async def load(worker: int) -> None:
            count = 0
            while not stop:
                count += 1
                releases.add((await one.predict(f"{worker}-{count}", n=count)).release)

        async with anyio.create_task_group() as group:
            for worker in range(8):
                group.start_soon(load, worker)
            for version in range(6):
                await one.ask(Deploy(name="echo", module=module(f"v{version}")))
                await one.predict(f"after-{version}", n=0)
                if version % 2:
                    await one.ask(Rollback(name="echo"))
            stop = True
        assert len(releases) > 2


async def test_old_guests_are_unloaded_but_the_previous_stays_warm() -> None:
    """After three deploys two guests are left: live and previous."""
    async with world() as one:
        for gain in (2.0, 3.0, 4.0):
            view: AgentView = await one.ask(Deploy(name="echo", genome={"gain": gain}))
        assert (view.live, view.previous) == (4, 3)
        await until(lambda: len(one.box.open_guests()) == 2)
        assert {guest.spec.genome for guest in one.box.open_guests()} == {(4.0,), (3.0,)}


async def test_rollback_returns_to_the_warm_previous_release_once() -> None:
    """Rolling back loads nothing, and a second one does not bring the bad release back."""
    async with world() as one:
        await one.ask(Deploy(name="echo", genome={"gain": 2.0}))
        loaded = len(one.box.guests)
        view = await one.ask(Rollback(name="echo"))
        assert (view.live, view.previous) == (1, None)
        assert (await one.predict("a")).output["genome"] == [1.0]
        assert len(one.box.guests) == loaded
        with pytest.raises(NoReleaseError):
            await one.ask(Rollback(name="echo"))


async def test_a_candidate_gets_its_share_and_keys_stick() -> None:
    """A candidate serves about its share of keys, the same ones again, and rollback drops it."""
    async with world() as one:
        view = await one.ask(Deploy(name="echo", genome={"gain": 2.0}, share=0.3))
        assert (view.live, view.candidate.release, view.candidate.share) == (1, 2, 0.3)
        first = [(await one.predict(f"a{n}", key=f"k{n}")).release for n in range(200)]
        again = [(await one.predict(f"b{n}", key=f"k{n}")).release for n in range(200)]
        assert first == again
        assert 30 <= first.count(2) <= 90
        view = await one.ask(Rollback(name="echo"))
        assert (view.live, view.candidate) == (1, None)
        assert (await one.predict("z", key=f"k{first.index(2)}")).release == 1


async def test_a_failing_candidate_does_not_take_the_agent_down() -> None:
    """Once the candidate's breaker is open, the live release serves its keys."""
    async with world() as one:
        await one.ask(Deploy(name="echo", genome={"gain": 2.0}, share=0.999))
        for n in range(3):
            with pytest.raises(AgentTrapError):
                await one.predict(f"a{n}", do="agent-trap")
        assert (await one.predict("b")).release == 1
        assert (await one.ask(CheckHealth())).status == "warn"


async def test_the_breaker_opens_for_faults_and_not_for_refusals() -> None:
    """Refused inputs never open it; traps do, with a time to come back, and the log says so."""
    async with world() as one:
        for n in range(10):
            with pytest.raises(AgentError):
                await one.predict(f"a{n}", do="agent-error")
        for n in range(20):
            with pytest.raises((AgentTrapError, BreakerOpenError)):
                await one.predict(f"b{n}", do="agent-trap")
        with pytest.raises(BreakerOpenError) as caught:
            await one.predict("c")
        assert (caught.value.retry_after_s or 0) > 0
        row = (await one.ask(ListAgents())).agents[0]
        assert row.breaker.state == "open"
        assert "circuit-breaker" in one.events.names()


async def test_a_full_bulkhead_sheds_and_other_agents_go_on() -> None:
    """One agent's backlog is refused with retry-after; another agent is served meanwhile."""
    other = Manifest(name="other")
    async with world(
        serving=Serving(flush_s=0.001, in_flight=4), shipped=((MANIFEST, MODULE), (other, module("other")))
    ) as one:
        hold = one.box.held["echo"] = anyio.Event()
        async with anyio.create_task_group() as group:
            for n in range(4):
                group.start_soon(one.predict, f"a{n}")
            with anyio.fail_after(5):
                while (await one.ask(ListAgents())).agents[0].in_flight < 4:
                    await anyio.lowlevel.checkpoint()
            with pytest.raises(OverloadedError) as caught:
                await one.predict("b")
            assert (caught.value.retry_after_s or 0) > 0
            assert (await one.predict("c", agent="other")).agent == "other"
            hold.set()


async def test_a_deadline_bounds_a_task_that_waits_for_a_worker() -> None:
    """With every worker held, a task with 30 ms is answered in time, as not run."""
    async with world(box=FakeSandbox(workers=0), serving=Serving(batch_timeout_ms=10_000.0, flush_s=0.001)) as one:
        with pytest.raises(DeadlineError) as caught:
            await one.ask(Predict(job_id="a", agent="echo", input={}, deadline_ms=30))
        assert (caught.value.data or {})["stage"] == "queued"
        assert not one.box.payloads
