"""What an experiment will cost, said before it starts, against experiments that really run."""

from __future__ import annotations

import random
import statistics
from typing import Any

import msgspec
import pytest

from actors.gating.comparisons import compare
from actors.gating.records import Row
from actors.inference.planning import LONGEST, Figures, forecast
from subjects.experiment import CORRECT, Metric, Plan

REPLAY = Plan(stages=["replay"], max_messages=5_000)
SPLIT = Plan(stages=["split"], ramp=[0.5], max_messages=8_000)
SHADOW = Plan(stages=["shadow"], max_messages=5_000)
ERROR = Metric(name="score_error", kind="mean", better="lower")
AGENT = Figures(live=0.7, recorded=5_000, messages_per_s=10.0)
LEVEL = 0.02


def said(plan: Plan, effect: float, figures: Figures = AGENT, **changed: Any) -> Any:
    """A forecast of a changed plan."""
    return forecast(msgspec.structs.replace(plan, **changed), effect, figures, level=LEVEL)


def test_the_same_question_has_the_same_answer() -> None:
    """A forecast is a pure function of its seed."""
    assert said(REPLAY, 0.02) == said(REPLAY, 0.02)
    assert said(REPLAY, 0.02) != forecast(REPLAY, 0.02, AGENT, level=LEVEL, seed=1)


def test_larger_effects_need_fewer_messages() -> None:
    """More effect, more power and fewer messages; none at all is found no oftener than the level says."""
    small, large = said(REPLAY, 0.01), said(REPLAY, 0.04)
    assert small.power <= large.power
    assert large.messages_p50 < (small.messages_p50 or 10**9)
    assert said(REPLAY, 1e-12).power <= 2.0 * LEVEL
    assert said(SPLIT, 1e-12).power <= 2.0 * LEVEL


def test_a_replay_is_cheaper_than_a_split() -> None:
    """The same effect takes at least four times the messages in a split."""
    split, replay = said(SPLIT, 0.05), said(REPLAY, 0.05)
    assert split.messages_p50 >= 4 * replay.messages_p50


def streamed(plan: Plan, effect: float, seed: int) -> float:
    """Messages until the gate's own comparison, one message at a time, reaches the level."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    stage = plan.stages[0]
    comparison = compare(CORRECT, 0.0, LEVEL, stage)
    won, lost = (AGENT.disagreement + effect) / 2.0, (AGENT.disagreement - effect) / 2.0
    for number in range(1, 20_000):
        if stage == "split":
            tried = rng.random() < plan.ramp[0]
            right = float(rng.random() < AGENT.live + effect * tried)
            row = Row(1, [], [right]) if tried else Row(0, [right], [])
        else:
            drawn = rng.random()
            row = Row(1, [float(won <= drawn < won + lost)], [float(drawn < won)])
        comparison.add([row], 0)
        if number >= plan.min_messages and number % 10 == 0 and comparison.evidence().e_better >= 1.0 / LEVEL:
            return float(number)
    return 20_000.0


@pytest.mark.parametrize(("plan", "effect"), [(REPLAY, 0.03), (SPLIT, 0.1)])
def test_the_forecast_is_what_happens(plan: Plan, effect: float) -> None:
    """The median of experiments that run through the gate's own comparisons, message by message."""
    really = statistics.median(streamed(plan, effect, seed) for seed in range(41))
    assert said(plan, effect).messages_p50 == pytest.approx(really, rel=0.35)


def test_time_follows_from_the_rates() -> None:
    """Replay runs at its own speed, live stages at the traffic's; too slow for the plan means not found."""
    replay, shadow = said(REPLAY, 0.03), said(SHADOW, 0.03)
    assert replay.seconds_p50 == pytest.approx(replay.messages_p50 / AGENT.replays_per_s)
    assert shadow.seconds_p50 == pytest.approx(shadow.messages_p50 / AGENT.messages_per_s)
    assert said(SHADOW, 0.03, max_s=1.0).power == 0.0
    assert said(SHADOW, 0.03, max_s=1.0).messages_p50 is None


def test_a_replay_ends_with_what_was_recorded() -> None:
    """Fewer recorded messages than the effect needs: it cannot be found in replay."""
    few = msgspec.structs.replace(REPLAY, max_messages=1_000_000)
    assert said(few, 0.005, Figures(live=0.7, recorded=200)).power <= 0.1


def test_messages_that_nobody_judged_do_not_help() -> None:
    """Where one live message in ten is judged, ten times as many are needed; what is replayed was judged."""
    all_told, some = said(SHADOW, 0.04), said(SHADOW, 0.04, Figures(live=0.7, told=0.1), max_messages=40_000)
    assert some.messages_p50 == pytest.approx(10 * all_told.messages_p50, rel=0.3)
    assert said(REPLAY, 0.04, Figures(live=0.7, told=0.1, recorded=5_000)).power > 0.9


def test_evidence_is_carried_from_stage_to_stage() -> None:
    """A split after a replay that is nearly enough needs less than the split alone."""
    both = Plan(stages=["replay", "split"], ramp=[0.5], max_messages=8_000)
    figures = Figures(live=0.7, recorded=400)
    assert said(both, 0.05, figures).messages_p50 < said(SPLIT, 0.05).messages_p50


def test_the_candidate_must_meet_enough_messages() -> None:
    """No promotion before the plan's minimum, however great the effect."""
    assert said(SHADOW, 0.05, min_messages=2_000).messages_p50 >= 2_000
    assert said(SPLIT, 0.25, min_messages=2_000).messages_p50 >= 3_500


def test_means_are_forecast_by_bets() -> None:
    """A mean in pairs and in a split; lower is better counts as such; a covariate's worst case is counted."""
    pairs = said(SHADOW, 0.03, primary=ERROR)
    split = said(SPLIT, 0.05, primary=ERROR)
    careful = said(SPLIT, 0.05, primary=ERROR, covariate="input_bytes")
    assert pairs.power > 0.9
    assert pairs.messages_p50 < split.messages_p50 <= careful.messages_p50


def test_proportions_that_should_fall_are_forecast_from_their_other_side() -> None:
    """A rare failure made rarer needs fewer messages than the same change of a coin."""
    rare = said(SPLIT, 0.04, Figures(live=0.05), primary=Metric(name="failed", better="lower"))
    assert rare.messages_p50 < said(SPLIT, 0.04, Figures(live=0.5)).messages_p50


def test_what_is_assumed_is_said() -> None:
    """Figures, rates, and where the simulation stops short of the plan."""
    assumed = said(SHADOW, 0.2, max_messages=10_000_000).assumptions
    for part in (
        "live correct 0.7",
        "5.00%",
        "100% of live messages judged",
        "10 live messages/s",
        f"{LONGEST} of the",
    ):
        assert part in assumed


def test_a_quantile_has_no_forecast() -> None:
    """It says what to take instead."""
    with pytest.raises(ValueError, match="slow"):
        said(SPLIT, 5.0, primary=Metric(name="run_ms", kind="quantile"))
