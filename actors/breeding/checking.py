"""Whether stored genomes are what was stored: bytes, columns, register, bounds and lineage, page by page. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from actors.evolving.lineage import faults
from actors.evolving.record import GenomeRecord, Schema, check, unpack_record
from chimera.errors import CorruptError
from chimera.store import CheckRow, GenomeRow
from subjects.genome import BadGenome

Schemas = Mapping[tuple[str, int], Schema]
"""What the genomes of an agent's release must fit."""

MOST_NAMED = 1000
"""Bad genomes that are named; more are counted."""

_COLUMNS = {
    "id": "id", "run": "evolution", "agent": "agent", "release": "release", "generation": "generation",
    "island": "island", "number": "number", "fitness": "fitness", "at": "at", "checksum": "checksum",
}  # fmt: skip
"""Field of a record to the column that repeats it."""


class Birth(NamedTuple):
    """What lineage needs of a genome."""

    id: str
    parents: tuple[str, ...]
    operator: str
    generation: int


class Checker:
    """Takes rows page by page and remembers what is wrong, not the rows.

    Args:
        schemas: Of every release that is known.
    """

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._births: dict[str, Birth] = {}
        self._thinned: set[str] = set()
        self.found: dict[str, list[str]] = {}
        self.runs: set[str] = set()
        self.checked = 0

    def take(self, rows: Sequence[CheckRow]) -> None:
        """Check a page of rows."""
        for one in rows:
            self.checked += 1
            self.runs.add(one.run or one.row.evolution)
            wrong = list(self._row(one))
            if wrong:
                self.found[one.row.id] = wrong

    def strangers(self) -> set[str]:
        """Parents that were in no page: whoever asks for a part of the genomes must look for them."""
        return {parent for birth in self._births.values() for parent in birth.parents if parent not in self._births}

    def lineages(self, known: Collection[str]) -> None:
        """Check the lineages of all that was taken.

        Args:
            known: Those of the ``strangers`` that are stored.
        """
        births = [
            birth._replace(parents=tuple(one for one in birth.parents if self._counts(birth.id, one, known)))
            for birth in self._births.values()
        ]
        for id_, wrong in faults(births).items():
            self.found.setdefault(id_, []).extend(wrong)

    def bad(self) -> list[BadGenome]:
        """What is wrong, by id; the last one counts those that are not named."""
        named = [BadGenome(id=id_, faults=self.found[id_]) for id_ in sorted(self.found)[:MOST_NAMED]]
        more = len(self.found) - len(named)
        return [*named, BadGenome(id="", faults=[f"{more} more genomes are bad"])] if more else named

    def _row(self, one: CheckRow) -> Iterator[str]:
        try:
            record = unpack_record(one.row.record)
        except CorruptError as error:
            yield error.detail
            record = None
            self._births[one.row.id] = Birth(one.row.id, (), "", 0)  # its children are none the worse for it
        if one.registered is None:
            yield "nobody stored a genome of this id"
        elif one.registered != (record.checksum if record else one.row.checksum):
            yield "its checksum is not the one it was stored with"
        if record is not None:
            yield from self._record(record, one)

    def _record(self, record: GenomeRecord, one: CheckRow) -> Iterator[str]:
        self._births[one.row.id] = Birth(one.row.id, self._shared(record.parents), "", record.generation)
        if one.thinned:
            self._thinned.add(one.row.id)
        yield from columns(record, one.row)
        yield from fitting(record, self._schemas)

    def _shared(self, parents: Sequence[str]) -> tuple[str, ...]:
        """The parents' ids as the strings that are held already: there are many genomes."""
        return tuple(self._births[one].id if one in self._births else one for one in parents)

    def _counts(self, id_: str, parent: str, known: Collection[str]) -> bool:
        return parent in self._births or (parent not in known and id_ not in self._thinned)


def columns(record: GenomeRecord, row: GenomeRow) -> Iterator[str]:
    """Columns that say something else than the packed record, in words."""
    for name, column in _COLUMNS.items():
        said, true = getattr(row, column), getattr(record, name)
        if said != true:
            yield f"column {column} says {said!r:.80}, its record {true!r:.80}"


def fitting(record: GenomeRecord, schemas: Schemas) -> list[str]:
    """What of a record does not fit the release that it was bred for."""
    schema = schemas.get((record.agent, record.release))
    if schema is None:
        return [f"release {record.release} of '{record.agent}' is not known: its genes can't be checked"]
    return check(record, schema)


def name_of(data: bytes, number: int) -> str:
    """What a person calls packed bytes that may be no record: the id that stands in them, else their number."""
    try:
        found = msgspec.msgpack.decode(data, type=_Named)
    except msgspec.DecodeError:
        return f"record {number}"
    return found.id[:64]


class _Named(msgspec.Struct, tag="genome"):
    id: str
