"""An auto-tune as the fold of its log: what was done, what was used, and what is next. Pure."""

from __future__ import annotations

from typing import Literal

from actors.tuning import Convergence, Failed, Told
from subjects.agent import Genes
from subjects.optimizer import Algorithm, AutoTune, Settings, Trial, Tune, TuneState

from .tunelog import (
    Considered,
    Ended,
    Gated,
    Halted,
    Judged,
    Replayed,
    RoundBegun,
    Started,
    Tried,
    TuneEntry,
)
from .tuneround import TuneRound, carried_into, study_plan, watched

Due = Literal["done", "end", "gate", "round", "measure", "consider", "ask"]
"""What is next: a fresh set of tasks, a point, its measurement, a look at the best one, the gate, or the end."""

PACE_LEAST, PACE_MOST, PACE_SHARE = 5, 25, 4
"""The best point is looked at after a quarter of the trials, but neither too often nor too seldom: each time that one
goes to the gate, the error budget grants the next one less."""

_STEPS: dict[str, Literal["propose", "replay", "gate", "done"]] = {
    "done": "done", "end": "done", "gate": "gate", "measure": "replay", "consider": "replay",
}  # fmt: skip


class TuneFold:
    """One auto-tune.

    Args:
        started: The first entry.
    """

    def __init__(self, started: Started) -> None:
        self.started = started
        self.request = started.request
        self.algorithm: Algorithm = started.algorithm
        self.threshold = started.threshold
        self.incumbent = started.incumbent
        self.base: Genes = started.base
        self.rounds: list[TuneRound] = []
        self.experiments: list[str] = []
        self.promoted: list[int] = []
        self.gated: Gated | None = None
        self.halted: Halted | None = None
        self.ended: Ended | None = None
        self.replayed = self.harmed = 0
        self.entries = 1
        self.since = 0
        self.decided = ("", started.at)
        self.waits = ""

    @property
    def id(self) -> str:
        """Its id."""
        return self.started.id

    @property
    def agent(self) -> str:
        """Whose genome it tunes."""
        return self.request.agent

    @property
    def state(self) -> TuneState:
        """Whether it runs, or how it ended."""
        return self.ended.state if self.ended else "running"

    @property
    def round(self) -> TuneRound:
        """The present round."""
        return self.rounds[-1]

    @property
    def trials(self) -> int:
        """Points tried in all rounds."""
        return self.round.offset + len(self.round.study.trials) if self.rounds else 0

    @property
    def pace(self) -> int:
        """Trials from one look at the best point to the next."""
        return min(PACE_MOST, max(PACE_LEAST, self.request.budget.trials // PACE_SHARE))

    def apply(self, entry: TuneEntry) -> None:
        """Take an entry of this tune that is stored."""
        self.entries += 1
        match entry:
            case RoundBegun():
                self._begin(entry)
            case Tried():
                self._try(entry)
            case Replayed():
                self.replayed += entry.tasks
            case Considered():
                self._decide(entry.reason, entry.at)
            case Gated():
                self.gated = entry
                self.experiments.append(entry.experiment)
                self.round.gate(entry.trial)
            case Judged():
                self._judge(entry)
            case Halted():
                self.halted = entry
            case Ended():
                self.ended = entry
                self.decided = (f"{entry.state}: {entry.reason}", entry.at)
            case _:
                pass

    def configure(self, settings: Settings) -> None:
        """Propose in another way from the next trial on, unless the request named an algorithm."""
        self.threshold = settings.convergence_threshold
        if self.request.algorithm is None:
            self.algorithm = settings.algorithm
        if self.rounds:
            self.round.configure(self.algorithm, self.threshold)

    def next(self, now: float, *, more: bool) -> Due:
        """What is due.

        Args:
            now: Unix seconds.
            more: Whether so many more tasks were judged that a fresh round would know more.
        """
        if self.ended:
            return "done"
        if self.gated:
            return "gate"
        if self.over(now):
            return "end"
        if not self.rounds:
            return "round"
        if self.round.study.open:
            return "measure"
        return self._between(more=more)

    def over(self, now: float) -> str:
        """Why nothing more may be done at all, in words; empty while it may."""
        budget = self.request.budget
        if self.halted:
            return self.halted.note or "stopped by a person"
        if now >= self.started.at + budget.seconds:
            return f"the budget of {budget.seconds:g} seconds is used up{self.waits and ': ' + self.waits}"
        if self.harmed and self.harmed >= budget.harmed:
            return f"the budget of {budget.harmed} harmed live messages is used up"
        if len(self.promoted) >= budget.promotions:
            return f"the budget of {budget.promotions} promotions is used up"
        return ""

    def spent(self) -> str:
        """Why no further point may be tried, in words; empty while one may."""
        budget = self.request.budget
        if self.trials >= budget.trials:
            return f"the budget of {budget.trials} trials is used up"
        if self.replayed >= budget.replayed:
            return f"the budget of {budget.replayed} replayed tasks is used up"
        return ""

    def convergence(self, *, more: bool) -> Convergence:
        """Whether there is no more to gain; needs a round."""
        return self.round.study.convergence(self.round.half_width(more=more))

    def show(self, *, trials: bool = True) -> Tune:
        """The tune as it stands."""
        best = self._best()
        start = self.rounds[0].study.trials[0].value if self.rounds and self.rounds[0].study.trials else None
        gain = None if best is None or best.value is None or start is None else best.value - start
        ended = self.ended
        return Tune(
            id=self.id, agent=self.agent, state=self.state, algorithm=self.algorithm, threshold=self.threshold,
            step=_STEPS.get(self.next(self.started.at, more=False), "propose"), metric=self.request.metric.name,
            started_at=self.started.at, ended_at=ended.at if ended else None,
            trials=self._shown() if trials else [], best=best, start_value=start, experiments=list(self.experiments),
            promoted=list(self.promoted), budget=self.request.budget, used_replayed=self.replayed,
            used_harmed=self.harmed, improvement=gain, reason=ended.reason if ended else self.waits or self.decided[0],
        )  # fmt: skip

    def _between(self, *, more: bool) -> Due:
        """Every trial has ended: look at the best one, or try another, or nothing."""
        finished = bool(self.spent()) or self.convergence(more=more).converged
        if self.since and (finished or self.since >= self.pace):
            return "consider"
        if finished:
            return "end"
        return "round" if more and not self.since and self.round.study.trials else "ask"

    def _begin(self, entry: RoundBegun) -> None:
        plan = study_plan(
            self.started.manifest, self.base, self.started.tune, seed=self.request.seed + 1_000_003 * len(self.rounds),
            algorithm=self.algorithm, threshold=self.threshold,
            guardrails=guard_names(self.request),
        )  # fmt: skip
        former = self.round.top() if self.rounds else []
        self.rounds.append(TuneRound(entry, plan, self.trials, carried_into(plan, former)))
        self.since = 0
        self.waits = ""

    def _try(self, entry: Tried) -> None:
        self.round.apply(entry.event, entry.half_width)
        if isinstance(entry.event, Told | Failed):
            self.since += 1
            self.replayed += entry.event.messages

    def _judge(self, entry: Judged) -> None:
        if self.gated is None:
            return
        number, self.gated = self.gated.trial, None
        self.harmed += entry.harmed
        self.round.judge(number, promoted=entry.release is not None)
        if entry.release is not None:
            self.incumbent = entry.release
            self.promoted.append(entry.release)
            self.base = self.round.genome(number)
        self._decide(entry.reason, entry.at)

    def _decide(self, reason: str, at: float) -> None:
        self.since = 0
        self.decided = (reason, at)

    def _best(self) -> Trial | None:
        for found in reversed(self.rounds):
            if found.best is not None:
                return found.shown(found.best.number)
        return None

    def _shown(self) -> list[Trial]:
        return [found.shown(trial.number) for found in self.rounds for trial in found.study.trials]


def guard_names(request: AutoTune) -> list[str]:
    """Names of the constraints that each result carries, in the order of the guardrails that are watched."""
    return [f"{place}-{guard.metric.name}" for place, guard in enumerate(watched(request.plan, request.metric))]
