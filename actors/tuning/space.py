"""Search spaces: what of an agent may be tuned, and its way to a genome and execution settings and back, exactly."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from actors.execution.genome import complete_genome, default_of
from actors.execution.manifest import check_parameters
from chimera.errors import BadGenomeError
from subjects.agent import Genes, Parameter

from .dimensions import Dimension, Scale, dimensions_of
from .events import Point, Value

Room = Literal["genome", "settings"]
"""Where a value goes: to the guest, or to how it is run."""

ROOMS: tuple[Room, ...] = ("genome", "settings")
MAX_DIMENSIONS = 256
"""Most dimensions of one search; name the ones to tune where an agent has more."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a point means: the whole genome, and the whole of the execution settings that are in the search."""

    genome: Genes
    settings: Genes


@dataclass(frozen=True, slots=True)
class Member:
    """A parameter in its room, with its dimensions (none: it is not searched and keeps its base value).

    It counts while each of its parents has the value beside it.
    """

    room: Room
    parameter: Parameter
    base: Any
    dimensions: tuple[Dimension, ...] = ()
    parents: tuple[tuple[Member, Value], ...] = ()

    @property
    def name(self) -> str:
        """With its room; the key of its dimension, unless it is a vector."""
        return f"{self.room}.{self.parameter.name}"

    @property
    def default(self) -> Any:
        """Its value while it does not count."""
        return default_of(self.parameter)

    def gather(self, values: Sequence[Value]) -> Any:
        """Its value from its dimensions' values."""
        return list(values) if self.parameter.size > 1 else values[0]

    def scatter(self, value: Any) -> Sequence[Value]:
        """Its dimensions' values from its value."""
        return cast("Sequence[Value]", value) if self.parameter.size > 1 else (value,)


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched, in the manifest's order, and what stays as it is. Make it with ``Space.of``."""

    members: tuple[Member, ...]
    dimensions: tuple[Dimension, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dimensions", tuple(item for member in self.members for item in member.dimensions))

    @classmethod
    def of(
        cls,
        genome: Sequence[Parameter],
        settings: Sequence[Parameter] = (),
        *,
        base: Mapping[str, Any] | None = None,
        base_settings: Mapping[str, Any] | None = None,
        tune: Collection[str] = (),
        scales: Mapping[str, Scale] | None = None,
        most: int = MAX_DIMENSIONS,
    ) -> Space:
        """The space of an agent's parameters and of execution settings declared in the same words.

        Numbers without both bounds, and whatever has one value only, keep their base value.

        Args:
            genome: The manifest's genome.
            settings: Execution settings, see ``execution_parameters``.
            base: The genome that is live; defaults where it says nothing.
            base_settings: The settings in force; defaults where it says nothing.
            tune: Names to search, ``capitals_increment`` or ``settings.batch_size``; empty for all that can be.
            scales: Names whose scale is not what ``LOG_FROM`` makes of their bounds.
            most: Most dimensions.

        Raises:
            BadGenomeError: If a declaration or base is unsound, a name is unknown or can't be searched, or nothing
                or too much is left to search.
        """
        bare = [*_members("genome", genome, base or {}), *_members("settings", settings, base_settings or {})]
        chosen = _named(bare, tune)
        said = scales or {}
        wishes: dict[str, Scale] = {name: said[given] for name, given in _named(bare, said).items()}
        space = cls(_related([_searched(member, chosen, wishes.get(member.name)) for member in bare]))
        if not 1 <= (count := len(space.dimensions)) <= most:
            raise BadGenomeError(
                f"{count} dimensions can't be searched, 1 to {most} can",
                hint="name the parameters to tune, and give them finite bounds in the manifest",
            )
        return space

    @property
    def conditional(self) -> bool:
        """True if some dimension counts only sometimes."""
        return any(member.dimensions and member.parents for member in self.members)

    def start(self) -> Point:
        """The point of the base: what is live and known to be good."""
        return self._point({member.name: member.base for member in self.members})

    def encode(self, genome: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> Point:
        """The point of a genome and settings; what is not given has its base value.

        Raises:
            BadGenomeError: If they don't fit, or differ from the base in something that is not searched.
        """
        values: dict[str, Any] = {}
        for room, given in (("genome", genome), ("settings", settings or {})):
            members = [member for member in self.members if member.room == room]
            parameters = [member.parameter for member in members]
            whole = complete_genome(parameters, given, {member.parameter.name: member.base for member in members})
            for member in members:
                values[member.name] = whole[member.parameter.name]
                if not member.dimensions and self._counts(member, values) and values[member.name] != member.base:
                    raise BadGenomeError(f"{member.name} is not searched here: it stays {member.base}")
        return self._point(values)

    def decode(self, point: Mapping[str, Any]) -> Proposal:
        """The genome and settings of a point.

        Raises:
            BadGenomeError: If the point lacks a dimension that counts, has one that does not, or a value is wrong.
        """
        values = self._values(lambda dimension: dimension.check(_needed(point, dimension)))
        extra = set(point) - set(self._point(values))
        if extra:
            raise BadGenomeError(f"{min(extra)} does not count here", hint="leave it out, or set what it depends on")
        rooms: dict[str, Genes] = {room: {} for room in ROOMS}
        for member in self.members:
            rooms[member.room][member.parameter.name] = values[member.name]
        return Proposal(rooms["genome"], rooms["settings"])

    def walk(self, choose: Callable[[Dimension], Value]) -> Point:
        """A point by choosing, in order, a value for each dimension that counts given the choices before it."""
        return self._point(self._values(lambda dimension: dimension.check(choose(dimension))))

    def check(self, point: Mapping[str, Any]) -> Point:
        """The point with every value in its own type and order.

        Raises:
            BadGenomeError: As ``decode``.
        """
        found = self.decode(point)
        return self.encode(found.genome, found.settings)

    def _values(self, choose: Callable[[Dimension], Value]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for member in self.members:
            if not self._counts(member, values):
                values[member.name] = member.default
            elif member.dimensions:
                values[member.name] = member.gather([choose(dimension) for dimension in member.dimensions])
            else:
                values[member.name] = member.base
        return values

    def _point(self, values: Mapping[str, Any]) -> Point:
        return {
            dimension.key: value
            for member in self.members
            if member.dimensions and self._counts(member, values)
            for dimension, value in zip(member.dimensions, member.scatter(values[member.name]), strict=True)
        }

    @staticmethod
    def _counts(member: Member, values: Mapping[str, Any]) -> bool:
        return all(values[parent.name] == wanted for parent, wanted in member.parents)


def _members(room: Room, parameters: Sequence[Parameter], base: Mapping[str, Any]) -> Iterator[Member]:
    check_parameters(parameters)
    whole = complete_genome(parameters, base)
    for parameter in parameters:
        yield Member(room, parameter, whole[parameter.name])


def _named(members: Sequence[Member], names: Collection[str]) -> dict[str, str]:
    """Full name to the name as given, for each of ``names``; a bare name may belong to either room."""
    known = {name: member.name for member in reversed(members) for name in (member.parameter.name, member.name)}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "see the parameters in the agent's manifest"
            raise BadGenomeError(f"there is no parameter '{name}' to tune", hint=hint)
    return {known[name]: name for name in names}


def _searched(member: Member, chosen: Mapping[str, str], scale: Scale | None) -> Member:
    if chosen and member.name not in chosen:
        return member
    dimensions = dimensions_of(member.name, member.parameter, scale)
    if member.name in chosen and not dimensions:
        raise BadGenomeError(f"{member.name} can't be tuned: it needs two finite bounds that differ, or two choices")
    return replace(member, dimensions=dimensions)


def _related(members: Sequence[Member]) -> tuple[Member, ...]:
    found: dict[str, Member] = {}
    for member in members:
        when = member.parameter.when.items()
        parents = tuple((found[f"{member.room}.{name}"], wanted) for name, wanted in when)
        found[member.name] = replace(member, parents=parents)
    return tuple(found.values())


def _needed(point: Mapping[str, Any], dimension: Dimension) -> Any:
    if dimension.key not in point:
        raise BadGenomeError(f"the point lacks {dimension.key}")
    return point[dimension.key]
