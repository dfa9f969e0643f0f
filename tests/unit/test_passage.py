"""A champion's way through the gate: begun once, watched, ended where it harms, its outcome taken."""

from __future__ import annotations

from typing import Any

import pytest

from actors.breeding.fold import EvolutionFold
from actors.breeding.log import Gated, Halted, Judged
from actors.breeding.passage import Passage, plan_of, within
from chimera.errors import BadMessageError, ChimeraError, ConflictError, NotRunningError
from chimera.testing import ManualClock
from subjects.agent import Deploy, Limits
from subjects.evolution import EvolutionBudget, Objective, StartEvolution
from subjects.experiment import CreateExperiment, Metric, Plan, StopExperiment
from tests.support.brood import (
    Asked,
    began,
    championed,
    decision,
    experiment,
    folded,
    never,
    record,
    release,
    take,
    trained,
    view,
)

pytestmark = pytest.mark.anyio
GATED = Gated(id="v-1", at=100.0, experiment="v-1")


class Way:
    """A passage of an evolution whose champion is known."""

    def __init__(self, fold: EvolutionFold, asked: Asked) -> None:
        self.fold, self.asked = fold, asked
        self.passage = Passage(fold, ask=asked, write=self._write, clock=ManualClock(epoch=100.0), pause=never())

    async def _write(self, entry: Any) -> None:
        take(self.fold, entry)


def way(*more: Any, budget: EvolutionBudget | None = None, limits: Limits | None = None, **answers: Any) -> Way:
    """At the gate, with these answers."""
    first = began(budget=budget) if budget else began()
    fold = folded(trained(), record(3, limits=limits), championed(), *more, first=first)
    return Way(fold, Asked(**{"ShowAgent": view(), **answers}))


async def test_it_is_said_before_it_is_begun() -> None:
    """So a crash in between begins the same experiment, not a second one."""
    one = way()
    await one.passage.step()
    assert (one.fold.gated and one.fold.gated.experiment, one.asked.seen) == ("v-1", [])


async def test_the_champion_becomes_the_candidate() -> None:
    """Its genes, on the plan that was asked for, with a note that leads back to it."""
    one = way(GATED, CreateExperiment=experiment())
    await one.passage.step()
    [message] = one.asked.of(CreateExperiment)
    assert (message.id, message.genomes, message.proposer) == ("v-1", [{"x": 0.03}], "evolver")
    assert message.note.startswith("genome v-1-3: ")
    assert one.fold.judged is None


async def test_searched_limits_need_a_release_of_their_own() -> None:
    """It is put on trial without traffic, unless another one is live by now."""
    limits = Limits(cpu_ms=7.0)
    deployed = view(1, None, 2, release(2))
    one = way(GATED, limits=limits, Deploy=deployed, CreateExperiment=experiment())
    await one.passage.step()
    [deploy] = one.asked.of(Deploy)
    assert (deploy.limits, deploy.share, deploy.expect_live) == (limits, 0.0, 1)
    assert one.asked.of(CreateExperiment)[0].candidates == [2]


@pytest.mark.parametrize(("more", "answers", "words"), [
    ((), {"ShowAgent": view(2, 1, None, release(2))}, "made live by somebody else"),
    ((Halted(id="v-1", at=1.0, note="enough"),), {}, "not begun: enough"),
    ((), {"GetExperiment": NotRunningError("no gate")}, "the gate is not running"),
    ((), {"CreateExperiment": BadMessageError("no such metric")}, "the gate refused it"),
])  # fmt: skip
async def test_what_can_not_be_begun_is_judged(more: Any, answers: dict[str, Any], words: str) -> None:
    """It ends without a release, and says why; nothing goes on trial."""
    one = way(GATED, *more, **answers)
    await one.passage.step()
    assert one.fold.judged is not None
    assert (one.fold.judged.release, words in one.fold.judged.reason) == (None, True)


async def test_a_busy_gate_is_waited_for_while_there_is_time() -> None:
    """What it waits for is told; with the budget its patience ends."""
    busy = ConflictError("another experiment")
    one = way(GATED, CreateExperiment=busy)
    await one.passage.step()
    assert (one.fold.judged, one.fold.waits) == (None, "waits for the gate: another experiment")
    late = way(GATED, budget=EvolutionBudget(tasks=1), CreateExperiment=busy)
    await late.passage.step()
    assert late.fold.judged is not None
    assert "used up while it waits for the gate" in late.fold.judged.reason


@pytest.mark.parametrize(("more", "harmed", "stopped"), [
    ((), 0, False), ((), 4, False), ((), 5, True), ((Halted(id="v-1", at=1.0, note="enough"),), 0, True),
])  # fmt: skip
async def test_it_is_ended_where_it_harms_too_many(
    more: Any, harmed: int, stopped: bool  # noqa: FBT001 - a parameter of the test
) -> None:  # fmt: skip
    """At the bound, and when the evolution is stopped; not before."""
    one = way(
        GATED, *more, budget=EvolutionBudget(harmed=5), GetExperiment=experiment(harmed=harmed),
        StopExperiment=experiment(),
    )  # fmt: skip
    await one.passage.step()
    assert bool(one.asked.of(StopExperiment)) is stopped


@pytest.mark.parametrize(("state", "live"), [("promoted", 2), ("rolled-back", None), ("stopped", None)])
async def test_the_outcome_is_taken(state: str, live: int | None) -> None:
    """Only a promotion makes a release live; what it harmed is kept."""
    over = experiment(state=state, ended_at=200.0, harmed=3, decisions=[decision(2)])
    one = way(GATED, GetExperiment=over)
    await one.passage.step()
    judged = one.fold.judged
    assert isinstance(judged, Judged)
    assert (judged.release, judged.harmed, state in judged.reason) == (live, 3, True)


async def test_an_unknown_error_of_the_gate_is_not_an_outcome() -> None:
    """It reaches the drive, which ends the evolution with it."""
    one = way(GATED, GetExperiment=BadMessageError("odd"))
    with pytest.raises(ChimeraError):
        await one.passage.step()
    assert one.fold.judged is None


def test_the_plan_judges_by_what_was_bred_for() -> None:
    """Where the plan names no metric; a plan that does is left alone."""
    error = Metric(name="score_error", kind="mean", better="lower", high=2.0)
    assert plan_of(StartEvolution(objectives=[Objective(metric=error)])).primary == error
    own = Plan(primary=Metric(name="slow", better="lower"))
    assert plan_of(StartEvolution(plan=own, objectives=[Objective(metric=error)])).primary == own.primary


def test_no_candidate_gets_more_traffic_than_allowed() -> None:
    """Steps above the bound are left out; without any traffic no user sees it."""
    plan = Plan(stages=["replay", "split"], ramp=[0.05, 0.2, 0.5])
    assert within(plan, 0.3).ramp == [0.05, 0.2]
    assert within(plan, 0.01).ramp == [0.01]
    assert within(plan, 0.0).stages == ["replay"]
    assert within(Plan(stages=["split"]), 0.0).stages == ["replay"]
