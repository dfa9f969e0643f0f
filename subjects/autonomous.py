"""Autonomous mode: evolve, gate, promote or discard, watch for drift, again, within budgets, until told to stop."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Event, Reply, Request
from ._operation import EventType, Http, Operation, Port
from ._types import Count, Share, Token
from .agent import Text
from .evolution import StartEvolution
from .task import MaybeToken, Seconds

Phase = Literal["evolve", "validate", "gate", "watch", "rest", "off"]
"""``rest`` waits after a champion was discarded or none was found; ``off`` is final until it is switched on again."""


class AutonomousBudget(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What autonomous mode may use before it switches itself off.

    Attributes:
        cycles: Evolutions.
        cpu_s: Guests' CPU time of genomes on trial beside live traffic.
        live_share: Most of live traffic that a candidate may get.
        harmed: Live messages that candidates answered worse, or failed.
        promotions: Changes of the live release.
        seconds: Duration.
    """

    cycles: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    cpu_s: Annotated[float, Meta(gt=0, le=1e9)] = 36_000.0
    live_share: Share = 0.5
    harmed: Annotated[int, Meta(ge=0, le=1_000_000)] = 200
    promotions: Annotated[int, Meta(ge=1, le=10_000)] = 100
    seconds: Seconds = 31_536_000.0


class AutonomousStep(Reply, frozen=True, kw_only=True):
    """One step of the loop, and why it was taken. ``figures`` are those it was decided on."""

    number: Count
    at: float
    phase: Phase
    cycle: Count
    reason: str
    figures: dict[str, float | int | str]


class AutonomousView(Reply, frozen=True, kw_only=True):
    """Autonomous mode of one agent: where it is, what it used, and its last steps, newest first.

    ``drift`` says what drifted when the loop last evolved for that; empty = nothing yet.
    """

    agent: str
    on: bool
    phase: Phase
    cycle: Count
    since: float | None
    budget: AutonomousBudget
    used_cpu_s: float
    used_harmed: Count
    promotions: Count
    evolution: str
    experiment: str
    drift: str
    steps: list[AutonomousStep]
    reason: str


class Autonomy(Reply, frozen=True, kw_only=True):
    """Autonomous mode of every agent that ever had it."""

    agents: list[AutonomousView]


class GetAutonomy(Request[Autonomy], frozen=True, kw_only=True):
    """Where autonomous mode stands."""

    agent: MaybeToken = ""
    steps: Annotated[int, Meta(ge=0, le=1000)] = 50


class SetAutonomous(Request[AutonomousView], frozen=True, kw_only=True):
    """Switch autonomous mode of an agent on or off. On again changes its settings.

    Attributes:
        on: The switch. Off stops the evolution and the experiment it began; the live release stays.
        evolution: How it evolves; ``agent``, ``id`` and ``seed`` are filled in for each cycle.
        watch_s: Longest time between two evolutions without drift; 0 = only drift starts another.
        watch_least_s: Least time the loop watches after a promotion before it evolves again.
        rest_s: Pause after a cycle without a promotion; it doubles each time up to an hour.
        heed_drift: Evolve as soon as inputs or judged figures drift.
    """

    agent: Token = "sentiment"
    on: bool = True
    evolution: StartEvolution = StartEvolution(generations=20, population_size=20)
    budget: AutonomousBudget = AutonomousBudget()
    watch_s: Seconds = 3_600.0
    watch_least_s: Seconds = 60.0
    rest_s: Seconds = 60.0
    heed_drift: bool = True
    by: Token = "operator"
    note: Text = ""


class AutonomousStepped(Event, frozen=True, kw_only=True):
    """Autonomous mode took a step."""

    agent: str
    step: AutonomousStep


AUTONOMY = Operation(
    "evolver", "autonomy", GetAutonomy, Autonomy, Port.EVOLUTION, "Where autonomous mode stands",
    http=(Http("GET", "/api/evolution/autonomous"),), safe=True,
)  # fmt: skip
AUTONOMOUS = Operation(
    "evolver", "autonomous", SetAutonomous, AutonomousView, Port.EVOLUTION, "Switch autonomous mode on or off",
    http=(Http("POST", "/api/evolution/autonomous"),), timeout_s=30.0, errors=("no-agent", "bad-genome"),
    example={"agent": "sentiment", "on": True},
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (AUTONOMY, AUTONOMOUS)
EVENTS: tuple[EventType, ...] = (
    EventType(AutonomousStepped, "chimera.event.evolver.stepped", "autonomous mode took a step"),
)  # fmt: skip
