"""One round of a tune: a study over one set of tasks, and what of it went to the gate already. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from actors.tuning import Asked, Failed, Point, Space, Study, StudyPlan, Told, TrialEvent
from actors.tuning import Trial as StudyTrial
from chimera.errors import BadGenomeError
from subjects.agent import Genes, Manifest
from subjects.experiment import Guardrail, Metric, Plan
from subjects.optimizer import Algorithm, Trial

from .tunelog import RoundBegun

MOST_DIMENSIONS = 20
"""Where more could be searched and nobody says what, vectors are left out: no search of some tens of trials finds its
way in so many dimensions."""

CARRIED = 3
"""Best points of a round that the next one measures again first."""

_REPEATABLE = ("failed", "correct", "score_error")


def searched(manifest: Manifest, base: Genes, named: Sequence[str]) -> list[str]:
    """The parameters to search: those named, else all, or all but the vectors.

    Raises:
        BadGenomeError: If there are none, or a name is unknown or can't be searched.
    """
    space = Space.of(manifest.genome, base=base, tune=list(named))
    if not named and len(space.dimensions) > MOST_DIMENSIONS:
        scalars = [member for member in space.members if member.dimensions and member.parameter.size == 1]
        named = [member.parameter.name for member in scalars] or named
    found = Space.of(manifest.genome, base=base, tune=list(named))
    return [member.parameter.name for member in found.members if member.dimensions]


def watched(plan: Plan, metric: Metric) -> list[Guardrail]:
    """The guardrails that a replay can tell; times measured beside live traffic say little, those are the gate's."""
    return [
        guard
        for guard in plan.guardrails
        if guard.metric.kind != "quantile"
        and guard.metric.name != metric.name
        and (guard.metric.name in _REPEATABLE or guard.metric.name.startswith("output."))
    ]


def study_plan(
    manifest: Manifest, base: Genes, tune: Sequence[str], *, seed: int, algorithm: Algorithm, threshold: float,
    guardrails: Sequence[str] = (), start_known: bool = True,
) -> StudyPlan:  # fmt: skip
    """What a round searches: higher is better, one trial at a time, the live genome first."""
    return StudyPlan(
        genome=manifest.genome, base=base, tune=list(tune), seed=seed, algorithm=algorithm, better="higher",
        guardrails=list(guardrails), convergence_threshold=threshold, lease_s=1e9, start_known=start_known,
    )  # fmt: skip


class TuneRound:
    """A study with its tasks.

    Args:
        begun: Its entry in the log.
        plan: What is searched.
        offset: Trials of the rounds before.
        carried: Points to be measured first, after the live one.
    """

    def __init__(self, begun: RoundBegun, plan: StudyPlan, offset: int, carried: Sequence[Point]) -> None:
        self.begun, self.offset = begun, offset
        self.study = Study(plan)
        self.incumbent = 0
        self.floor = float("-inf")
        self.events: list[TrialEvent] = []
        self._carried = deque(carried)
        self._gated: set[object] = set()
        self._widths: dict[int, float] = {}

    def apply(self, event: TrialEvent, half_width: float | None) -> None:
        """Take what happened to a trial."""
        self.study.apply(event)
        self.events.append(event)
        if half_width is not None:
            self._widths[event.number] = half_width
        if isinstance(event, Asked) and self._carried and self._carried[0] == event.point:
            self._carried.popleft()

    def configure(self, algorithm: Algorithm, threshold: float) -> None:
        """Go on with the same trials in another way."""
        plan = msgspec.structs.replace(self.study.plan, algorithm=algorithm, convergence_threshold=threshold)
        self.study = Study(plan, self.events)

    def given(self) -> Point | None:
        """The point to be measured next whatever the algorithm says."""
        return self._carried[0] if self._carried and self.study.trials else None

    @property
    def ended(self) -> int:
        """Trials that were measured or failed."""
        return sum(isinstance(event, Told | Failed) for event in self.events)

    @property
    def best(self) -> StudyTrial | None:
        """The first trial of the best point."""
        best = self.study.best
        return None if best is None else self.study.trials[best.number]

    def candidate(self) -> StudyTrial | None:
        """The best point that may go to the gate: better than the live one, and than any that the gate discarded."""
        live = self.study.trials[self.incumbent].value if self.study.trials else None
        least = max(self.floor, float("-inf") if live is None else live)
        fit = [
            trial
            for trial in self.study.trials
            if trial.feasible and trial.stderr == 0.0 and trial.cell not in self._gated and (trial.value or 0.0) > least
        ]
        return max(fit, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)

    def gate(self, number: int) -> None:
        """A trial's point went to the gate."""
        self._gated.add(self.study.trials[number].cell)

    def judge(self, number: int, *, promoted: bool) -> None:
        """The gate promoted or discarded it."""
        if promoted:
            self.incumbent = number
        else:
            self.floor = max(self.floor, self.study.trials[number].value or 0.0)

    def half_width(self, *, more: bool) -> float | None:
        """Half the width of what is known of the best point's mean; 0 if there is no more data to learn it from."""
        if not more:
            return 0.0
        best = self.best
        return None if best is None else self._widths.get(best.number)

    def known_to(self) -> float | None:
        """Half the width of the confidence sequence of the best point's mean."""
        return self.half_width(more=True)

    def top(self) -> list[Point]:
        """The best points, besides the live one."""
        fit = [trial for trial in self.study.trials if trial.feasible and trial.number != self.incumbent]
        fit.sort(key=lambda trial: (-(trial.value or 0.0), trial.number))
        return [trial.point for trial in fit[:CARRIED]]

    def genome(self, number: int) -> Genes:
        """The whole genome of a trial."""
        return self.study.space.decode(self.study.trials[number].point).genome

    def genes(self, number: int) -> Genes:
        """What is searched of it."""
        whole = self.genome(number)
        return {
            member.parameter.name: whole[member.parameter.name]
            for member in self.study.space.members
            if member.dimensions
        }

    def shown(self, number: int) -> Trial:
        """A trial as people see it."""
        trial = self.study.trials[number]
        return Trial(
            number=self.offset + number, state=trial.state, genome=self.genes(number), value=trial.value,
            half_width=self._widths.get(number), messages=trial.messages, reason=trial.reason,
        )  # fmt: skip


def carried_into(plan: StudyPlan, points: Sequence[Point]) -> list[Point]:
    """Those of the points that are points of the plan's space, and not its start."""
    space = plan.space()
    found: list[Any] = []
    for point in points:
        try:
            checked = space.check(point)
        except BadGenomeError:
            continue
        if checked != space.start():
            found.append(checked)
    return found
