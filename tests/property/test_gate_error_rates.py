"""The gate's promises in numbers: how often it is wrong about releases that are alike, and how soon it is right."""

from __future__ import annotations

import random

from actors.gating.comparisons import compare
from actors.gating.records import Entered, Opened, Row, Seen
from actors.gating.trial import Trial
from actors.inference.ratio import SampleRatio
from subjects.experiment import GUARDRAILS, Decision, Plan

RUNS, MESSAGES, BATCH = 200, 3_000, 25
SPLIT = Plan(stages=["split"], budget="fixed", alpha=0.02, ramp=[0.05, 0.2, 0.5], max_messages=1_000_000)
REPLAY = Plan(stages=["replay"], budget="fixed", alpha=0.02, max_messages=1_000_000)


def run(plan: Plan, seed: int, live: float, tried: float, messages: int = MESSAGES) -> tuple[Decision | None, int]:
    """One experiment on drawn messages, looked at after every batch: its first decision, and after how many messages.

    Answers are right at a rate that wanders with the time of day; a share of ``failed`` and ``slow`` is the same.
    """
    rng = random.Random(seed)  # noqa: S311 - a simulation
    opened = Opened(
        id="e", at=0.0, agent="a", incumbent=1, candidates=[2], plan=plan, level=plan.alpha, test=0, proposer="t",
        note="", kpi=0, events=0,
    )  # fmt: skip
    trial = Trial(opened, compare, SampleRatio)
    step = trial.step()
    assert step is not None
    trial.apply(Entered(id="e", at=0.0, stage=step.stage, share=step.share))
    for start in range(0, messages, BATCH):
        drift = 0.1 * (start / messages - 0.5)
        rows = [_row(rng, trial, live + drift, tried + drift) for _ in range(BATCH)]
        trial.apply(Seen(id="e", at=0.0, stage=trial.stage, rows=rows, kpi=0, events=0))
        found = trial.decide(0.0)
        if found is not None:
            return found[0], start + BATCH
        step = trial.step()
        if step is not None:
            trial.apply(Entered(id="e", at=0.0, stage=step.stage, share=step.share))
    return None, messages


def _row(rng: random.Random, trial: Trial, live: float, tried: float) -> Row:
    def values(right: float) -> list[float | None]:
        return [float(rng.random() < right), float(rng.random() < 0.01), float(rng.random() < 0.05)]

    if trial.stage != "split":
        hard = rng.random() < 0.8  # both meet the same message: most are easy or hard for both
        if hard:
            same = values(live)
            return Row(1, same, same)
        return Row(1, values(live), values(tried))
    chosen = rng.random() < trial.share
    return Row(1, [], values(tried)) if chosen else Row(0, values(live), [])


def wrong(plan: Plan) -> float:
    """Share of experiments on releases that are alike that promoted or rolled back."""
    decisions = [run(plan, seed, 0.7, 0.7)[0] for seed in range(RUNS)]
    return sum(one is not None for one in decisions) / RUNS


def test_alike_releases_in_a_split_are_left_alone() -> None:
    """200 A/A experiments on drifting traffic under three guardrails, looked at all the time: at most 5 % act."""
    assert len(SPLIT.guardrails) == len(GUARDRAILS)
    assert wrong(SPLIT) <= 0.05


def test_alike_releases_in_a_replay_are_left_alone() -> None:
    """The same for pairs."""
    assert wrong(REPLAY) <= 0.05


def test_a_harmful_candidate_is_out_before_many_meet_it() -> None:
    """A candidate that is wrong twice as often is rolled back in every run, most within the first ramp steps."""
    found = [run(SPLIT, seed, 0.8, 0.6, 20_000) for seed in range(20)]
    assert all(one is not None and one.verdict == "roll-back" for one, _ in found)
