"""A gate that decides when a test says so: its candidates are real releases of the real agent actor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from msgspec.structs import replace

from chimera import Actor, handles
from chimera.errors import ConflictError, NoExperimentError
from subjects.agent import AgentView, Deploy, Rollback
from subjects.experiment import (
    Budget,
    CreateExperiment,
    Decision,
    Evidence,
    Experiment,
    ExperimentList,
    Experiments,
    GetExperiment,
    Interval,
    StopExperiment,
    Variant,
)

_NOTHING = Evidence(
    metric="correct", n_live=0, n_candidate=0, live=None, candidate=None, effect=None,
    interval=Interval(low=None, high=None, confidence=0.95), e_better=1.0, e_worse=1.0, test="told",
)  # fmt: skip
SHARE = 0.1
"""Of live traffic that a candidate gets."""


class ToldGate(Actor, name="optimizer"):
    """Experiments that run until they are ``decided``. One per agent at a time.

    Args:
        known: Experiments by id; the caller keeps them over restarts.
    """

    def __init__(self, *, known: dict[str, Experiment]) -> None:
        self.known = known

    @handles
    async def create(self, message: CreateExperiment) -> Experiment:
        """Put the one genome on trial."""
        id_ = message.id or f"e-{len(self.known)}"
        if id_ in self.known:
            return self.known[id_]
        if running(self.known):
            raise ConflictError(f"'{message.agent}' is under experiment")
        view: AgentView = await self.ctx.ask(Deploy(
            name=message.agent, genome=message.genomes[0], share=SHARE, expect_candidate=0, by="gate",
            note=message.note,
        ))  # fmt: skip
        assert view.candidate is not None
        self.known[id_] = _begun(id_, view, message)
        return self.known[id_]

    @handles
    async def get(self, message: GetExperiment) -> Experiment:
        """One, as it stands."""
        if message.id not in self.known:
            raise NoExperimentError(f"there is no experiment '{message.id}'")
        return self.known[message.id]

    @handles
    async def experiments(self, message: Experiments) -> ExperimentList:
        """All of an agent's that are in a state."""
        found = [
            one for one in self.known.values()
            if message.agent in ("", one.agent) and message.state in ("", one.state)
        ]  # fmt: skip
        budget = Budget(rate=0.05, spending="", tests=0, promotions=0, next_level=0.05, method="told")
        return ExperimentList(experiments=found, budget=budget)

    @handles
    async def stop(self, message: StopExperiment) -> Experiment:
        """End it without a change: the candidate goes."""
        one = self.known[message.id]
        if one.state == "running":
            await self.ctx.ask(_dropping(one))
            self.known[one.id] = replace(one, state="stopped", ended_at=self.ctx.clock.time())
        return self.known[one.id]


def running(known: Mapping[str, Experiment]) -> Experiment | None:
    """The experiment under way."""
    return next((one for one in known.values() if one.state == "running"), None)


async def decided(one: Experiment, ask: Callable[[Any], Awaitable[Any]], at: float, *, promote: bool) -> Experiment:
    """An experiment after the gate's decision, which is in force."""
    release = one.variants[0].release
    act = Deploy(name=one.agent, release=release, expect_live=one.incumbent, by="gate") if promote else _dropping(one)
    await ask(act)
    state: Literal["promoted", "rolled-back"] = "promoted" if promote else "rolled-back"
    decision = Decision(
        number=1, seq=1, at=at, verdict="promote" if promote else "roll-back", release=release,
        reason="as the test says", level=0.05, e_value=20.0,
    )  # fmt: skip
    return replace(one, state=state, ended_at=at, decisions=[decision])


def _dropping(one: Experiment) -> Rollback:
    return Rollback(name=one.agent, expect_live=one.incumbent, expect_candidate=one.variants[0].release, by="gate")


def _begun(id_: str, view: AgentView, message: CreateExperiment) -> Experiment:
    assert view.candidate is not None
    return Experiment(
        id=id_, agent=view.name, state="running", incumbent=view.live, proposer=message.proposer, note=message.note,
        started_at=0.0, ended_at=None, plan=message.plan, level=0.05,
        variants=[Variant(
            release=view.candidate.release, stage="split", share=SHARE, primary=_NOTHING, guardrails=[]
        )],
        sample_ratio_e=1.0, messages=0, harmed=0, decisions=[],
    )  # fmt: skip
