"""The gatekeeper: runs experiments, the one way by which a live agent is changed by anything but a person.

What it knows is the fold of its log. It writes what it saw, asks the rule, writes the decision, puts it in force
through the agent actor, and writes that. Killed anywhere, it goes on from the log: an act that may have been done
already is done again, and is the same act.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from msgspec.structs import replace

from actors.gating.comparisons import compare
from actors.gating.records import Applied, Entered, Entry, Opened, Ruled
from actors.gating.trial import BY_HAND, GATE, OVERTAKEN, Trial
from actors.inference.ratio import SampleRatio
from actors.inference.spending import ErrorBudget
from chimera.clock import Clock
from chimera.errors import BadMessageError, ConflictError, NoExperimentError
from subjects.agent import AgentView, Deploy, Release, Rollback, ShowAgent
from subjects.experiment import (
    Budget,
    CreateExperiment,
    Decided,
    Decision,
    Evidence,
    Experiment,
    ExperimentList,
    Experiments,
    Plan,
    StopExperiment,
)

from .observing import check_metric
from .primary import Primary, is_same

MOST_KEPT = 200
"""Ended experiments kept in memory; the log holds them all."""

_SPENDING = "t^-1.1"
_METHOD = "e-LOND (Xu and Ramdas, AISTATS 2024)"


class Log(Protocol):
    """Where entries are stored before anything follows from them."""

    async def write(self, entry: Any) -> None:
        """Store an entry; returns once it is durable."""
        ...


Ask = Callable[[Any], Awaitable[Any]]
"""Asks the actor that answers a request."""


class Gatekeeper:
    """Every experiment there is.

    Args:
        log: Holds the entries.
        ask: Asks the agent actor.
        positions: Gives how far the outcome and judgement streams were read.
        clock: Time.
        report: Writes an event.
        tell: Publishes a fact under an id that makes it repeatable.
        primary: Says what is compared where ``correct`` can't be known.
        rate: Bound on false promotions of the error budget.
    """

    def __init__(
        self, *, log: Log, ask: Ask, positions: Callable[[], tuple[int, int]], clock: Clock,
        report: Callable[..., Any], tell: Callable[[Any, str], Awaitable[None]], primary: Primary, rate: float = 0.1,
    ) -> None:  # fmt: skip
        self._log, self._ask, self._positions, self._primary = log, ask, positions, primary
        self._clock, self._report, self._tell = clock, report, tell
        self.budget = ErrorBudget(rate)
        self.trials: dict[str, Trial] = {}
        self._used: dict[str, int] = {}
        self.on_change: Callable[[Trial], None] = lambda _trial: None

    # -- the fold ------------------------------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """Take an entry that is stored; also at the start, for each that the log holds."""
        if isinstance(entry, Opened):
            trial = self.trials[entry.id] = Trial(entry, compare, SampleRatio)
            if entry.plan.budget == "ledger":
                self.budget = self.budget.begin()
            self._forget()
            self.on_change(trial)
            return
        trial = self.trials.get(entry.id)
        if trial is None:
            return
        before, paired = trial.state, trial.stage != "split"
        trial.apply(entry)
        if paired:
            agent = trial.opened.agent
            self._used[agent] = max(self._used.get(agent, 0), trial.cursor[0])
        if before == "running" and trial.state == "promoted" and trial.plan.budget == "ledger":
            self.budget = self.budget.promote()

    def used(self, agent: str) -> int:
        """The last recorded task that judged a candidate of this agent already: each judges once."""
        return self._used.get(agent, 0)

    def running(self, agent: str = "") -> list[Trial]:
        """Experiments under way, of one agent or of all."""
        trials = self.trials.values()
        return [one for one in trials if one.state == "running" and (not agent or one.opened.agent == agent)]

    def find(self, id_: str) -> Trial:
        """An experiment.

        Raises:
            NoExperimentError: If there is none.
        """
        trial = self.trials.get(id_)
        if trial is None:
            raise NoExperimentError(f"there is no experiment '{id_}'")
        return trial

    # -- what people and layers ask for --------------------------------------------------------------------------------

    async def create(self, message: CreateExperiment) -> Experiment:
        """Begin an experiment; the same again is the one there is.

        Raises:
            BadMessageError: If the plan makes no sense, or there is no candidate that differs from the live release.
            ConflictError: If the id is taken by another one, or one is under way for this agent.
        """
        known = self.trials.get(message.id) if message.id else None
        if known is not None:
            if known.opened.agent != message.agent or not is_same(known.plan, message.plan):
                raise ConflictError(f"experiment '{message.id}' is another one", hint="choose another id")
            return known.view()
        check_plan(message.plan)
        if self.running(message.agent):
            other = self.running(message.agent)[0].opened.id
            raise ConflictError(f"experiment '{other}' of '{message.agent}' is under way", hint="stop it, or wait")
        view: AgentView = await self._ask(ShowAgent(name=message.agent))
        candidates = await self._candidates(message, view)
        live = next(release.manifest for release in view.releases if release.number == view.live)
        opened = self._opened(replace(message, plan=self._primary.plan(message.plan, live)), view.live, candidates)
        await self._write(opened)
        self._report(
            "ab-test-config", f"{opened.id}: {opened.agent} {candidates} against {opened.incumbent}",
            experiment=opened.id, agent=opened.agent, candidates=candidates, level=opened.level,
        )  # fmt: skip
        return self.trials[opened.id].view()

    async def stop(self, message: StopExperiment) -> Experiment:
        """End an experiment by hand, or give the approval it waits for.

        Raises:
            NoExperimentError: If there is none.
            ConflictError: If it has ended, or does not wait for an approval.
        """
        trial = self.find(message.id)
        if trial.state != "running" or trial.pending is not None:
            raise ConflictError(f"experiment '{message.id}' has ended: {trial.state}")
        if message.act == "approve" and not trial.waits_for_approval:
            raise ConflictError(f"experiment '{message.id}' does not wait for an approval")
        verdict: Any = {"stop": "give-up", "roll-back": "roll-back"}.get(message.act, "promote")
        reason = f"{BY_HAND}: {message.note}" if message.note else BY_HAND
        await self._rule(trial, *trial.decide_otherwise(verdict, message.by, reason, self._clock.time()))
        return trial.view()

    def listed(self, message: Experiments) -> ExperimentList:
        """Experiments by filter, newest first, and the error budget."""
        found = [
            trial.view()
            for trial in reversed(self.trials.values())
            if (not message.agent or trial.opened.agent == message.agent)
            and (not message.state or trial.state == message.state)
        ]
        return ExperimentList(experiments=found[: message.limit], budget=self.budget_view())

    def budget_view(self) -> Budget:
        """The error budget as it is shown."""
        now = self.budget
        return Budget(
            rate=now.rate, spending=_SPENDING, tests=now.tests, promotions=now.promotions, next_level=now.next_level,
            method=_METHOD,
        )  # fmt: skip

    # -- one step of one experiment ------------------------------------------------------------------------------------

    async def advance(self, trial: Trial) -> bool:
        """Do what is due: put a written decision in force, decide, or enter a stage. False if nothing was."""
        if trial.state != "running":
            return False
        if trial.pending is not None:
            await self._put_in_force(trial, trial.pending)
            return True
        found = trial.decide(self._clock.time())
        if found is not None:
            await self._rule(trial, *found)
            return True
        step = trial.step()
        if step is None:
            return False
        if step.share or trial.share:
            await self._act(trial, Deploy(
                name=trial.opened.agent, release=step.release, share=step.share, by=trial.opened.proposer,
                expect_live=trial.opened.incumbent, note=f"experiment {trial.opened.id}",
            ))  # fmt: skip
            if trial.state != "running":
                return True
        replays = step.stage == "replay"  # it takes what was recorded before; the others what comes from now on
        kpi, events = (self.used(trial.opened.agent), 0) if replays else self._positions()
        await self._write(Entered(
            id=trial.opened.id, at=self._clock.time(), stage=step.stage, share=step.share, kpi=kpi, events=events,
        ))  # fmt: skip
        return True

    async def write(self, entry: Entry) -> None:
        """Store an entry, then take it."""
        await self._write(entry)

    async def _rule(self, trial: Trial, decision: Decision, evidence: list[Evidence]) -> None:
        await self._write(Ruled(id=trial.opened.id, decision=decision, evidence=evidence))
        await self._put_in_force(trial, decision)

    async def _put_in_force(self, trial: Trial, decision: Decision) -> None:
        opened = trial.opened
        if decision.verdict == "promote":
            await self._act(trial, Deploy(
                name=opened.agent, release=decision.release, share=1.0, expect_live=opened.incumbent,
                by=decision.by, note=_note(trial, decision),
            ), decision)  # fmt: skip
        elif not await self._taken_out(trial, decision):
            act = await self._way_back(trial, decision)
            if act is not None:
                await self._act(trial, act, decision)
        if trial.pending is not None:
            await self._settle(trial, decision, ok=True)

    async def _taken_out(self, trial: Trial, decision: Decision) -> bool:
        """Take a candidate out of live traffic at once, without looking first; false if it is not in.

        Every message counts here, and the act itself says which release it expects.
        """
        release = decision.release or (trial.active[0][1] if len(trial.active) == 1 else None)
        if release is None or not trial.share:
            return False
        try:
            await self._ask(self._rollback(trial, decision, release))
        except ConflictError:
            return False
        return True

    async def _way_back(self, trial: Trial, decision: Decision) -> Rollback | None:
        """The act that takes the candidate out of traffic, if it is in."""
        view: AgentView = await self._ask(ShowAgent(name=trial.opened.agent))
        ours = {release for _, release in trial.active}
        if view.candidate is None or view.candidate.release not in ours:
            return None
        if decision.release not in (None, view.candidate.release):
            return None
        return self._rollback(trial, decision, view.candidate.release)

    def _rollback(self, trial: Trial, decision: Decision, release: int) -> Rollback:
        return Rollback(
            name=trial.opened.agent, expect_candidate=release, by=decision.by, note=_note(trial, decision)
        )  # fmt: skip

    async def _act(self, trial: Trial, act: Deploy | Rollback, decision: Decision | None = None) -> None:
        """Ask for an act; if the agent was changed by somebody else meanwhile, the experiment has failed."""
        try:
            await self._ask(act)
        except ConflictError as error:
            if decision is None:
                await self._overtaken(trial, error.detail)
            elif decision.verdict != "promote" or not await self._is_live(trial, decision):
                await self._settle(trial, decision, ok=False, detail=error.detail)

    async def look_at_agent(self, trial: Trial) -> None:
        """End an experiment whose agent somebody else has changed: its comparison partner is gone."""
        view: AgentView = await self._ask(ShowAgent(name=trial.opened.agent))
        if view.live != trial.opened.incumbent and trial.state == "running" and trial.pending is None:
            await self._overtaken(trial, f"release {view.live} is live, not {trial.opened.incumbent}")

    async def _overtaken(self, trial: Trial, why: str) -> None:
        reason = f"{OVERTAKEN}: {why}"
        decision, evidence = trial.decide_otherwise("give-up", GATE, reason, self._clock.time())
        await self._write(Ruled(id=trial.opened.id, decision=decision, evidence=evidence))
        await self._settle(trial, decision, ok=False, detail=why)

    async def _is_live(self, trial: Trial, decision: Decision) -> bool:
        """Whether the promotion was done already, by ourselves before a crash."""
        view: AgentView = await self._ask(ShowAgent(name=trial.opened.agent))
        return view.live == decision.release

    async def _settle(self, trial: Trial, decision: Decision, *, ok: bool, detail: str = "") -> None:
        opened = trial.opened
        await self._write(Applied(id=opened.id, at=self._clock.time(), number=decision.number, ok=ok, detail=detail))
        level = "info" if ok else "warning"
        self._report(
            "statistical-test", f"{opened.id}: {decision.verdict}, {decision.reason}{detail and '; ' + detail}",
            level=level, experiment=opened.id, agent=opened.agent, verdict=decision.verdict, by=decision.by,
            e_value=decision.e_value, significance=decision.level,
        )  # fmt: skip
        if trial.state == "promoted":
            self._report(
                "deployment-success", f"{opened.agent}: release {decision.release} is live", agent=opened.agent
            )
        fact = Decided(
            experiment=opened.id,
            agent=opened.agent,
            decision=decision,
            evidence=trial.decided[-1][1],
            state=trial.state,
        )
        await self._tell(fact, f"{opened.id}.{decision.number}")

    async def _write(self, entry: Entry) -> None:
        await self._log.write(entry)
        self.apply(entry)

    # -- beginning -----------------------------------------------------------------------------------------------------

    async def _candidates(self, message: CreateExperiment, view: AgentView) -> list[int]:
        """Release numbers; genomes become releases on trial with no share of traffic."""
        if view.state != "live":
            raise ConflictError(f"agent '{message.agent}' is retired")
        numbers = list(message.candidates)
        for genome in message.genomes:
            shown: AgentView = await self._ask(Deploy(
                name=message.agent, genome=genome, share=0.0, expect_live=view.live, by=message.proposer,
                note=message.note or "a candidate for the gate",
            ))  # fmt: skip
            if shown.candidate is not None:
                numbers.append(shown.candidate.release)
        known: dict[int, Release] = {release.number: release for release in view.releases}
        if not numbers or view.live in numbers or len(set(numbers)) < len(numbers):
            raise BadMessageError(
                "candidates: at least one is needed, each once, and none may be the live release",
                hint=f"release {view.live} is live; give other releases, or genomes that differ from it",
            )
        for number in message.candidates:
            if number not in known:
                raise BadMessageError(f"candidates: '{message.agent}' has no release {number}")
        return numbers

    def _opened(self, message: CreateExperiment, live: int, candidates: list[int]) -> Opened:
        at, plan = self._clock.time(), message.plan
        ledger = plan.budget == "ledger"
        kpi, events = self._positions()
        return Opened(
            id=message.id or f"e-{int(at * 1000):x}", at=at, agent=message.agent, incumbent=live, candidates=candidates,
            plan=plan, level=self.budget.next_level if ledger else plan.alpha,
            test=self.budget.tests + 1 if ledger else 0, proposer=message.proposer, note=message.note,
            kpi=self.used(message.agent) if plan.stages[0] != "split" else kpi, events=events,
        )  # fmt: skip

    def _forget(self) -> None:
        ended = [id_ for id_, trial in self.trials.items() if trial.state != "running"]
        for id_ in ended[: max(0, len(ended) - MOST_KEPT)]:
            del self.trials[id_]


def _note(trial: Trial, decision: Decision) -> str:
    return f"experiment {trial.opened.id}: {decision.reason}"[:2000]


def check_plan(plan: Plan) -> None:
    """Refuse a plan that makes no sense.

    Raises:
        BadMessageError: Naming what.
    """
    if len(set(plan.stages)) < len(plan.stages):
        raise BadMessageError("plan.stages: each stage once")
    if max(plan.ramp) >= 1.0 or min(plan.ramp) <= 0.0 or list(plan.ramp) != sorted(plan.ramp):
        raise BadMessageError("plan.ramp: shares that rise, each above 0 and below 1")
    for metric in (plan.primary, *(guardrail.metric for guardrail in plan.guardrails)):
        check_metric(metric)
