"""What a seed decides before anything runs: who takes part, what is ordered, and which faults come when."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from subjects.task import NewTask, Priority, Retries
from tests.simulation.customer import Order
from tests.simulation.network import Weather

STORM_S = 20.0
"""Faults end here."""

Kind = Literal["crash", "pause", "cut", "outage", "jump", "skew"]
_KINDS: list[Kind] = ["crash", "crash", "crash", "pause", "cut", "outage", "jump", "jump", "skew"]
_LEVELS: list[Priority] = ["critical", "high", "normal", "low", "background"]
_KEEP_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        at: Seconds from the start.
        target: A node's name.
        steps: A crash comes after so many more steps of its process.
        seconds: How long it lasts, or by how much the clock goes wrong.
    """

    at: float
    kind: Kind
    target: str
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is drawn in advance. ``compact_at`` is the number of messages that the log may grow to."""

    schedulers: list[str]
    workers: list[str]
    customers: dict[str, list[Order]]
    faults: list[Fault]
    weather: Weather
    compact_at: int


def make_plan(seed: int, wall: float) -> Plan:
    """The plan of a seed; ``wall`` is the Unix time at its start."""
    rng = random.Random(seed)  # noqa: S311 - a simulation's dice
    schedulers = [f"s{number}" for number in range(1, rng.choice([2, 3, 3, 4]))]
    workers = [f"w{number}" for number in range(1, rng.choice([2, 3]))]
    orders = [_order(rng, number, wall) for number in range(rng.randint(4, 10))]
    names = [f"c{number}" for number in range(1, rng.choice([2, 3]))]
    customers = {name: orders[at :: len(names)] for at, name in enumerate(names)}
    faults = [_fault(rng, schedulers, workers) for _ in range(rng.randint(1, 7))]
    weather = Weather(*(rng.choice([0.0, 0.02, 0.1]) for _ in range(5)))
    return Plan(
        schedulers, workers, customers, sorted(faults, key=lambda fault: fault.at), weather, rng.choice([8, 25, 1000])
    )


def _order(rng: random.Random, number: int, wall: float) -> Order:
    at = rng.uniform(1.0, STORM_S * 0.8)
    deadline = wall + at + rng.uniform(5.0, 40.0) if rng.random() < 0.15 else 0.0
    not_before = wall + at + rng.uniform(0.0, 10.0) if rng.random() < 0.2 else 0.0
    retries = Retries(
        attempts=rng.randint(1, 4), first_s=rng.choice([0.0, 0.5]), factor=2.0, most_s=3.0, jitter=rng.random()
    )
    key = rng.choice(["k1", "k2"]) if rng.random() < 0.35 else ""
    task = NewTask(
        id=f"t{number}", input={"n": number}, priority=rng.choice(_LEVELS), deadline=deadline, not_before=not_before,
        limit_s=rng.uniform(2.0, 12.0), retries=retries, key=key, keep_s=_KEEP_S,
    )  # fmt: skip
    cancel = rng.uniform(0.0, 5.0) if rng.random() < 0.15 else -1.0
    return Order(task, at, rng.random() < 0.3, cancel, rng.random() < 0.7)


def _fault(rng: random.Random, schedulers: list[str], workers: list[str]) -> Fault:
    kind = rng.choice(_KINDS)
    target = rng.choice(schedulers * 3 + workers)
    seconds = rng.uniform(0.1, 8.0)
    if kind == "jump":
        seconds = rng.choice([-1.0, 1.0]) * rng.choice([1.0, 60.0, 7_200.0, 7_200.0]) * rng.random()
    elif kind == "skew":
        seconds = rng.uniform(-2.0, 2.0)
    return Fault(rng.uniform(0.0, STORM_S), kind, target, int(rng.expovariate(1 / 60)), seconds)
