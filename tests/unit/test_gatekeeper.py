"""The gatekeeper's acts: how a harmful candidate leaves live traffic, and what is asked on the way."""

from __future__ import annotations

from typing import Any

import pytest

from actors.gating.records import Entered, Entry, Opened, Row, Seen
from actors.refining.gatekeeper import Gatekeeper
from actors.refining.primary import Primary
from actors.refining.recorded import Recorder
from chimera.errors import ConflictError
from chimera.testing import ManualClock
from subjects.agent import AgentView, Candidate, Rollback, ShowAgent
from subjects.experiment import Experiment, Plan, StopExperiment
from tests.support.gating import opened

pytestmark = pytest.mark.anyio
PLAN = Plan(stages=["split"], budget="fixed", ramp=[0.5], min_messages=5)


class Log:
    """Keeps entries."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    async def write(self, entry: Entry) -> None:
        """Keep it."""
        self.entries.append(entry)


class Agent:
    """An agent with a candidate on trial, and all that was asked of it."""

    def __init__(self, candidate: int | None) -> None:
        self.candidate = candidate
        self.asked: list[str] = []

    async def __call__(self, message: Any) -> AgentView:
        """Answer as the agent actor does."""
        self.asked.append(type(message).__name__)
        if isinstance(message, Rollback):
            if message.expect_candidate != (self.candidate or 0):
                raise ConflictError(f"release {self.candidate} is on trial, not {message.expect_candidate}")
            self.candidate = None
        else:
            assert isinstance(message, ShowAgent)
        on_trial = None if self.candidate is None else Candidate(release=self.candidate, share=0.5)
        return AgentView(name="echo", state="live", live=1, candidate=on_trial, previous=None, releases=[])


async def stopped(agent: Agent, entries: list[Entry]) -> Experiment:
    """Roll the experiment back by hand after these entries of its log."""

    async def tell(_fact: Any, _id: str) -> None: ...

    gate = Gatekeeper(
        log=Log(), ask=agent, positions=lambda: (0, 0), clock=ManualClock(), report=lambda *_, **__: None, tell=tell,
        primary=Primary(Recorder()),
    )  # fmt: skip
    for entry in entries:
        gate.apply(entry)
    return await gate.stop(StopExperiment(id="e-1", act="roll-back"))


def split(candidates: tuple[int, ...] = (2,)) -> list[Entry]:
    """An experiment with half of the live traffic on its candidate."""
    began: Opened = opened(candidates, PLAN)
    rows = [Row(1, [], [0.0, 0.0, 0.0])]
    return [
        began, Entered(id="e-1", at=101.0, stage="split", share=0.5),
        Seen(id="e-1", at=102.0, stage="split", rows=rows, kpi=1, events=0),
    ]  # fmt: skip


async def test_a_candidate_in_live_traffic_goes_back_in_one_step() -> None:
    """Nothing is asked before the act: it says itself which release it expects on trial."""
    agent = Agent(2)
    assert (await stopped(agent, split())).state == "rolled-back"
    assert (agent.asked, agent.candidate) == (["Rollback"], None)


async def test_what_somebody_else_put_on_trial_meanwhile_stays() -> None:
    """The refused act is followed by a look; another's candidate is left alone."""
    agent = Agent(7)
    assert (await stopped(agent, split())).state == "rolled-back"
    assert (agent.asked, agent.candidate) == (["Rollback", "ShowAgent"], 7)


async def test_done_twice_is_done_once() -> None:
    """After a crash between act and log the act is asked for again; that nothing is on trial then is no failure."""
    agent = Agent(None)
    assert (await stopped(agent, split())).state == "rolled-back"
    assert agent.asked == ["Rollback", "ShowAgent"]


async def test_without_live_traffic_it_looks_first() -> None:
    """In a replay no user is served by the candidate: no act is tried, and audited, that may have no object."""
    agent = Agent(2)
    replay = [opened((2,)), Entered(id="e-1", at=101.0, stage="replay", share=0.0)]
    assert (await stopped(agent, list(replay))).state == "rolled-back"
    assert agent.asked == ["ShowAgent", "Rollback"]
    nothing = Agent(None)
    assert (await stopped(nothing, list(replay))).state == "rolled-back"
    assert nothing.asked == ["ShowAgent"]
