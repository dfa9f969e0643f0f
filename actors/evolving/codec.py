"""The codec: an agent's genes as a vector of floats within a box, and back.

    codec = Codec.of(manifest.genome, live_genome, tune=["negation_scalar"], settings=execution_parameters({...}))
    codec.box                     # what engines search: continuous coordinates first, whole ones last
    codec.encode(genes)           # (n,), what is not given has the live value
    codec.decode(vector)          # Decoded(genes, settings), only what counts; genes that are not searched are carried
    codec.names, codec.units, codec.kinds, codec.lower, codec.upper, codec.nix

A real gene is its value, or the value's logarithm where its scale is one; so is a whole number with a log scale and
very many values. Other whole numbers, booleans and the indices of categories are whole coordinates. Vectors that mean
the same genome are made equal by ``clip``: what does not count under the other genes is at its default, and values on
a log scale keep 13 digits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from actors.tuning.dimensions import Dimension, Scale
from actors.tuning.events import Value
from actors.tuning.space import Member, Space
from subjects.agent import Genes, Parameter

from .box import Array, Box

MOST_GENES = 4096
"""Most genes of one search."""

FINE = 1024
"""A whole number on a log scale with at least so many values is searched like a real one and rounded."""

DIGITS = 12
"""Decimals of a value's mantissa that a log scale keeps."""

MOST_TENS = 300.0
"""Power of ten beyond which there are no floats to count digits with."""

SAME = 1e-12
"""Relative distance within which a value on a log scale is taken for the live one."""

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a vector means.

    Attributes:
        genes: Every gene that counts, the ones that are not searched included.
        settings: Every execution setting that is in the search.
        searched: The searched ones among the genes.
    """

    genes: Genes
    settings: Genes
    searched: Genes


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A place in the vector and the dimension that it stands for; ``live`` is its value in the live genome."""

    dimension: Dimension
    live: Value

    @property
    def name(self) -> str:
        """As people name it: ``domain.3``, ``settings.cpu_ms``."""
        return self.dimension.key.removeprefix("genome.")

    @property
    def log(self) -> bool:
        """Whether it is the logarithm of the value."""
        dimension = self.dimension
        return dimension.log and (dimension.kind == "real" or dimension.levels >= FINE)

    @property
    def whole(self) -> bool:
        """Whether it is a whole number."""
        return self.dimension.kind != "real" and not self.log

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest."""
        if self.dimension.kind == "choice":
            return 0.0, float(len(self.dimension.choices) - 1)
        low, high = self.dimension.low, self.dimension.high
        return (float(np.log(low)), float(np.log(high))) if self.log else (low, high)

    def put(self, value: Value) -> float:
        """A value as a coordinate."""
        if self.dimension.kind == "choice":
            return float(self.dimension.choices.index(value))  # pyright: ignore[reportArgumentType] - a choice is one of them
        return float(self.clean(np.log(np.array([float(value)])))[0]) if self.log else float(value)

    def read(self, number: float) -> Value:
        """The value of a number that ``numbers`` gave."""
        if self.dimension.kind == "choice":
            return self.dimension.choices[int(number)]
        return int(number) if self.dimension.kind == "integer" else number

    def numbers(self, places: Array) -> Array:
        """Values of settled coordinates, of choices their indices; on a log scale in as many digits as are kept."""
        if not self.log:
            return places
        raw = np.exp(places)
        if self.dimension.kind == "integer":
            return np.clip(np.floor(raw + 0.5), self.dimension.low, self.dimension.high)
        tens = 10.0 ** np.minimum(DIGITS - np.floor(np.log10(raw)), MOST_TENS)
        found = np.clip(np.round(raw * tens) / tens, self.dimension.low, self.dimension.high)
        return np.where(np.abs(found - float(self.live)) <= SAME * found, float(self.live), found)

    def clean(self, places: Array) -> Array:
        """Coordinates on a log scale, each the logarithm of a value that it has."""
        return np.clip(np.log(self.numbers(places)), *self.bounds)


class Codec:
    """See the module; make it with ``Codec.of``.

    Args:
        space: What is searched and what stays.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        found = [
            Coordinate(dimension, live)
            for member in space.members if member.dimensions
            for dimension, live in zip(member.dimensions, member.scatter(member.base), strict=True)
        ]  # fmt: skip
        self.coordinates = sorted(found, key=lambda coordinate: coordinate.whole)
        self._at = {coordinate.dimension.key: place for place, coordinate in enumerate(self.coordinates)}
        self.nix = sum(coordinate.whole for coordinate in self.coordinates)
        bounds = np.array([coordinate.bounds for coordinate in self.coordinates], dtype=np.float64)
        self.box = Box(bounds[:, 0], bounds[:, 1], self.nix, self._settle)
        self._logs = [place for place, coordinate in enumerate(self.coordinates) if coordinate.log]
        self._places = {
            member.name: (member, places, all(self.coordinates[place].dimension.kind == "real" for place in places))
            for member in space.members
            if (places := [self._at[dimension.key] for dimension in member.dimensions])
        }
        self._dependent = [member for member in space.members if member.parents]

    @classmethod
    def of(
        cls,
        genome: Sequence[Parameter],
        live: Mapping[str, Any] | None = None,
        *,
        tune: Collection[str] = (),
        settings: Sequence[Parameter] = (),
        scales: Mapping[str, Scale] | None = None,
    ) -> Codec:
        """The codec of an agent.

        Args:
            genome: The manifest's genome.
            live: The live genome: what is not searched keeps its value.
            tune: Genes to search, and ``settings.<name>``; empty for all that can be.
            settings: Execution settings with bounds, the present ones as defaults: see ``execution_parameters``.
            scales: Genes whose scale is not what their bounds make of it.

        Raises:
            BadGenomeError: If a name is unknown or can't be searched, or nothing or too much is left to search.
        """
        return cls(Space.of(genome, settings, base=live, tune=tune, scales=scales, most=MOST_GENES))

    @property
    def lower(self) -> Array:
        """Least value of each coordinate."""
        return self.box.lower

    @property
    def upper(self) -> Array:
        """Greatest value of each coordinate."""
        return self.box.upper

    @property
    def names(self) -> tuple[str, ...]:
        """Of the coordinates."""
        return tuple(coordinate.name for coordinate in self.coordinates)

    @property
    def units(self) -> tuple[str, ...]:
        """Of the coordinates."""
        return tuple(coordinate.dimension.unit for coordinate in self.coordinates)

    @property
    def kinds(self) -> tuple[Literal["real", "integer", "choice"], ...]:
        """What each coordinate's gene is."""
        return tuple(coordinate.dimension.kind for coordinate in self.coordinates)

    def live(self) -> Array:
        """The vector of the live genome."""
        return self.encode({})

    def encode(self, genes: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> Array:
        """The vector of a genome; what is not given has its live value.

        Raises:
            BadGenomeError: If it does not fit, or differs from the live one in a gene that is not searched.
        """
        point = self.space.encode(genes, settings)
        values = [point.get(one.dimension.key, one.dimension.default) for one in self.coordinates]
        row = np.array([one.put(value) for one, value in zip(self.coordinates, values, strict=True)])
        return self.box.snap(row[None])[0]

    def encode_all(self, genomes: Iterable[Mapping[str, Any]]) -> Array:
        """Vectors of genomes, (m, n)."""
        rows = [self.encode(genes) for genes in genomes]
        return np.array(rows) if rows else np.empty((0, self.box.width))

    def clip(self, rows: Array) -> Array:
        """Rows within bounds, whole where they must be, one form for each genome."""
        return self.box.snap(rows)

    def decode(self, vector: Array) -> Decoded:
        """What a vector means: only genes that count under the others."""
        return self.decode_all(vector[None])[0]

    def decode_all(self, vectors: Array) -> list[Decoded]:
        """What each of several vectors means."""
        rows = self.box.snap(vectors)
        for place in self._logs:
            rows[:, place] = self.coordinates[place].numbers(rows[:, place])
        return [self._decoded(row) for row in rows.tolist()]

    def _decoded(self, row: list[float]) -> Decoded:
        rooms: dict[str, Genes] = {"genome": {}, "settings": {}}
        searched: Genes = {}
        values: dict[str, Any] = {}
        for member in self.space.members:
            if any(values.get(parent.name, parent.default) != wanted for parent, wanted in member.parents):
                continue
            value = self._value(member.name, row) if member.dimensions else member.base
            values[member.name] = rooms[member.room][member.parameter.name] = value
            if member.dimensions and member.room == "genome":
                searched[member.parameter.name] = value
        return Decoded(rooms["genome"], rooms["settings"], searched)

    def _value(self, name: str, row: list[float]) -> Any:
        member, places, plain = self._places[name]
        return member.gather([row[place] if plain else self.coordinates[place].read(row[place]) for place in places])

    def _settle(self, rows: Array) -> Array:
        for place in self._logs:
            rows[:, place] = self.coordinates[place].clean(rows[:, place])
        counts: dict[str, Mask] = {}
        for member in self._dependent:
            held = np.ones(len(rows), dtype=np.bool_)
            for parent, wanted in member.parents:
                held &= self._held(rows, parent, wanted, counts)
            counts[member.name] = held
            for dimension in member.dimensions:
                place = self._at[dimension.key]
                rows[~held, place] = self.coordinates[place].put(dimension.default)
        return rows

    def _held(self, rows: Array, parent: Member, wanted: Value, counts: Mapping[str, Mask]) -> Mask:
        if not parent.dimensions:
            counted = counts.get(parent.name, np.ones(len(rows), dtype=np.bool_))
            on, off = bool(parent.base == wanted), bool(parent.default == wanted)
            return (counted & on) | (~counted & off)
        place = self._at[parent.dimensions[0].key]
        coordinate = self.coordinates[place]
        numbers = coordinate.numbers(rows[:, place]).tolist()
        return np.array([coordinate.read(number) == wanted for number in numbers], dtype=np.bool_)
