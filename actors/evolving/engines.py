"""Which engines there are, what each can do, and which one suits a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .box import Array, Box
from .cmaes import Cmaes
from .engine import Engine, Setup
from .generational import GACO_MOST, Gaco
from .map_elites import Axis, MapElites
from .nsga2 import Nsga2
from .steady import Steady

Name: TypeAlias = Literal["cmaes", "steady", "gaco", "nsga2", "map-elites"]


@dataclass(frozen=True, slots=True)
class Ability:
    """What an engine can do.

    Attributes:
        integers: Whole numbers and choices.
        objectives: Most losses.
        constraints: Limits that a genome may break.
        mutates: Whether the mutation rate means something.
        migrates: Whether migrants make a difference.
        open: Whether genomes may be measured and told in any order, without waiting for a generation.
        exact: Whether a rebuilt engine goes on exactly; who does not is not offered.
        text: For people.
    """

    integers: bool
    objectives: int
    constraints: bool
    mutates: bool
    migrates: bool
    open: bool
    exact: bool
    text: str


ALGORITHMS: dict[Name, Ability] = {
    "cmaes": Ability(
        integers=False, objectives=1, constraints=False, mutates=False, migrates=False, open=False, exact=True,
        text="learns how real genes depend on each other; 13 to 90 generations",
    ),
    "steady": Ability(
        integers=True, objectives=1, constraints=True, mutates=True, migrates=True, open=True, exact=True,
        text="a genetic algorithm without generations, for mixed genes; nobody waits for the slowest genome",
    ),
    "gaco": Ability(
        integers=True, objectives=1, constraints=True, mutates=False, migrates=True, open=False, exact=True,
        text="ant colonies, for mixed genes with limits",
    ),
    "nsga2": Ability(
        integers=True, objectives=4, constraints=True, mutates=True, migrates=True, open=False, exact=True,
        text="several objectives at once: gives a front to choose from",
    ),
    "map-elites": Ability(
        integers=True, objectives=1, constraints=True, mutates=True, migrates=True, open=False, exact=True,
        text="the best genome for each kind of behaviour",
    ),
}  # fmt: skip
"""All that is offered. A rebuilt archipelago, de1220, maco or nspso of pygmo goes another way, so they are not here."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine and why it."""

    name: Name
    why: str


def choose(box: Box, objectives: int = 1, constraints: int = 0, *, size: int = 100, axes: int = 0) -> Choice:
    """The engine that suits a search.

    Args:
        box: What is searched; ``codec.box``.
        objectives: Losses of a genome.
        constraints: Limits.
        size: Population.
        axes: Descriptors that were asked for by name.
    """
    if objectives > 1:
        return Choice("nsga2", f"{objectives} objectives: a front of genomes that no other one beats in all of them")
    if axes:
        return Choice("map-elites", f"{axes} descriptors are given: the best genome for each kind of behaviour")
    if constraints:
        return _limited(box, size)
    if box.integers:
        kinds = f"{box.integers} of {box.width} genes are whole numbers or choices"
        return Choice("steady", f"{kinds}: a genetic algorithm keeps them whole, cmaes does not")
    if box.width == 1:
        return Choice("steady", "a single gene: there is nothing to learn about how genes depend on each other")
    return Choice("cmaes", f"all {box.width} genes are real numbers: it learns how they depend on each other")


def check(name: Name, box: Box, objectives: int = 1, constraints: int = 0, *, size: int = 100, axes: int = 0) -> str:
    """Why an engine can't do a search, with what can; empty if it can."""
    can = ALGORITHMS[name]
    other = choose(box, objectives, constraints, size=size, axes=0 if name == "map-elites" else axes).name
    if box.integers and not can.integers:
        return f"{name} knows no whole numbers or choices, and {box.integers} are searched: use '{other}'"
    if objectives > can.objectives:
        return f"{name} knows {can.objectives} objectives, not {objectives}: use '{other}'"
    if constraints and not can.constraints:
        return f"{name} knows no limits: use '{other}'"
    if name == "gaco" and size * box.width > GACO_MOST:
        return f"gaco takes at most {GACO_MOST // box.width} genomes of {box.width} genes: use 'steady', or islands"
    if name == "map-elites" and not axes:
        return "map-elites needs descriptors: name them, or those of the manifest are taken"
    return ""


def make(name: Name, box: Box, setup: Setup, given: Array | None = None, axes: Sequence[Axis] = ()) -> Engine | Steady:
    """An engine.

    Raises:
        ValueError: If it can't do that; ``check`` says so beforehand.
    """
    fault = check(name, box, setup.objectives, setup.constraints, size=setup.size, axes=len(axes))
    if fault:
        raise ValueError(fault)
    if name == "map-elites":
        return MapElites(box, setup, given, axes=axes)
    kinds = {"cmaes": Cmaes, "gaco": Gaco, "nsga2": Nsga2, "steady": Steady}
    return kinds[name](box, setup, given)


def _limited(box: Box, size: int) -> Choice:
    if size * box.width > GACO_MOST:
        return Choice("steady", f"limits, and {size} genomes of {box.width} genes are too many for gaco at once")
    return Choice("gaco", "limits: ants keep to where they are kept")
