"""The gate's rule: what its error levels are shared among."""

from __future__ import annotations

import pytest

from actors.gating.rule import Ruling, Standing, rule
from subjects.experiment import FAILED, Evidence, Guardrail, Interval, Mode, Plan

NOWHERE = Interval(low=None, high=None, confidence=0.95)


def figure(e_better: float = 1.0, e_worse: float = 1.0) -> Evidence:
    """Evidence with these e-values."""
    return Evidence(
        metric="m", n_live=1, n_candidate=1, live=None, candidate=None, effect=None, interval=NOWHERE,
        e_better=e_better, e_worse=e_worse, test="",
    )  # fmt: skip


def ruled(stages: list[Mode], worse: float, broken: float, candidates: int = 1) -> Ruling:
    """What the rule says to evidence of harm, at levels of 1/32 for the primary and 1/128 for the guardrail."""
    plan = Plan(stages=stages, alpha=1 / 32, guardrails=[Guardrail(metric=FAILED, alpha=1 / 128)])
    standing = Standing(
        release=2, better=1.0, primary=figure(e_worse=worse), guardrails=[figure(e_worse=broken)], last_stage=False,
        counted=10, exhausted=False,
    )  # fmt: skip
    return rule(standing, plan, 1 / 32, candidates)


@pytest.mark.parametrize(
    ("stages", "share"), [(["split"], 1), (["replay", "split"], 2), (["replay", "shadow", "split"], 3)]
)
@pytest.mark.parametrize("candidates", [1, 4])
def test_levels_of_harm_are_shared_among_stages_and_candidates(stages: list[Mode], share: int, candidates: int) -> None:
    """Each stage looks for harm anew: together they are wrong no oftener than the plan says."""
    for worse, broken, level in ((32.0, 0.0, 1 / 32), (0.0, 128.0, 1 / 128)):
        parts = share * candidates
        enough, short = (ruled(stages, worse * parts * x, broken * parts * x, candidates) for x in (1.001, 0.999))
        assert (enough.verdict, short.verdict) == ("roll-back", "watch")
        assert enough.level == pytest.approx(level / parts)
