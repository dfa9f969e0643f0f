"""What is done to whom, in which order and after how much progress: all from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Act = Literal["kill", "pause"]
Victim = Literal["server", "scheduler", "agent", "worker", "node", "postgres", "leader"]

KILLED: tuple[Victim, ...] = ("server", "scheduler", "agent", "worker", "node", "postgres")
PAUSED: tuple[Victim, ...] = ("leader", "agent", "scheduler", "server", "node", "postgres")

FIRST: tuple[Victim, ...] = ("leader", "agent")

TAKE_OVER_S = 5.0
"""Longer than others wait before they take over from a silent leader, and than an attempt may take."""

SHORT_S = 1.0
LEAST_PROGRESS, MOST_PROGRESS = 20, 60


@dataclass(frozen=True, slots=True)
class Fault:
    """One blow.

    Attributes:
        number: Counted from 1.
        after: Tasks that end first, counted from when the last victim was back.
        hold_s: How long a killed process stays away, or a paused one stands still.
        luck: From 0 to 1: which of several it is (a worker of which pool).
    """

    number: int
    act: Act
    victim: Victim
    after: int
    hold_s: float
    luck: float


def make_plan(seed: int, *, kills: int, pauses: int) -> list[Fault]:
    """The faults of a seed. Victims come in shuffled rounds, so none is left out; pauses are spread between kills.

    The first pause is the leader's, long enough for another to take over: from then on the scheduler leads that is
    a process of its own, and tasks are shared between two agents. One of them is paused next, amid its tasks: these are
    the zombies.
    """
    rng = random.Random(seed)  # noqa: S311 - a plan, no secret
    deaths = _rounds(KILLED, kills, rng)
    stops = list(FIRST[:pauses])
    stops += _rounds(PAUSED, pauses - len(stops), rng)
    first = min(pauses, len(FIRST))
    places = {*range(first), *rng.sample(range(first, kills + pauses), pauses - first)}
    plan: list[Fault] = []
    for at in range(kills + pauses):
        victim = (stops if at in places else deaths).pop(0)
        plan.append(_fault(at + 1, "pause" if at in places else "kill", victim, rng))
    return plan


def _rounds(names: tuple[Victim, ...], count: int, rng: random.Random) -> list[Victim]:
    chosen: list[Victim] = []
    while len(chosen) < count:
        chosen += rng.sample(names, len(names))
    return chosen[:count]


def _fault(number: int, act: str, victim: Victim, rng: random.Random) -> Fault:
    if act == "pause":
        hold_s = SHORT_S if victim in {"server", "postgres"} else TAKE_OVER_S
        return Fault(number, "pause", victim, rng.randint(LEAST_PROGRESS, MOST_PROGRESS), hold_s, rng.random())
    hold_s = rng.choice((0.0, 0.0, TAKE_OVER_S)) if victim in {"scheduler", "agent"} else 0.0
    return Fault(number, "kill", victim, rng.randint(LEAST_PROGRESS, MOST_PROGRESS), hold_s, rng.random())
