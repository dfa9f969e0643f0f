"""Trials beside live traffic: what they give, what they leave alone, and acts that expect a state."""

from __future__ import annotations

import anyio
import pytest

from actors.execution.releases import MODULES
from chimera.errors import BadGenomeError, BadMessageError, BadModuleError, ConflictError, DeadlineError, NoReleaseError
from subjects.agent import Deploy, Genes, Limits, ListAgents, Rollback, ShowAgent
from subjects.trial import Evaluate, EvaluateGenomes, Evaluation, GenomesEvaluation
from tests.support.agent_world import world

pytestmark = pytest.mark.anyio


async def test_evaluate_runs_a_genome_that_is_no_release() -> None:
    """Genes are laid over the release's own; the answer has one result per input, in order."""
    async with world() as one:
        inputs = [{"n": number} for number in range(40)]
        done: Evaluation = await one.ask(Evaluate(name="echo", genome={"gain": 2.5}, inputs=inputs))
        assert [tried.output["says"]["n"] for tried in done.results if tried.output] == list(range(40))
        assert all(tried.output and tried.output["genome"] == [2.5] for tried in done.results)
        assert (done.release, done.failed) == (1, 0)
        assert len((await one.ask(ShowAgent(name="echo"))).releases) == 1


async def test_the_checksum_names_the_content() -> None:
    """The same module, genome and limits have the same checksum, however they were asked for."""
    async with world() as one:
        await one.ask(Deploy(name="echo", genome={"gain": 3.0}))
        by_number = await one.ask(Evaluate(name="echo", release=2, inputs=[{}]))
        by_genes = await one.ask(Evaluate(name="echo", release=1, genome={"gain": 3.0}, inputs=[{}]))
        other = await one.ask(Evaluate(name="echo", release=1, inputs=[{}]))
        assert by_number.checksum == by_genes.checksum != other.checksum


async def test_failing_tasks_are_results() -> None:
    """A task that fails does not end the evaluation, and no breaker or statistic of the live agent sees it."""
    async with world() as one:
        inputs = [{"do": "agent-trap"}] * 5 + [{"do": "list"}, {"n": 1}]
        done = await one.ask(Evaluate(name="echo", inputs=inputs))
        assert [tried.outcome for tried in done.results] == ["agent-trap"] * 5 + ["agent-contract", "ok"]
        assert done.failed == 6
        row = (await one.ask(ListAgents())).agents[0]
        assert (row.tasks_total, row.errors_total, row.breaker.state) == (0, 0, "closed")


async def test_what_does_not_fit_is_refused() -> None:
    """A wrong gene, task or release is the caller's error, and says which."""
    async with world() as one:
        with pytest.raises(BadGenomeError, match="gain"):
            await one.ask(Evaluate(name="echo", genome={"gain": 21.0}, inputs=[{}]))
        with pytest.raises(BadMessageError, match="no task 'nothing'"):
            await one.ask(Evaluate(name="echo", task="nothing", inputs=[{}]))
        with pytest.raises(NoReleaseError):
            await one.ask(Evaluate(name="echo", release=9, inputs=[{}]))


async def test_a_trial_unloads_its_guest_also_when_time_is_up() -> None:
    """The deadline ends an evaluation, and nothing stays loaded."""
    async with world() as one:
        one.box.held["echo~trial"] = anyio.Event()
        with pytest.raises(DeadlineError):
            await one.ask(Evaluate(name="echo", genome={"gain": 2.0}, inputs=[{}], deadline_ms=50))
        assert [guest.closed for guest in one.box.guests if guest.spec.agent == "echo~trial"] == [True]


async def test_many_genomes_in_one_question() -> None:
    """A run per genome, in order, with the fields that were asked for; one that does not fit spoils no other."""
    async with world() as one:
        genomes: list[Genes] = [{"gain": 2.5}, {}, {"gain": 21.0}, {"gain": 13.0}]
        inputs = [{"n": 1, "label": "a"}, {"do": "agent-trap"}, {"n": 3, "label": "b"}]
        done: GenomesEvaluation = await one.ask(
            EvaluateGenomes(name="echo", genomes=genomes, inputs=inputs, fields=["label", "says"], times=True)
        )
        first, second, unfit, unlucky = done.runs
        assert first.outputs == second.outputs == [["a", None, "b"], [None, None, None]]
        assert [(failed.place, failed.outcome) for failed in first.failures] == [(1, "agent-trap")]
        assert (first.tasks, len(first.run_ms), len(first.cpu_ms)) == (3, 3, 3)
        assert first.cpu_s > 0
        assert first.checksum == (await one.ask(Evaluate(name="echo", genome={"gain": 2.5}, inputs=[{}]))).checksum
        assert "outside" in unfit.refused
        assert (unlucky.refused, unlucky.tasks, unlucky.checksum != "") == ("13 is unlucky", 0, True)
        assert (done.release, done.node, done.workers, done.under_way) == (1, "one", 2, 1)
        assert not one.box.open_guests() or all(guest.spec.agent == "echo" for guest in one.box.open_guests())


async def test_limits_of_one_genome_are_its_own() -> None:
    """Limits belong to the genome at the same place, within the operator's caps, and are part of its checksum."""
    async with world() as one:
        tight = Limits(cpu_ms=3.0)
        done = await one.ask(EvaluateGenomes(name="echo", genomes=[{}, {}], limits=[tight, None], inputs=[{}]))
        assert [guest.spec.limits.cpu_ms for guest in one.box.guests[-2:]] == [3.0, 1000.0]
        assert done.runs[0].checksum != done.runs[1].checksum
        with pytest.raises(BadMessageError, match="limits"):
            await one.ask(EvaluateGenomes(name="echo", genomes=[{}, {}], limits=[tight], inputs=[{}]))


async def test_few_evaluations_are_in_the_sandbox_at_once() -> None:
    """One for each worker and one that waits; the others wait outside, where no live task stands behind them."""
    async with world() as one:
        one.box.held["echo~trial"] = anyio.Event()
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(one.ask, EvaluateGenomes(name="echo", genomes=[{}], inputs=[{}]))
            await anyio.wait_all_tasks_blocked()
            assert sum(guest.running for guest in one.box.guests if guest.spec.agent == "echo~trial") == 3
            one.box.held["echo~trial"].set()


async def test_a_lost_module_is_not_the_genomes_fault() -> None:
    """If the release itself can't be started, the question fails; else the genome is refused."""
    async with world() as one:
        digest = one.box.checked.popitem()[0]
        modules = await one.bus.objects(MODULES)
        await modules.delete(digest)
        with pytest.raises(BadModuleError, match="not in the object store"):
            await one.ask(EvaluateGenomes(name="echo", genomes=[{"gain": 2.0}], inputs=[{}]))


async def test_live_tasks_are_served_while_a_trial_is_held() -> None:
    """A trial that hangs does not keep a live task waiting."""
    async with world() as one:
        one.box.held["echo~trial"] = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(one.ask, Evaluate(name="echo", inputs=[{}]))
            assert (await one.predict("a")).release == 1
            one.box.held["echo~trial"].set()


async def test_acts_that_expect_another_state_are_refused() -> None:
    """Who decided on an older state changes nothing: the gate never promotes over a person's head."""
    async with world() as one:
        await one.ask(Deploy(name="echo", genome={"gain": 2.0}, share=0.0, by="optimizer"))
        with pytest.raises(ConflictError, match="release 2 of 'echo' is on trial, not 3"):
            await one.ask(Deploy(name="echo", release=2, expect_candidate=3))
        with pytest.raises(ConflictError, match="release 1 of 'echo' is live, not 2"):
            await one.ask(Rollback(name="echo", expect_live=2))
        view = await one.ask(Deploy(name="echo", release=2, share=1.0, expect_live=1, expect_candidate=2))
        assert (view.live, view.candidate) == (2, None)
        assert view.releases[-1].created_by == "optimizer"
