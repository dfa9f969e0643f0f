"""One experiment: its log folded into what is known, what is to be done next, and what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from actors.inference.combining import e_bh, of_dependent, of_disjoint
from subjects.experiment import (
    FOUND_RATE,
    Decision,
    Evidence,
    Experiment,
    ExperimentState,
    Metric,
    Mode,
    Variant,
    Verdict,
)

from .comparing import Compare, Comparison, Ratio
from .records import Applied, Entered, Entry, Exhausted, Opened, Row, Ruled, Seen
from .rule import Ruling, Standing, rule

_END: dict[Verdict, ExperimentState] = {
    "promote": "promoted", "roll-back": "rolled-back", "give-up": "inconclusive",
}  # fmt: skip
GATE = "gate"
BY_HAND, OVERTAKEN = "by hand", "overtaken"
"""How the reasons of decisions begin that no evidence made."""


@dataclass(slots=True)
class _Arm:
    """A candidate: its comparisons in the present stage, and what the stages before are worth."""

    release: int
    primary: Comparison
    guardrails: list[Comparison]
    banked: float = 1.0
    highest: float = 1.0
    counted: int = 0
    out: str = ""

    @property
    def better(self) -> float:
        """Evidence of all stages that it is better. ``highest`` is the most it ever was: proven once is proven."""
        return of_disjoint((self.banked, self.primary.evidence().e_better))


@dataclass(frozen=True, slots=True)
class Step:
    """What the experiment needs done to go on: enter a stage with a share of traffic."""

    stage: Mode
    share: float
    release: int


@dataclass(slots=True)
class _Progress:
    stage: int = 0
    share: float = 0.0
    entered: bool = False
    entered_at: float = 0.0
    exhausted: bool = False
    messages: int = 0
    harmed: int = 0
    entries: int = 0
    kpi: int = 0
    events: int = 0
    ratio_e: float = 1.0
    ratio: Ratio | None = None
    decisions: list[Decision] = field(default_factory=list[Decision])
    pending: Ruled | None = None
    evidence: list[list[Evidence]] = field(default_factory=list[list[Evidence]])


class Trial:
    """Folds one experiment's entries. Give it the same entries, and it says the same, to the last digit.

    Args:
        opened: Its first entry.
        compare: Makes the statistical comparisons.
        ratio: Makes the sample-ratio check of a split with the given share.
    """

    def __init__(self, opened: Opened, compare: Compare, ratio: type[Ratio] | None = None) -> None:
        self.opened = opened
        self.plan = opened.plan
        self.state: ExperimentState = "running"
        self.ended_at: float | None = None
        self._compare, self._make_ratio = compare, ratio
        self._now = _Progress(kpi=opened.kpi, events=opened.events)
        self._arms = [_Arm(release, *self._comparisons()) for release in opened.candidates]

    # -- what is known -------------------------------------------------------------------------------------------------

    @property
    def metrics(self) -> list[Metric]:
        """The primary metric, then the guardrails': the order of the values in a row."""
        return [self.plan.primary, *(guardrail.metric for guardrail in self.plan.guardrails)]

    @property
    def stage(self) -> Mode:
        """The present stage."""
        return self.plan.stages[self._now.stage]

    @property
    def share(self) -> float:
        """The share of live traffic in force."""
        return self._now.share

    @property
    def cursor(self) -> tuple[int, int]:
        """How far the outcome and the judgement streams were used up."""
        return self._now.kpi, self._now.events

    @property
    def entered_at(self) -> float:
        """When the present stage and share were put in force, Unix seconds; 0 = not yet."""
        return self._now.entered_at

    @property
    def active(self) -> list[tuple[int, int]]:
        """(index from 1, release) of the candidates that are still in."""
        return [(index, arm.release) for index, arm in enumerate(self._arms, 1) if not arm.out]

    @property
    def pending(self) -> Decision | None:
        """A decision that was written and not yet put in force."""
        return self._now.pending.decision if self._now.pending else None

    @property
    def decided(self) -> list[tuple[Decision, list[Evidence]]]:
        """Every decision with the evidence that was written with it."""
        return list(zip(self._now.decisions, self._now.evidence, strict=True))

    @property
    def exhausted(self) -> bool:
        """Whether the present stage has no more messages."""
        return self._now.exhausted

    # -- the fold ------------------------------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """Take the next entry of this experiment."""
        self._now.entries += 1
        match entry:
            case Seen():
                self._see(entry)
            case Entered():
                self._enter(entry)
            case Exhausted():
                self._now.exhausted = True
            case Ruled():
                self._now.pending = entry
                self._now.decisions.append(entry.decision)
                self._now.evidence.append(entry.evidence)
            case Applied():
                self._settle(entry)
            case Opened():
                pass

    def _see(self, entry: Seen) -> None:
        now = self._now
        now.kpi, now.events = max(now.kpi, entry.kpi), max(now.events, entry.events)
        now.messages += sum(not row.late for row in entry.rows)
        for index, arm in enumerate(self._arms, 1):
            own = [
                row for row in entry.rows if row.candidate == index or (entry.stage == "split" and not row.candidate)
            ]
            if arm.out or not own:
                continue
            arm.counted += sum(row.candidate == index and not row.late for row in own)
            for place, comparison in enumerate([arm.primary, *arm.guardrails]):
                comparison.add(own, place)
            arm.highest = max(arm.highest, arm.better)
        if entry.stage == "split":
            now.harmed += sum(_is_harmed(row, self.metrics) for row in entry.rows if row.candidate)
            if now.ratio is not None:
                fresh = [row.candidate for row in entry.rows if not row.late]
                now.ratio.add(fresh.count(0), len(fresh) - fresh.count(0))

    def _enter(self, entry: Entered) -> None:
        now = self._now
        if now.entered and entry.stage != self.stage:
            now.stage, now.exhausted = self.plan.stages.index(entry.stage), False
            for arm in self._arms:
                arm.banked, arm.counted = arm.better, 0
                arm.primary, arm.guardrails = self._comparisons()
            if entry.stage == "split":
                self._keep_best()
        now.entered, now.share, now.entered_at = True, entry.share, entry.at
        now.kpi, now.events = max(now.kpi, entry.kpi), max(now.events, entry.events)
        if now.ratio is not None:
            now.ratio_e *= now.ratio.e_value
        now.ratio = self._make_ratio(entry.share) if self._make_ratio and 0.0 < entry.share < 1.0 else None

    def _keep_best(self) -> None:
        """An agent has one candidate in live traffic: the one with the most evidence."""
        inside = [arm for arm in self._arms if not arm.out]
        best = max(inside, key=lambda arm: arm.banked, default=None)
        for arm in inside:
            if arm is not best:
                arm.out = "another candidate has more evidence"

    def _settle(self, entry: Applied) -> None:
        pending, self._now.pending = self._now.pending, None
        if pending is None:
            return
        decision = pending.decision
        if not entry.ok:
            self._end("failed", entry.at)
            return
        if decision.verdict == "promote" or decision.release is None:
            by_hand = decision.by != GATE and decision.verdict == "give-up"
            self._end("stopped" if by_hand else _END[decision.verdict], entry.at)
            return
        for arm in self._arms:
            if arm.release == decision.release:
                arm.out = decision.reason
        if not self.active:
            verdicts = [one.verdict for one in self._now.decisions]
            self._end("rolled-back" if "roll-back" in verdicts else "inconclusive", entry.at)

    def _end(self, state: ExperimentState, at: float) -> None:
        self.state, self.ended_at = state, at

    # -- what is next --------------------------------------------------------------------------------------------------

    def step(self) -> Step | None:
        """The stage or share to put in force now, if it is another than the present one."""
        now = self._now
        if self.state != "running" or now.pending is not None or not self.active:
            return None
        target = now.stage
        if now.entered and any(self._ruling(arm).advance for arm in self._inside()):
            target += 1
        stage = self.plan.stages[target]
        best = max(self._inside(), key=lambda arm: arm.better)
        share = self._ramp(best.counted if target == now.stage else 0) if stage == "split" else 0.0
        if now.entered and target == now.stage and share == now.share:
            return None
        return Step(stage, share, best.release)

    def decide(self, at: float) -> tuple[Decision, list[Evidence]] | None:
        """The gate's decision at a moment, or ``None`` to keep watching."""
        now = self._now
        if self.state != "running" or now.pending is not None or not now.entered:
            return None
        e_ratio, alpha = self._ratio_e(), self.plan.sample_ratio_alpha
        if e_ratio >= 1.0 / alpha:
            found = Ruling("roll-back", "sample ratio: traffic is not split as intended", e_ratio, alpha)
            return self._decision(found, None, at)
        rulings = [(arm, self._ruling(arm)) for arm in self._inside()]
        for verdict in ("roll-back", "promote", "give-up"):
            for arm, ruling in rulings:
                if ruling.verdict == verdict and not (verdict == "promote" and self.plan.approve):
                    return self._decision(ruling, arm.release, at)
        if at - self.opened.at >= self.plan.max_s:
            return self._decision(
                Ruling("give-up", f"undecided after {self.plan.max_s:g} s", 1.0, self._level()), None, at
            )
        return None

    def decide_otherwise(self, verdict: Verdict, by: str, reason: str, at: float) -> tuple[Decision, list[Evidence]]:
        """A decision that no evidence made, a person's for one, recorded beside the evidence of that moment."""
        best = max(self._inside(), key=lambda arm: arm.better, default=None)
        ruling = Ruling(verdict, reason, best.better if best else 1.0, self._level())
        release = best.release if verdict == "promote" and best else None
        return self._decision(ruling, release, at, by)

    @property
    def waits_for_approval(self) -> bool:
        """Whether the evidence is enough and only a person's word is missing."""
        if not self.plan.approve or self.state != "running" or self._now.pending is not None:
            return False
        return any(self._ruling(arm).verdict == "promote" for arm in self._inside())

    def _decision(
        self, ruling: Ruling, release: int | None, at: float, by: str = GATE
    ) -> tuple[Decision, list[Evidence]]:
        decision = Decision(
            number=len(self._now.decisions), seq=self._now.entries, at=at, verdict=ruling.verdict, release=release,
            reason=ruling.reason, level=ruling.level, e_value=ruling.e_value, by=by,
        )  # fmt: skip
        return decision, [figure for arm in self._inside() for figure in self._figures(arm)]

    def _ruling(self, arm: _Arm) -> Ruling:
        standing = Standing(
            release=arm.release, better=arm.highest, primary=arm.primary.evidence(),
            guardrails=[one.evidence() for one in arm.guardrails],
            last_stage=self._now.stage == len(self.plan.stages) - 1, counted=arm.counted,
            exhausted=self._now.exhausted,
        )  # fmt: skip
        return rule(standing, self.plan, self.opened.level, len(self._arms))

    def _inside(self) -> list[_Arm]:
        return [arm for arm in self._arms if not arm.out]

    def _ramp(self, counted: int) -> float:
        return self.plan.ramp[min(counted // self.plan.step_messages, len(self.plan.ramp) - 1)]

    def _ratio_e(self) -> float:
        return self._now.ratio_e * (self._now.ratio.e_value if self._now.ratio else 1.0)

    def _level(self) -> float:
        return self.opened.level / len(self._arms)

    def _comparisons(self) -> tuple[Comparison, list[Comparison]]:
        plan, share, stage = self.plan, len(self.opened.candidates), self.stage
        primary = self._compare(plan.primary, 0.0, self.opened.level / share, stage, plan.covariate)
        rails = [
            self._compare(one.metric, one.bound, one.alpha / share, stage, plan.covariate) for one in plan.guardrails
        ]
        return primary, rails

    # -- what is shown -------------------------------------------------------------------------------------------------

    def view(self, forecast: tuple[int | None, float | None] = (None, None)) -> Experiment:
        """The experiment as people see it."""
        opened, now = self.opened, self._now
        return Experiment(
            id=opened.id, agent=opened.agent, state=self.state, incumbent=opened.incumbent, proposer=opened.proposer,
            note=opened.note, started_at=opened.at, ended_at=self.ended_at, plan=self.plan, level=opened.level,
            variants=[self._variant(arm) for arm in self._arms], sample_ratio_e=self._ratio_e(),
            e_any=of_dependent([arm.better for arm in self._arms]),
            messages=now.messages, harmed=now.harmed, decisions=list(now.decisions),
            waits_for_approval=self.waits_for_approval, forecast_messages=forecast[0], forecast_s=forecast[1],
        )  # fmt: skip

    def _variant(self, arm: _Arm) -> Variant:
        primary, *guardrails = self._figures(arm)
        running = self.state == "running" and not arm.out
        return Variant(
            release=arm.release, stage=self.stage if running else "done", share=self._now.share if running else 0.0,
            primary=primary, guardrails=guardrails, e_total=arm.better, reason=arm.out,
            better=_found([primary, *guardrails], "e_better"), worse=_found([primary, *guardrails], "e_worse"),
        )  # fmt: skip

    def _figures(self, arm: _Arm) -> list[Evidence]:
        return [one.evidence() for one in (arm.primary, *arm.guardrails)]


def _is_harmed(row: Row, metrics: Sequence[Metric]) -> bool:
    """A live message that a candidate failed, was too slow for, or answered wrong."""
    bad = {"failed": 1.0, "slow": 1.0, "correct": 0.0}
    return any(
        value is not None and value == bad.get(metric.name) for value, metric in zip(row.tried, metrics, strict=True)
    )


def _found(figures: Sequence[Evidence], which: str) -> list[str]:
    """Names of the metrics that changed, of many looked at together."""
    e_values = [getattr(figure, which) for figure in figures]
    return [figures[index].metric for index in e_bh(e_values, FOUND_RATE)]
