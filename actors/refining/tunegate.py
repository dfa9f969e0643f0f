"""One candidate's way through the gate: the experiment is begun, watched, ended if it harms, and its outcome taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from chimera.clock import Clock
from chimera.errors import (
    ChimeraError,
    ConflictError,
    DeadlineError,
    NoExperimentError,
    OverloadedError,
    UnavailableError,
)
from subjects.agent import AgentView, ShowAgent
from subjects.experiment import CORRECT, CreateExperiment, Experiment, Mode, Plan, StopExperiment
from subjects.optimizer import AutoTune, TuneState

from .replaying import patient
from .tunelog import Gated, Judged, TuneEntry
from .tunestate import TuneFold

BY = "optimizer"
_LOOK_S = 0.5


class Viewed(Protocol):
    """Something that shows itself as an experiment."""

    def view(self) -> Experiment:
        """It as it stands."""
        ...


class Gate(Protocol):
    """Through which alone a point becomes the live release."""

    async def create(self, message: CreateExperiment) -> Experiment:
        """Begin an experiment, or give the one of that id."""
        ...

    async def stop(self, message: StopExperiment) -> Experiment:
        """End one."""
        ...

    def find(self, id_: str) -> Viewed:
        """An experiment, or ``NoExperimentError``."""
        ...


class Passage:
    """Takes the candidates of one tune through the gate, one after another.

    Args:
        fold: The tune.
        gate: Runs experiments.
        write: Stores an entry, then has the fold take it.
        ask: Asks the agent actor.
        clock: Time.
        pause: Waits for a look's time, or until the tune is halted.
        end: Ends the tune.
    """

    def __init__(
        self, fold: TuneFold, gate: Gate, *, write: Callable[[TuneEntry], Awaitable[None]],
        ask: Callable[[Any], Awaitable[Any]], clock: Clock, pause: Callable[[], Awaitable[None]],
        end: Callable[[TuneState, str], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._fold, self._gate, self._write, self._ask = fold, gate, write, ask
        self._clock, self._pause, self._end = clock, pause, end

    async def step(self) -> None:
        """Bring the experiment further by one look: begin it, wait for it, end it, take its outcome."""
        gated = self._fold.gated
        if gated is None:
            return
        try:
            experiment = self._gate.find(gated.experiment).view()
        except NoExperimentError:
            await self._open_experiment(gated)
            return
        if experiment.state != "running":
            await self._settle(experiment)
        elif why := self._too_much(experiment):
            await self._stop(experiment, why)
        else:
            await self._pause()

    async def _open_experiment(self, gated: Gated) -> None:
        fold = self._fold
        if why := fold.over(self._clock.time()):
            await self._discard(gated, f"not begun: {why}")
            return
        view: AgentView = await patient(self._ask, self._clock, ShowAgent(name=fold.agent))
        if view.live != fold.incumbent:
            why = f"release {view.live} was made live by somebody else; start another tune from there"
            await self._discard(gated, why)
            await self._end("stopped", why)
            return
        message = CreateExperiment(
            agent=fold.agent, id=gated.experiment, genomes=[fold.round.genes(gated.trial)], plan=plan_of(fold.request),
            proposer=BY, note=f"auto-tune {fold.id}, trial {fold.round.offset + gated.trial}",
        )  # fmt: skip
        try:
            await self._gate.create(message)
        except (ConflictError, UnavailableError, OverloadedError, DeadlineError) as error:
            fold.waits = f"waits for the gate: {error.detail}"
            await self._pause()
        except ChimeraError as error:
            await self._discard(gated, f"the gate refused it: {error.detail}")

    def _too_much(self, experiment: Experiment) -> str:
        """Why an experiment under way must end now."""
        allowed, harmed = self._fold.request.budget.harmed, self._fold.harmed + experiment.harmed
        if experiment.harmed and harmed >= allowed:
            return f"{harmed} live messages were harmed, {allowed} are allowed"
        return self._fold.over(self._clock.time())

    async def _stop(self, experiment: Experiment, why: str) -> None:
        try:
            await self._gate.stop(StopExperiment(id=experiment.id, act="stop", by=BY, note=why[:2000]))
        except (ConflictError, UnavailableError, OverloadedError, DeadlineError):
            await self._clock.sleep(_LOOK_S)

    async def _settle(self, experiment: Experiment) -> None:
        self._fold.waits = ""
        last = experiment.decisions[-1] if experiment.decisions else None
        reason = f"experiment {experiment.id}: {experiment.state}{', ' + last.reason if last else ''}"
        release = last.release if last and experiment.state == "promoted" else None
        await self._write(Judged(
            id=self._fold.id, at=self._clock.time(), experiment=experiment.id, release=release,
            harmed=experiment.harmed, reason=reason,
        ))  # fmt: skip

    async def _discard(self, gated: Gated, reason: str) -> None:
        await self._write(Judged(
            id=self._fold.id, at=self._clock.time(), experiment=gated.experiment, release=None, harmed=0, reason=reason,
        ))  # fmt: skip


def plan_of(request: AutoTune) -> Plan:
    """How each candidate is tried: as asked for, on the metric that is tuned, within the live share allowed.

    Without any share of live traffic there is no split: replay and shadow, which no user sees, decide.
    """
    plan, most = request.plan, request.budget.live_share
    primary = request.metric if plan.primary == CORRECT else plan.primary
    if most <= 0.0:
        unseen: list[Mode] = [stage for stage in plan.stages if stage != "split"]
        return msgspec.structs.replace(plan, primary=primary, stages=unseen or ["replay"])
    ramp = [share for share in plan.ramp if share <= most] or [most]
    return msgspec.structs.replace(plan, primary=primary, ramp=ramp)
