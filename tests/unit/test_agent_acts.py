"""The agent actor's acts, its restarts, and what it tells others."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import anyio
import msgspec
import pytest

from actors.execution.releases import Record, ReleaseBook
from actors.execution.settings import Serving
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.errors import (
    BadGenomeError,
    BadMessageError,
    BadModuleError,
    ConflictError,
    LayerNotRunningError,
    NoAgentError,
    NoJobError,
    NoReleaseError,
    UnavailableError,
)
from chimera.testing import settle
from chimera.wire import decode
from subjects.agent import (
    CheckHealth,
    CheckOptimizer,
    ConfigureBatching,
    Deploy,
    Feedback,
    ListAgents,
    Manifest,
    Optimize,
    RegisterAgent,
    Retire,
    Rollback,
    ShowAgent,
)
from subjects.event import ReleaseChanged, TaskJudged
from tests.support.agent_world import MANIFEST, world
from tests.support.guests import MODULE, FakeSandbox, FakeStore, module
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


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


async def test_a_rollback_that_says_what_it_expects_reads_the_book_only_if_it_must(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was seen last is enough; where it is of yesterday the act is refused by the book, read anew, and right."""
    seen, reads = ReleaseBook.at_hand, list[str]()
    kept: dict[str, Record | None] = {}
    read = ReleaseBook.read

    def counted(self: ReleaseBook, name: str) -> Awaitable[Record]:
        reads.append(name)
        return read(self, name)

    def stale(self: ReleaseBook, name: str) -> Record | None:
        return kept.setdefault(name, seen(self, name))

    async with world() as one:
        await one.ask(Deploy(name="echo", genome={"gain": 2.0}, share=0.5))
        monkeypatch.setattr(ReleaseBook, "read", counted)
        monkeypatch.setattr(ReleaseBook, "at_hand", stale)
        assert (await one.ask(Rollback(name="echo", expect_candidate=2))).candidate is None
        assert reads == []
        await one.ask(Deploy(name="echo", release=2, share=0.5))
        reads.clear()
        assert (await one.ask(Rollback(name="echo", expect_candidate=2))).candidate is None
        with pytest.raises(ConflictError, match="none of 'echo' is on trial"):
            await one.ask(Rollback(name="echo", expect_candidate=2))
        assert reads == ["echo", "echo"]


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
                await settle()


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


async def test_an_optimizer_that_answers_is_measured_and_its_proposal_goes_to_the_gate() -> None:
    """A proposal becomes an experiment; the agent itself changes nothing."""
    hub = MemoryHub()
    async with world(hub) as one, MemoryBus(hub, name="brain") as brain, anyio.create_task_group() as group:
        asked: list[str] = []

        def answer(delivery: Any) -> None:
            asked.append(delivery.subject)
            words = {"genome": {"gain": 5.0}, "id": "e-1", "incumbent": 1, "variants": [{"release": 2}]}
            group.start_soon(brain.publish, delivery.reply, msgspec.json.encode(words))

        await brain.subscribe("chimera.optimizer.*", answer)
        check = await one.ask(CheckOptimizer())
        assert (check.reachable, check.layer) == (True, "optimizer")
        assert check.latency_ms > 0
        done = await one.ask(Optimize(agent="echo"))
        view = await one.ask(ShowAgent(name="echo"))
        assert (done.applied, view.live, view.candidate) == (True, 1, None)
        assert done.reason == "experiment e-1 tries release 2 against 1"
        assert asked[-2:] == ["chimera.optimizer.propose", "chimera.optimizer.create_experiment"]


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
