"""What a comparison will cost before it starts: the power of a plan, and its messages and time, by simulation.

The simulated experiments go through the plan's stages with the tests of the gate: pairs with a winner, the safe 2x2
test, bets on bounded differences, blocks as traffic forms them, and evidence that is carried from stage to stage.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# numpy leaves the element type of what arithmetic gives open

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from subjects.experiment import Forecast, Mode, Plan

from .blocks import Blocks
from .covariate import LARGEST
from .paths import Array, Numbers, bets_path, two_by_two_path, wins_path

LONGEST, LONGEST_BETS = 50_000, 15_000
"""The candidate's messages of a stage that are simulated at most, of a proportion and of a mean."""

_WORK = {"wins": 8_000_000, "table": 2_000_000, "bets": 400_000}
_FEWEST, _MOST, _WORLDS = 20, 400, 4


@dataclass(frozen=True, slots=True)
class Figures:
    """What is recorded of the agent.

    Attributes:
        live: Mean of the primary metric for the live release.
        disagreement: For proportions: share of messages that two releases would answer differently in its terms.
        spread: For means: standard deviation of the metric from message to message.
        pair_spread: For means: standard deviation of the difference between two releases on one message.
        told: Share of live messages that tell the metric, because somebody judged them.
        recorded: Messages that can be replayed; all of them tell the metric.
        replays_per_s: How fast they are replayed.
        messages_per_s: Live messages.
    """

    live: float
    disagreement: float = 0.05
    spread: float = 0.25
    pair_spread: float = 0.1
    told: float = 1.0
    recorded: int = 0
    replays_per_s: float = 100.0
    messages_per_s: float = 1.0


@dataclass(frozen=True, slots=True)
class _Case:
    rng: np.random.Generator
    runs: int
    plan: Plan
    effect: float
    figures: Figures

    @property
    def width(self) -> float:
        """Greatest difference of two values."""
        return self.plan.primary.high - self.plan.primary.low


@dataclass(frozen=True, slots=True)
class _Course:
    """A stage in many simulations: evidence, and messages (the candidate's, and all) and seconds to each look."""

    log_e: Array
    counted: Numbers
    messages: Numbers
    per_s: float
    length: int


@dataclass(slots=True)
class _Sum:
    """What the stages so far came to, one number for each simulation."""

    banked: Array
    highest: Array
    messages: Array
    seconds: Array


def forecast(plan: Plan, effect: float, figures: Figures, *, level: float, seed: int = 0) -> Forecast:
    """Power, messages and time of a plan if the candidate is better by ``effect`` in the primary metric.

    Args:
        plan: How the candidate would be tried.
        effect: The true improvement, above 0, in the metric's unit.
        figures: What is recorded of the agent.
        level: What the promotion may spend.
        seed: The same seed gives the same forecast.

    Raises:
        ValueError: If the primary metric is a quantile: nothing recorded tells the shape of its distribution.
    """
    if plan.primary.kind == "quantile":
        raise ValueError("no forecast for a quantile: take the share of slow messages, metric 'slow', as primary")
    runs = _simulations(plan, figures)
    case = _Case(np.random.default_rng(seed), runs, plan, effect, figures)
    sofar = _Sum(*(np.zeros(runs) for _ in range(4)))
    won: Numbers = np.zeros(runs, dtype=bool)
    for place, stage in enumerate(plan.stages):
        course = _course(case, stage)
        last = place == len(plan.stages) - 1
        won = _pass(sofar, course, -math.log(level), plan.min_messages if last else 0)
    won = won & (sofar.seconds <= plan.max_s)
    messages, seconds = (np.where(won, one, math.inf) for one in (sofar.messages, sofar.seconds))
    return Forecast(
        effect=effect, power=float(won.mean()), messages_p50=_count(messages, 0.5), messages_p90=_count(messages, 0.9),
        seconds_p50=_quantile(seconds, 0.5), simulations=runs, assumptions=_assumptions(plan, figures),
    )  # fmt: skip


def _pass(sofar: _Sum, course: _Course, bar: float, least: int) -> Numbers:
    """Add a stage; whether each simulation was proven in it."""
    total = sofar.banked[:, None] + course.log_e
    highest = np.maximum(sofar.highest[:, None], np.maximum.accumulate(total, axis=-1))
    over = np.asarray((highest >= bar) & (course.counted >= least))
    proven: Numbers = np.asarray(over.any(axis=-1))
    rows, look = np.arange(len(total)), np.where(proven, over.argmax(axis=-1), -1)
    used = np.where(proven, np.broadcast_to(course.messages, total.shape)[rows, look], course.length)
    sofar.banked, sofar.highest = total[rows, look], highest[rows, look]
    sofar.messages = sofar.messages + used
    sofar.seconds = sofar.seconds + used / course.per_s
    return proven


# -- the stages --------------------------------------------------------------------------------------------------------


def _length(plan: Plan, stage: Mode, figures: Figures) -> int:
    """Messages of the candidate in a stage, at most."""
    most = min(plan.max_messages, _longest(plan))
    return max(1, min(most, figures.recorded)) if stage == "replay" else most


def _longest(plan: Plan) -> int:
    return LONGEST if plan.primary.kind == "proportion" else LONGEST_BETS


def _simulations(plan: Plan, figures: Figures) -> int:
    """As many as take about a second: it depends on the plan alone, so that a forecast can be repeated."""
    cost = 0.0
    for stage in plan.stages:
        paired, proportion = stage != "split", plan.primary.kind == "proportion"
        kind = "bets" if not proportion else "wins" if paired else "table"
        cost += _length(plan, stage, figures) * (1.0 if paired else 2.0) / _WORK[kind]
    return int(min(_MOST, max(_FEWEST, 1.0 / cost)))


def _course(case: _Case, stage: Mode) -> _Course:
    length = _length(case.plan, stage, case.figures)
    if stage == "split":
        return _split(case, length)
    per_s = max(1e-9, case.figures.replays_per_s if stage == "replay" else case.figures.messages_per_s)
    told = 1.0 if stage == "replay" else case.figures.told
    log_e, counted = (_wins if case.plan.primary.kind == "proportion" else _pair_bets)(case, length, told)
    return _Course(log_e, counted, counted, per_s, length)


def _pair_bets(case: _Case, length: int, told: float) -> tuple[Array, Numbers]:
    count = max(1, int(length * told))
    values = case.rng.normal(case.effect, case.figures.pair_spread, (case.runs, count))
    path = bets_path(np.clip(values, -case.width, case.width), -case.width, case.width, 0.0)
    return path, np.arange(1, count + 1) / told


def _wins(case: _Case, length: int, told: float) -> tuple[Array, Numbers]:
    """Pairs: only those that differ move the evidence, so only they are drawn."""
    differ = min(1.0, max(case.figures.disagreement, case.effect))
    better = (1.0 + min(1.0, case.effect / differ)) / 2.0
    rate = differ * told
    events = max(8, int(length * rate + 6.0 * math.sqrt(length * rate)))
    at = np.cumsum(case.rng.geometric(rate, (case.runs, events)), axis=-1)
    valid = at <= length
    won = np.cumsum((case.rng.random((case.runs, events)) < better) & valid, axis=-1)
    path = wins_path(won, np.cumsum(valid, axis=-1) - won)
    return path, np.minimum(at, length)


def _split(case: _Case, length: int) -> _Course:
    """Blocks of a few drawn assignments of messages, each with its share of the simulations; the shortest sets all."""
    worlds = [_world(case.rng, case.plan, case.figures.told, length) for _ in range(_WORLDS)]
    blocks = min(len(world) for world in worlds)
    shapes = np.array([world[:blocks] for world in worlds])[np.arange(case.runs) % _WORLDS]
    live, tried, counted, messages = (shapes[:, :, column] for column in range(4))
    path = (_proportions if case.plan.primary.kind == "proportion" else _means)(case, live, tried)
    return _Course(path, counted, messages, max(1e-9, case.figures.messages_per_s), int(messages[:, -1].max()))


def _proportions(case: _Case, live: Numbers, tried: Numbers) -> Array:
    good = case.figures.live if case.plan.primary.better == "higher" else 1.0 - case.figures.live
    p, q = (min(1.0, max(0.0, share)) for share in (good, good + case.effect))
    return two_by_two_path(case.rng.binomial(live, p), case.rng.binomial(tried, q), live, tried)


def _means(case: _Case, live: Numbers, tried: Numbers) -> Array:
    reach = case.width * (1.0 + 2.0 * LARGEST) if case.plan.covariate else case.width
    spread = case.figures.spread * np.sqrt(1.0 / live + 1.0 / tried)
    values = np.clip(case.rng.normal(case.effect, spread), -case.width, case.width)
    return bets_path(values, -reach, reach, 0.0)


def _world(rng: np.random.Generator, plan: Plan, told: float, length: int) -> list[tuple[int, int, int, int]]:
    """One assignment through the real ``Blocks``: sizes of each block, the candidate's messages and all, up to it."""
    blocks, found = Blocks[None](), list[tuple[int, int, int, int]]()
    counted = messages = 0
    while counted < length and messages < 2 * LONGEST:
        for drawn, tells in rng.random((1_000, 2)).tolist():
            share = plan.ramp[min(counted // plan.step_messages, len(plan.ramp) - 1)]
            messages += 1
            counted += drawn < share
            block = blocks.add(None, tried=drawn < share) if tells < told else None
            if block is not None:
                found.append((len(block[0]), len(block[1]), counted, messages))
    return found or [(1, 1, counted, messages)]


# -- what is said ------------------------------------------------------------------------------------------------------


def _quantile(values: Array, p: float) -> float | None:
    found = float(np.quantile(values, p, method="higher"))
    return found if math.isfinite(found) else None


def _count(values: Array, p: float) -> int | None:
    found = _quantile(values, p)
    return None if found is None else math.ceil(found)


def _assumptions(plan: Plan, figures: Figures) -> str:
    paired = any(stage != "split" for stage in plan.stages)
    if plan.primary.kind == "proportion":
        what = f"live {plan.primary.name} {figures.live:.4g}"
        what += f", releases differ on {figures.disagreement:.2%} of messages" if paired else ""
    else:
        what = f"spread {figures.spread:.4g}, of pairs {figures.pair_spread:.4g}, and no help from a covariate"
    parts = [
        what,
        f"{figures.told:.0%} of live messages judged",
        f"{figures.messages_per_s:.4g} live messages/s",
        f"{figures.recorded} recorded ones at {figures.replays_per_s:.4g}/s",
        "no guardrail broken, nobody asked for approval",
    ]
    if plan.max_messages > _longest(plan):
        parts.append(f"stages simulated for {_longest(plan)} of the candidate's messages")
    return "; ".join(parts)
