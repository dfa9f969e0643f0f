"""What was measured of one genome. Pure."""

from __future__ import annotations

from typing import NamedTuple

from subjects.evolution import Objective


class Score(NamedTuple):
    """A genome's figures.

    Attributes:
        fitness: First objective, higher is better; ``None`` if it failed.
        half_width: How much of it may be chance.
        values: Every objective in its own unit.
        losses: What an engine is given: objectives to be minimised, then constraints, then descriptors.
        tasks: Tasks it was run on, cached ones included.
        cpu_s: Guests' CPU time that took.
        failure: Why it failed.
        cached: Whether nothing had to be run.
        lost: Whether it was stopped early, because it could not survive.
    """

    fitness: float | None
    half_width: float | None
    values: tuple[float, ...]
    losses: tuple[float, ...]
    tasks: int
    cpu_s: float
    failure: str = ""
    cached: bool = False
    lost: bool = False


def rises(objective: Objective) -> bool:
    """Whether more of an objective is better."""
    return objective.statistic == "correlation" or objective.metric.better == "higher"
