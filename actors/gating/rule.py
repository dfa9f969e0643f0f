"""The rule: what the evidence so far means. Written once, for the gate and for whoever explains its decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from subjects.experiment import Evidence, Guardrail, Plan, Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one candidate when the rule is asked.

    Attributes:
        release: The candidate.
        better: Product of the e-values for "better" of all its stages: their messages are disjoint.
        primary: Its primary metric in the present stage.
        guardrails: Its guardrails in the present stage, in the plan's order.
        last_stage: Whether no other stage follows.
        counted: Messages of the present stage: pairs, or the candidate's own in a split.
        exhausted: Whether the stage has no more messages.
    """

    release: int
    better: float
    primary: Evidence
    guardrails: Sequence[Evidence]
    last_stage: bool
    counted: int
    exhausted: bool


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is to be done with one candidate, why, and the e-value and level that say so."""

    verdict: Verdict
    reason: str
    e_value: float
    level: float
    advance: bool = False


def rule(standing: Standing, plan: Plan, level: float, candidates: int) -> Ruling:
    """What to do with a candidate now. Valid however often it is asked.

    Harm goes first: a guardrail, then "worse than live". Levels are divided by the number of candidates (Bonferroni),
    those of harm also by the number of stages, because each stage looks for it anew.

    Args:
        standing: What is known.
        plan: How it is tried.
        level: What the promotion may spend.
        candidates: Candidates on trial at once.
    """
    harm = _harm(standing, plan, candidates)
    if harm is not None:
        return harm
    share = level / candidates
    proven = standing.better >= 1.0 / share
    if proven and standing.last_stage and standing.counted >= plan.min_messages:
        return Ruling(
            "promote", f"better: e-value {standing.better:.4g} reached {1 / share:.4g}", standing.better, share
        )
    if not standing.last_stage and (proven or standing.exhausted or standing.counted >= plan.max_messages):
        why = "proven here" if proven else "no more messages in this stage"
        return Ruling("watch", why, standing.better, share, advance=True)
    if standing.exhausted or standing.counted >= plan.max_messages:
        return Ruling("give-up", f"undecided after {standing.counted} messages", standing.better, share)
    return Ruling("watch", f"e-value {standing.better:.4g} of {1 / share:.4g}", standing.better, share)


def _harm(standing: Standing, plan: Plan, candidates: int) -> Ruling | None:
    for guardrail, evidence in zip(plan.guardrails, standing.guardrails, strict=True):
        alpha = guardrail.alpha / candidates / len(plan.stages)
        if evidence.e_worse >= 1.0 / alpha:
            return Ruling("roll-back", _broken(guardrail, evidence), evidence.e_worse, alpha)
    alpha = plan.alpha / candidates / len(plan.stages)
    if standing.primary.e_worse >= 1.0 / alpha:
        reason = f"{plan.primary.name} is worse than the live release's"
        return Ruling("roll-back", reason, standing.primary.e_worse, alpha)
    return None


def _broken(guardrail: Guardrail, evidence: Evidence) -> str:
    effect = "unknown" if evidence.effect is None else f"{evidence.effect:+.4g}"
    return f"guardrail {guardrail.metric.name}: {effect}, at most {guardrail.bound:g} worse is allowed"
