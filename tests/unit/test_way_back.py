"""The way back, genomes on their way to the gate, and who is asked for agents."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from actors.breeding.genebank import Genebank
from actors.breeding.returning import WayBack
from chimera.errors import ChimeraError, ConflictError, NoReleaseError, NotRunningError, OverloadedError
from subjects.agent import Rollback
from subjects.experiment import Budget, ExperimentList, StopExperiment
from subjects.genome import PreviewReturn, Return, ValidateGenomes
from tests.support.brood import Asked, experiment, release, view

pytestmark = pytest.mark.anyio
BACK = Return(agent="echo")
TWO = release(2, x=0.9, note="genome v-1-7: better")


def running(*ids: str) -> ExperimentList:
    """Experiments under way."""
    budget = Budget(rate=0.05, spending="", tests=0, promotions=0, next_level=0.05, method="x")
    return ExperimentList(experiments=[experiment(id_) for id_ in ids], budget=budget)


class Halt:
    """Notes what was halted, and when."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.why: list[str] = []
        self.before = 0

    async def __call__(self, agent: str, why: str) -> None:
        """Stop what changes the agent."""
        assert agent == "echo"
        self.why.append(why)
        self.before = len(self.asked.of(Rollback))


def way(asked: Asked) -> tuple[WayBack, Halt]:
    """The way back, with these answers."""
    halt = Halt(asked)
    return WayBack(asked, halt), halt


async def test_a_preview_says_what_would_change_and_changes_nothing() -> None:
    """The release before, its genes, and how it is done."""
    asked = Asked(ShowAgent=view(2, 1, None, TWO))
    back, halt = way(asked)
    found = await back.preview(PreviewReturn(agent="echo"))
    assert (found.live, found.target, found.changes, found.done) == (2, 1, {"x": 0.5}, False)
    assert found.how
    assert (len(asked.seen), halt.why) == (1, [])


async def test_everybody_else_is_stopped_first() -> None:
    """Evolutions, then experiments, then the candidate, then the release; each act expects what was seen."""

    def undone(message: Rollback) -> Any:
        return view(1) if message.expect_candidate == 0 else view(2, 1, None, TWO)

    asked = Asked(
        ShowAgent=view(2, 1, 3, TWO, release(3, x=0.1)), Experiments=running("e-1", "e-2"),
        StopExperiment=experiment(), Rollback=undone,
    )  # fmt: skip
    back, halt = way(asked)
    done = await back.go(replace(BACK, note="it was worse"))
    assert (done.done, done.live, done.candidate, done.how) == (True, 1, None, "")
    assert (halt.why, halt.before) == (["return to release 1: it was worse"], 0)
    assert [one.id for one in asked.of(StopExperiment)] == ["e-1", "e-2"]
    assert [(one.expect_live, one.expect_candidate) for one in asked.of(Rollback)] == [(2, 3), (2, 0)]


async def test_without_a_release_before_only_the_candidate_goes() -> None:
    """What is live stays live, and the answer says what was done."""
    asked = Asked(
        ShowAgent=view(1, None, 2, TWO), Experiments=NotRunningError(), Rollback=view(1, None, None, TWO),
    )  # fmt: skip
    back, halt = way(asked)
    planned = await back.preview(PreviewReturn(agent="echo"))
    assert "release 2, which is on trial, is dropped" in planned.reason
    done = await back.go(BACK)
    assert (done.done, done.live, done.target, done.candidate) == (True, 1, None, None)
    assert "release 2 is on trial no more" in done.reason
    assert [one.expect_candidate for one in asked.of(Rollback)] == [2]
    assert halt.why == ["drop release 2"]


@pytest.mark.parametrize(("seen", "message", "error"), [
    (view(1), BACK, NoReleaseError), (view(2, 1, None, TWO), replace(BACK, expect_live=1), ConflictError),
])  # fmt: skip
async def test_what_is_refused_stops_nobody(seen: Any, message: Return, error: type[ChimeraError]) -> None:
    """Neither is an evolution halted nor a release touched."""
    asked = Asked(ShowAgent=seen)
    back, halt = way(asked)
    with pytest.raises(error):
        await back.go(message)
    assert (halt.why, asked.of(Rollback)) == ([], [])


async def test_a_gate_in_trouble_is_not_passed_over() -> None:
    """One that is not there can't bring a release back; one that can't answer now may."""
    asked = Asked(ShowAgent=view(2, 1, None, TWO), Experiments=OverloadedError("busy"), Rollback=view(1))
    back, _ = way(asked)
    with pytest.raises(OverloadedError):
        await back.go(BACK)
    assert asked.of(Rollback) == []


async def test_validation_without_agents_says_so() -> None:
    """Where nobody tells which agents there are, nothing is called sound by leaving them out."""

    def report(*_words: Any, **_fields: Any) -> None:
        raise AssertionError("nothing was found")

    shelf: Any = SimpleNamespace(validate=None)
    bank = Genebank(shelf, shelf, ask=Asked(ListAgents=NotRunningError("the agent layer is away")), report=report)
    with pytest.raises(NotRunningError):
        await bank.validate(ValidateGenomes())
