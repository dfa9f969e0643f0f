"""The optimizer actor: experiments from the first message to the last act, on live traffic, across restarts."""

from __future__ import annotations

import threading

import anyio
import anyio.to_thread
import pytest

from chimera.bus.memory import MemoryHub
from chimera.errors import BadMessageError, ConflictError, NoExperimentError
from subjects.agent import Deploy
from subjects.experiment import (
    CreateExperiment,
    Experiment,
    Experiments,
    Explain,
    GetExperiment,
    Guardrail,
    Metric,
    Plan,
    StopExperiment,
)
from tests.support.guests import FakeStore
from tests.support.loop_world import LoopWorld, SkilledSandbox, loop_world

pytestmark = pytest.mark.anyio
FAILED = Guardrail(metric=Metric(name="failed", better="lower"), bound=0.02, alpha=0.01)
QUICK = Plan(
    stages=["replay", "split"], guardrails=[FAILED], budget="fixed", alpha=0.02, ramp=[0.3, 0.5], step_messages=10,
    min_messages=10, max_messages=400,
)  # fmt: skip


def ended(one: Experiment) -> bool:
    """Whether it is over."""
    return one.state != "running"


async def traffic(world: LoopWorld, id_: str) -> Experiment:
    """Serve until the experiment is over."""
    with anyio.fail_after(30):
        while True:
            await world.serve(10)
            found = await world.ask(GetExperiment(id=id_))
            if ended(found):
                return found
            await anyio.sleep(0.02)


async def test_a_better_genome_is_promoted_by_itself() -> None:
    """Replay proves it on recorded tasks, a share of live traffic confirms it, and it goes live with its evidence."""
    async with loop_world() as world:
        await world.serve(150)
        begun = await world.ask(CreateExperiment(agent="echo", id="e-1", genomes=[{"skill": 0.95}], plan=QUICK))
        assert (begun.state, begun.variants[0].release) == ("running", 2)
        found = await traffic(world, "e-1")
        assert (found.state, found.decisions[-1].verdict) == ("promoted", "promote"), found
        view = await world.agent()
        assert (view.live, view.candidate, view.previous) == (2, None, 1)
        told = await world.ask(Explain(id="e-1"))
        assert told.exact
        assert told.steps[-1].recomputed == found.decisions[-1]
        assert "deployment-success" in [name for name, _ in world.events.events]


async def test_a_worse_genome_is_rolled_back_before_anybody_meets_it() -> None:
    """What replay shows to be worse never gets live traffic."""
    async with loop_world() as world:
        await world.serve(150)
        await world.ask(CreateExperiment(agent="echo", id="e-1", genomes=[{"skill": 0.1}], plan=QUICK))
        found = await world.until("e-1", ended)
        assert (found.state, found.harmed) == ("rolled-back", 0)
        view = await world.agent()
        assert (view.live, view.candidate) == (1, None)


async def test_a_crashing_candidate_is_rolled_back_by_its_guardrail() -> None:
    """In live traffic the share of failed answers ends it, though its other answers are better."""
    async with loop_world() as world:
        plan = Plan(stages=["split"], guardrails=[FAILED], budget="fixed", ramp=[0.5], max_messages=2000)
        await world.ask(
            CreateExperiment(agent="echo", id="e-1", genomes=[{"skill": 0.95, "crash": 0.5}], plan=plan)
        )  # fmt: skip
        found = await traffic(world, "e-1")
        assert found.state == "rolled-back"
        assert found.decisions[-1].reason.startswith(("guardrail failed", "sample ratio"))  # or its breaker was faster
        assert (await world.agent()).candidate is None


async def test_a_restarted_optimizer_goes_on_with_the_same_figures() -> None:
    """Everything is in the log: another process continues the experiment, and explains all of it exactly."""
    hub, box, store = MemoryHub(), SkilledSandbox(), FakeStore()
    async with loop_world(hub, box=box, store=store) as world:
        await world.serve(60)
        await world.ask(CreateExperiment(agent="echo", id="e-1", genomes=[{"skill": 0.9}], plan=QUICK))
        await world.until("e-1", lambda one: one.messages >= 20 or ended(one))
        before = await world.ask(GetExperiment(id="e-1"))
    async with loop_world(hub, box=box, store=store) as world:
        after = await world.ask(GetExperiment(id="e-1"))
        assert after.messages >= before.messages
        found = await traffic(world, "e-1")
        assert found.state == "promoted", found
        assert (await world.ask(Explain(id="e-1"))).exact


async def test_a_person_who_changes_the_agent_ends_the_experiment() -> None:
    """The gate never works against a person: its next act meets another state, and it steps back."""
    async with loop_world() as world:
        await world.serve(40)
        plan = Plan(stages=["split"], guardrails=[FAILED], budget="fixed", ramp=[0.3, 0.4], step_messages=5)
        await world.ask(CreateExperiment(agent="echo", id="e-1", genomes=[{"skill": 0.9}], plan=plan))
        await world.until("e-1", lambda one: one.variants[0].share > 0)
        await world.ask(Deploy(name="echo", genome={"skill": 0.6}, share=1.0))
        live = (await world.agent()).live
        found = await traffic(world, "e-1")
        assert (found.state, found.decisions[-1].reason[:9]) == ("failed", "overtaken")
        assert (await world.agent()).live == live


async def test_experiments_are_refused_with_a_reason() -> None:
    """One at a time per agent, no candidate that is live, no plan that makes no sense, no unknown id."""
    async with loop_world() as world:
        with pytest.raises(BadMessageError, match="candidates"):
            await world.ask(CreateExperiment(agent="echo", candidates=[1]))
        with pytest.raises(BadMessageError, match="no release 7"):
            await world.ask(CreateExperiment(agent="echo", candidates=[7]))
        with pytest.raises(BadMessageError, match="ramp"):
            await world.ask(CreateExperiment(agent="echo", genomes=[{"skill": 0.9}], plan=Plan(ramp=[0.5, 1.0])))
        first = CreateExperiment(agent="echo", id="e-1", genomes=[{"skill": 0.9}], plan=QUICK)
        assert (await world.ask(first)).id == (await world.ask(first)).id == "e-1"
        with pytest.raises(ConflictError, match="under way"):
            await world.ask(CreateExperiment(agent="echo", id="e-2", genomes=[{"skill": 0.8}]))
        with pytest.raises(NoExperimentError):
            await world.ask(GetExperiment(id="nothing"))


async def test_stopping_by_hand_takes_the_candidate_out_and_is_recorded() -> None:
    """A person's word stands in the log beside the evidence of that moment."""
    async with loop_world() as world:
        plan = Plan(stages=["split"], guardrails=[FAILED], budget="fixed", ramp=[0.3])
        await world.ask(CreateExperiment(agent="echo", id="e-1", genomes=[{"skill": 0.9}], plan=plan))
        await world.until("e-1", lambda one: one.variants[0].share > 0)
        stopped = await world.ask(StopExperiment(id="e-1", by="ann", note="enough"))
        assert (stopped.state, stopped.decisions[-1].by) == ("stopped", "ann")
        assert (await world.agent()).candidate is None
        with pytest.raises(ConflictError, match="ended"):
            await world.ask(StopExperiment(id="e-1"))
        assert (await world.ask(Explain(id="e-1"))).exact


async def test_the_error_budget_is_spent_and_shown() -> None:
    """Each experiment on the ledger draws a level; a promotion gives some back."""
    async with loop_world() as world:
        start = (await world.ask(Experiments())).budget
        await world.serve(200)
        plan = Plan(stages=["replay"], guardrails=[FAILED], min_messages=20)
        begun = await world.ask(CreateExperiment(agent="echo", id="e-1", genomes=[{"skill": 1.0}], plan=plan))
        assert begun.level == pytest.approx(start.next_level)
        with anyio.fail_after(20):
            found = await traffic(world, "e-1")
        assert found.state == "promoted"
        now = (await world.ask(Experiments())).budget
        assert (now.tests, now.promotions) == (1, 1)


async def test_each_recorded_task_judges_once() -> None:
    """A second candidate is not judged by the tasks that judged the first: nothing is chosen by what judges it."""
    async with loop_world() as world:
        await world.serve(120)
        plan = Plan(stages=["replay"], guardrails=[FAILED], budget="fixed", alpha=0.001)
        await world.ask(CreateExperiment(agent="echo", id="e-1", genomes=[{"skill": 0.52}], plan=plan))
        first = await world.until("e-1", ended)
        assert first.messages > 20
        await world.ask(CreateExperiment(agent="echo", id="e-2", genomes=[{"skill": 0.53}], plan=plan))
        second = await world.until("e-2", ended)
        assert second.messages < first.messages / 4


async def test_an_entry_whose_writer_gave_up_is_folded_all_the_same() -> None:
    """A request that is cancelled while its entry is on the way leaves memory and log in agreement."""
    async with loop_world() as world:
        await world.serve(20)
        request = CreateExperiment(agent="echo", id="e-1", genomes=[{"skill": 0.9}], plan=QUICK)
        with anyio.move_on_after(0.001):
            await world.ask(request)
        await anyio.sleep(0.2)
        shown = [one.id for one in (await world.ask(Experiments())).experiments]
        try:
            told = [(await world.ask(Explain(id="e-1"))).id]
        except NoExperimentError:
            told = []
        assert shown == told


async def test_what_proposals_need_is_loaded_ahead_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader loads the libraries beside its start, in a thread, so that nobody's first proposal waits for it."""
    loaded = threading.Event()
    where: list[str] = []

    def load() -> None:
        where.append(threading.current_thread().name)
        loaded.set()

    monkeypatch.setattr("actors.optimizer.warm_up", load)
    monkeypatch.setattr("actors.optimizer.WARM_AFTER_S", 0.0)
    async with loop_world():
        assert await anyio.to_thread.run_sync(loaded.wait, 10.0)
    assert where != [threading.main_thread().name]
