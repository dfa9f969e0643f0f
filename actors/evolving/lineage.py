"""Where a genome comes from: its ancestors as a bounded tree, and whether all lineages are possible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Birth(Protocol):
    """What lineage needs to know of a genome; ``GenomeRecord`` is one."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def parents(self) -> Sequence[str]:
        """Their ids."""
        ...

    @property
    def operator(self) -> str:
        """What it came about by."""
        ...

    @property
    def generation(self) -> int:
        """Counted from 0."""
        ...


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A genome in a tree.

    Attributes:
        id: Its id.
        parents: Those of its parents that are in the tree, too.
        operator: What it came about by.
        generation: Counted from 0.
        depth: Fewest steps from the genome asked about, which has 0.
    """

    id: str
    parents: tuple[str, ...]
    operator: str
    generation: int
    depth: int


@dataclass(frozen=True, slots=True)
class Tree:
    """Ancestors, nearest first.

    Attributes:
        ancestors: The genome asked about is the first.
        cut: Whether there are more, beyond the depth or the number that was asked for.
        unknown: Parents that nobody knows.
    """

    ancestors: tuple[Ancestor, ...]
    cut: bool
    unknown: tuple[str, ...]

    @property
    def edges(self) -> list[tuple[str, str]]:
        """(Parent, child) pairs, for a picture."""
        return [(parent, one.id) for one in self.ancestors for parent in one.parents]


def ancestors(id_: str, births: Mapping[str, Birth], *, depth: int = 20, most: int = 1000) -> Tree:
    """The tree of a genome, breadth first, each ancestor once; safe on cycles.

    Args:
        id_: The genome asked about.
        births: Every known genome by id.
        depth: Most steps back.
        most: Most genomes in the tree.

    Raises:
        KeyError: If the genome is not known.
    """
    depths, unknown, cut = {births[id_].id: 0}, dict[str, None](), False
    queue = [id_]
    for child in queue:
        for parent in dict.fromkeys(births[child].parents):
            if parent not in births:
                unknown[parent] = None
            elif parent in depths:
                continue
            elif depths[child] >= depth or len(depths) >= most:
                cut = True
            else:
                depths[parent] = depths[child] + 1
                queue.append(parent)
    return Tree(tuple(_ancestor(births[one], depths) for one in queue), cut, tuple(unknown))


def _ancestor(birth: Birth, depths: Mapping[str, int]) -> Ancestor:
    shown = tuple(parent for parent in dict.fromkeys(birth.parents) if parent in depths)
    return Ancestor(birth.id, shown, birth.operator, birth.generation, depths[birth.id])


def faults(births: Iterable[Birth]) -> dict[str, list[str]]:
    """What is impossible, by id: unknown parents, parents of a later generation, circles.

    Args:
        births: Every known genome.
    """
    known = {birth.id: birth for birth in births}
    found: dict[str, list[str]] = {}
    for birth in known.values():
        if wrong := [*_parents(birth, known)]:
            found[birth.id] = wrong
    for id_ in circular(known):
        found.setdefault(id_, []).append("it is on a circle of parents, or descends from one")
    return found


def circular(births: Mapping[str, Birth]) -> list[str]:
    """Genomes that are on a cycle or descend from one: they can't have come about.

    Whatever is left when genomes without parents are taken away, again and again (Kahn 1962).
    """
    waiting = {id_: sum(parent in births for parent in set(birth.parents)) for id_, birth in births.items()}
    children: dict[str, list[str]] = {id_: [] for id_ in births}
    for id_, birth in births.items():
        for parent in set(birth.parents):
            if parent in births:
                children[parent].append(id_)
    ready = [id_ for id_, count in waiting.items() if not count]
    for id_ in ready:
        for child in children[id_]:
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    possible = set(ready)
    return [id_ for id_ in births if id_ not in possible]


def _parents(birth: Birth, known: Mapping[str, Birth]) -> Iterable[str]:
    for parent in dict.fromkeys(birth.parents):
        if parent not in known:
            yield f"its parent '{parent[:64]}' is not known"
        elif known[parent].generation > birth.generation:
            yield f"its parent '{parent[:64]}' is of generation {known[parent].generation}, after its own"
