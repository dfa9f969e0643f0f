"""The agent actor on the memory bus, with a sandbox and a store in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from actors.agent import Agent
from actors.execution.breaker import BreakerPolicy
from actors.execution.settings import Serving
from chimera import System
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.errors import (
    AgentContractError,
    AgentError,
    AgentTrapError,
    BadGenomeError,
    BadMessageError,
    BadModuleError,
    BreakerOpenError,
    ChimeraError,
    ConflictError,
    DeadlineError,
    LayerNotRunningError,
    NoAgentError,
    NoJobError,
    NoReleaseError,
    OverloadedError,
    UnavailableError,
)
from chimera.store.contract import Store
from chimera.testing import EventRecorder
from chimera.wire import decode
from subjects.agent import (
    AgentView,
    CheckHealth,
    CheckOptimizer,
    ConfigureBatching,
    Deploy,
    Feedback,
    ListAgents,
    Manifest,
    Optimize,
    Parameter,
    Predict,
    Prediction,
    RegisterAgent,
    Retire,
    Rollback,
    ShowAgent,
)
from subjects.event import ReleaseChanged, TaskJudged, TaskProcessed
from tests.support.guests import MODULE, FakeSandbox, FakeStore, module
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

MANIFEST = Manifest(name="echo", label="label", genome=[Parameter(name="gain", low=0.0, high=20.0, default=1.0)])
QUICK = Serving(flush_s=0.001, breaker=BreakerPolicy(failures=3))


class World:
    """One node with an agent actor; ``hub``, ``box`` and ``store`` can outlive it."""

    def __init__(
        self, system: System, bus: MemoryBus, box: FakeSandbox, store: FakeStore, events: EventRecorder
    ) -> None:
        self.system, self.bus, self.box, self.store, self.events = system, bus, box, store, events

    async def ask(self, message: Any) -> Any:
        """The answer of this node's actor."""
        return await self.system.ref("agent", node=self.system.node).ask(message, timeout_s=5.0)

    async def predict(self, job_id: str, /, agent: str = "echo", key: str = "", **said: Any) -> Prediction:
        """One task."""
        return await self.ask(Predict(job_id=job_id, agent=agent, key=key, input=said))

    async def stored(self, stream: str, count: int, subject: str = "") -> list[Any]:
        """The first ``count`` messages of a stream, waiting for them."""
        found: list[Any] = []
        with anyio.fail_after(5):
            async with self.bus.read(stream, follow=True, subject=subject) as messages:
                async for message in messages:
                    found.append(message)
                    if len(found) == count:
                        break
        return found


@asynccontextmanager
async def world(
    hub: MemoryHub | None = None,
    *,
    node: str = "one",
    box: FakeSandbox | None = None,
    store: FakeStore | None = None,
    serving: Serving = QUICK,
    shipped: tuple[tuple[Manifest, bytes], ...] = ((MANIFEST, MODULE),),
) -> AsyncGenerator[World]:
    """A running agent actor."""
    box, store, events = box or FakeSandbox(), store or FakeStore(), EventRecorder()
    async with (
        MemoryBus(hub or MemoryHub(), name=node) as bus,
        System(bus, node=node, events=events, strict_local=True) as system,
    ):
        await system.spawn(Agent, sandbox=box, bus=bus, store=cast("Store", store), serving=serving, shipped=shipped)
        yield World(system, bus, box, store, events)


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


async def test_retire_and_return() -> None:
    """A retired agent is gone from service but on record; a deploy brings it back."""
    async with world() as one:
        view = await one.ask(Retire(name="echo"))
        assert view.state == "retired"
        assert (await one.ask(Retire(name="echo"))).state == "retired"
        with pytest.raises(NoAgentError, match="retired"):
            await one.predict("a")
        with pytest.raises(ConflictError):
            await one.ask(RegisterAgent(module=MODULE, manifest=MANIFEST))
        assert (await one.ask(Deploy(name="echo", release=1))).state == "live"
        assert (await one.predict("b")).release == 1


async def test_refused_acts_write_nothing() -> None:
    """A bad module, genome, manifest or number is refused before the book changes."""
    async with world() as one:
        for message, error in (
            (RegisterAgent(module=b"elf", manifest=Manifest(name="bad")), BadModuleError),
            (Deploy(name="echo", genome={"gian": 2.0}), BadGenomeError),
            (Deploy(name="echo", genome={"gain": 13.0}), BadGenomeError),
            (Deploy(name="echo", manifest=Manifest(name="else")), BadModuleError),
            (Deploy(name="echo", release=9), NoReleaseError),
            (Deploy(name="echo", release=1, share=0.5), ConflictError),
            (Deploy(name="echo"), BadMessageError),
            (Deploy(name="nobody", release=1), NoAgentError),
        ):
            with pytest.raises(error):
                await one.ask(message)
        assert len((await one.ask(ShowAgent(name="echo"))).releases) == 1


async def test_acts_are_safe_to_repeat_and_are_told() -> None:
    """The same deploy again makes no second release; each real act is one fact, one log line, one projection."""
    async with world() as one:
        for _ in range(2):
            view = await one.ask(Deploy(name="echo", genome={"gain": 2.0}))
            assert (view.live, len(view.releases)) == (2, 2)
        facts = [decode(m.data, ReleaseChanged) for m in await one.stored("EVENTS", 2, "chimera.event.agent.released")]
        assert [(fact.act, fact.live, fact.by) for fact in facts] == [
            ("registered", 1, "shipped"), ("deployed", 2, "operator"),
        ]  # fmt: skip
        assert one.events.names().count("release-changed") == 2
        assert one.store.views["echo"].live == 2


async def test_feedback_turns_into_accuracy() -> None:
    """A label is compared with the declared field; a later verdict replaces the former; unknown jobs are refused."""
    async with world() as one:
        await one.predict("a", label="good")
        await one.predict("b", label="bad")
        assert (await one.ask(Feedback(job_id="a", label="good"))).correct is True
        taken = await one.ask(Feedback(job_id="b", label="good"))
        assert (taken.correct, taken.accuracy, taken.judged) == (False, 0.5, 2)
        assert (await one.ask(Feedback(job_id="b", label="bad"))).accuracy == 1.0
        assert (await one.ask(Feedback(job_id="b", score=0.5))).correct is None
        with pytest.raises(NoJobError):
            await one.ask(Feedback(job_id="zzz", label="good"))
        with pytest.raises(BadMessageError):
            await one.ask(Feedback(job_id="a"))
        judged = decode((await one.stored("EVENTS", 1, "chimera.event.agent.judged"))[0].data, TaskJudged)
        assert (judged.label, judged.predicted_label) == ("good", "good")
        assert (await one.ask(ListAgents())).agents[0].accuracy == 1.0


async def test_a_restart_restores_releases_from_the_book() -> None:
    """A new node with an empty store and sandbox serves what was live, candidate included, modules from the objects."""
    hub = MemoryHub()
    async with world(hub) as one:
        await one.ask(Deploy(name="echo", module=module("two")))
        await one.ask(Deploy(name="echo", genome={"gain": 3.0}, share=0.5))
    async with world(hub, node="two", shipped=()) as two:
        view = await two.ask(ShowAgent(name="echo"))
        assert (view.live, view.previous, view.candidate.release) == (2, 1, 3)
        assert (await two.predict("a")).release in {2, 3}
        assert two.store.views["echo"].live == 2


async def test_other_nodes_follow_an_act() -> None:
    """A deploy on one node is in force on the other soon after, without anybody asking it."""
    hub = MemoryHub()
    async with world(hub) as one, world(hub, node="two", shipped=()) as two:
        await one.ask(Deploy(name="echo", genome={"gain": 2.0}))
        with anyio.fail_after(5):
            count = 0
            while (await two.predict(f"a{count}")).release != 2:
                count += 1
                await anyio.sleep(0.001)


async def test_a_newer_shipped_version_never_overrides_a_person() -> None:
    """It is deployed over a shipped release, not over a person's, and not again after a person rolled it back."""
    hub, newer = MemoryHub(), ((MANIFEST, module("newer")),)
    async with world(hub):
        pass
    async with world(hub, shipped=newer) as one:
        assert (await one.ask(ShowAgent(name="echo"))).live == 2
        await one.ask(Rollback(name="echo"))
    async with world(hub, shipped=newer) as one:
        assert (await one.ask(ShowAgent(name="echo"))).live == 1
        await one.ask(Deploy(name="echo", genome={"gain": 2.0}))
    async with world(hub, shipped=((MANIFEST, module("newest")),)) as one:
        assert (await one.ask(ShowAgent(name="echo"))).live == 3


async def test_an_agent_that_cannot_be_loaded_is_reported_and_others_serve() -> None:
    """A lost module makes its own agent unavailable and the health a warning; the other agent serves."""
    hub = MemoryHub()
    async with world(hub, shipped=((MANIFEST, MODULE), (Manifest(name="other"), module("other")))):
        pass
    hub.objects["modules"].clear()
    box = FakeSandbox()
    await box.check(module("other"))
    async with world(hub, box=box, shipped=()) as one:
        assert (await one.predict("a", agent="other")).agent == "other"
        with pytest.raises(UnavailableError, match="object store"):
            await one.predict("b")
        health = await one.ask(CheckHealth())
        assert (health.status, health.agents) == ("warn", ["other"])
        assert "object store" in health.checks["agent:echo"]


async def test_batching_is_applied_at_once_and_kept() -> None:
    """New batch settings answer with the old ones and survive a restart; a store that fails refuses them."""
    hub, store = MemoryHub(), FakeStore()
    async with world(hub, store=store) as one:
        answer = await one.ask(ConfigureBatching(batch_size=7, batch_timeout_ms=50))
        assert (answer.batch_size, answer.previous_batch_size) == (7, 32)
        assert "batching-changed" in one.events.names()
    async with world(hub, store=store) as one:
        assert (await one.ask(ConfigureBatching(batch_size=8, batch_timeout_ms=50))).previous_batch_size == 7
        store.broken = True
        with pytest.raises(UnavailableError):
            await one.ask(ConfigureBatching(batch_size=9, batch_timeout_ms=50))
        store.broken = False
        assert (await one.ask(ConfigureBatching(batch_size=9, batch_timeout_ms=50))).previous_batch_size == 8


async def test_layers_that_do_not_run_are_said_so() -> None:
    """Without an optimizer both operations answer ``layer-not-running``, as often as they are asked."""
    async with world() as one:
        for _ in range(5):
            with pytest.raises(LayerNotRunningError):
                await one.ask(CheckOptimizer())
        with pytest.raises(LayerNotRunningError):
            await one.ask(Optimize(agent="echo"))


async def test_an_optimizer_that_answers_is_measured_and_its_proposal_goes_on_trial() -> None:
    """A proposal becomes a candidate, never live at once."""
    hub = MemoryHub()
    async with world(hub) as one, MemoryBus(hub, name="brain") as brain, anyio.create_task_group() as group:

        def answer(delivery: Any) -> None:
            group.start_soon(brain.publish, delivery.reply, b'{"genome": {"gain": 5.0}}')

        await brain.subscribe("chimera.optimizer.*", answer)
        check = await one.ask(CheckOptimizer())
        assert (check.reachable, check.layer) == (True, "optimizer")
        assert check.latency_ms > 0
        done = await one.ask(Optimize(agent="echo"))
        view = await one.ask(ShowAgent(name="echo"))
        assert (done.applied, view.live, view.candidate.share) == (True, 1, 0.1)
        assert view.releases[1].created_by == "optimizer"


async def test_guests_speak_only_where_granted_and_only_on_success() -> None:
    """An emission is published if the manifest was granted its subject; otherwise it is refused and logged."""
    talker = Manifest(name="talker", grants=["emit:reports.*"])
    serving = Serving(flush_s=0.001, grants=("emit:reports.>",))
    async with world(serving=serving, shipped=((talker, MODULE),)) as one:
        heard: list[str] = []
        await one.bus.subscribe(">", lambda delivery: heard.append(delivery.subject))
        await one.predict("a", agent="talker", emit=["reports.today", "chimera.control.cancel"], log=["hello"])
        await one.bus.flush()
        await until(lambda: "reports.today" in heard)
        assert "chimera.control.cancel" not in heard
        messages = [fields["message"] for name, fields in one.events.events if name == "wasm-runtime"]
        assert "hello" in messages
        assert any("not granted" in message for message in messages)


async def test_outcomes_are_sent_when_it_stops() -> None:
    """What waits in the outbox when the actor stops is in the stream afterwards."""
    hub = MemoryHub()
    async with world(hub, serving=Serving(flush_s=3600.0)) as one:
        await one.predict("a")
    async with MemoryBus(hub, name="reader") as reader:
        assert (await reader.stream_state("KPI"))[2] == 1
