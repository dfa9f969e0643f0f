"""A champion's way through the gate: the experiment is begun, watched, ended if it harms, and its outcome taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from actors.evolving.record import GenomeRecord
from actors.refining.replaying import patient
from chimera.clock import Clock
from chimera.errors import (
    ChimeraError,
    ConflictError,
    DeadlineError,
    LayerNotRunningError,
    NoExperimentError,
    NotRunningError,
    OverloadedError,
    UnavailableError,
)
from subjects.agent import AgentView, Deploy, ShowAgent
from subjects.evolution import StartEvolution
from subjects.experiment import CORRECT, CreateExperiment, Experiment, GetExperiment, Plan, StopExperiment

from .fold import EvolutionFold
from .log import Gated, Judged, RunEntry
from .notes import note_for

BY = "evolver"
_BUSY = (ConflictError, UnavailableError, OverloadedError, DeadlineError)
_AWAY = (NotRunningError, LayerNotRunningError)


class Passage:
    """Takes the champion of one evolution through the gate.

    Args:
        fold: The evolution.
        ask: Asks the agent actor and the optimizer.
        write: Stores an entry, then has the fold take it.
        clock: Time.
        pause: Waits for a look's time, or until something was decided by hand.
    """

    def __init__(
        self, fold: EvolutionFold, *, ask: Callable[[Any], Awaitable[Any]],
        write: Callable[[RunEntry], Awaitable[None]], clock: Clock, pause: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._fold, self._ask, self._write = fold, ask, write
        self._clock, self._pause = clock, pause

    async def step(self) -> None:
        """Bring the experiment further by one look: begin it, wait for it, end it, take its outcome."""
        fold = self._fold
        if fold.gated is None:
            await self._write(Gated(id=fold.id, at=self._clock.time(), experiment=fold.id))
            return
        try:
            experiment: Experiment = await patient(self._ask, self._clock, GetExperiment(id=fold.gated.experiment))
        except NoExperimentError:
            await self._open(fold.gated.experiment)
            return
        except _AWAY as error:
            await self._judge(f"the gate is not running: {error.detail}")
            return
        if experiment.state != "running":
            await self._settle(experiment)
        elif why := self._too_much(experiment):
            await self._stop(experiment, why)
        else:
            await self._pause()

    async def _open(self, name: str) -> None:
        fold, champion = self._fold, self._fold.champion_record
        if fold.halted is not None or champion is None:
            await self._judge(f"not begun: {fold.halted.note if fold.halted else 'its champion is not known any more'}")
            return
        view: AgentView = await patient(self._ask, self._clock, ShowAgent(name=fold.agent))
        if view.live != fold.began.release.number:
            await self._judge(f"release {view.live} was made live by somebody else; evolve again from there")
            return
        try:
            await self._create(name, champion, view)
        except _BUSY as error:
            fold.waits = f"waits for the gate: {error.detail}"
            if fold.over(self._clock.time()):
                await self._judge(f"{fold.over(self._clock.time())} while it {fold.waits}")
            else:
                await self._pause()
        except ChimeraError as error:
            await self._judge(f"the gate refused it: {error.detail}")

    async def _create(self, name: str, champion: GenomeRecord, view: AgentView) -> None:
        fold = self._fold
        note = note_for(champion.id, fold.championed.reason if fold.championed else "")
        begin = CreateExperiment(agent=fold.agent, id=name, plan=plan_of(fold.began.request), proposer=BY, note=note)
        if champion.limits is None:
            await self._ask(replace(begin, genomes=[champion.genes]))
            return
        on_trial: AgentView = await self._ask(Deploy(
            name=fold.agent, genome=champion.genes, limits=champion.limits, share=0.0, expect_live=view.live, by=BY,
            note=note,
        ))  # fmt: skip
        candidate = on_trial.candidate
        await self._ask(replace(begin, candidates=[candidate.release] if candidate else []))

    def _too_much(self, experiment: Experiment) -> str:
        """Why an experiment under way must end now."""
        fold = self._fold
        if fold.halted is not None:
            return fold.halted.note or "the evolution was stopped"
        allowed = fold.began.request.budget.harmed
        if experiment.harmed and experiment.harmed >= allowed:
            return f"{experiment.harmed} live messages were harmed, {allowed} are allowed"
        return ""

    async def _stop(self, experiment: Experiment, why: str) -> None:
        try:
            await self._ask(StopExperiment(id=experiment.id, act="stop", by=BY, note=why[:2000]))
        except _BUSY:
            await self._pause()

    async def _settle(self, experiment: Experiment) -> None:
        last = experiment.decisions[-1] if experiment.decisions else None
        reason = f"experiment {experiment.id}: {experiment.state}{', ' + last.reason if last else ''}"
        await self._judge(
            reason, release=last.release if last and experiment.state == "promoted" else None, harmed=experiment.harmed
        )

    async def _judge(self, reason: str, *, release: int | None = None, harmed: int = 0) -> None:
        fold = self._fold
        await self._write(Judged(
            id=fold.id, at=self._clock.time(), experiment=fold.gated.experiment if fold.gated else "",
            release=release, harmed=harmed, reason=reason,
        ))  # fmt: skip


def plan_of(request: StartEvolution) -> Plan:
    """How the champion is tried: as asked for, on the first objective's metric where the plan names none."""
    plan, metric = request.plan, request.objectives[0].metric
    return replace(plan, primary=metric) if plan.primary == CORRECT and metric != CORRECT else plan


def within(plan: Plan, most: float) -> Plan:
    """The plan with at most this share of live traffic for the candidate; without any, no user sees it."""
    if most <= 0.0:
        return replace(plan, stages=[stage for stage in plan.stages if stage != "split"] or ["replay"])
    return replace(plan, ramp=[share for share in plan.ramp if share <= most] or [most])
