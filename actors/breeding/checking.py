"""Whether stored genomes are what was stored: bytes, columns, register, bounds and lineage, page by page. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

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


_ISLAND_BITS, _NUMBER_BITS = 16, 40


class Orphan(NamedTuple):
    """A genome whose parent was not seen yet; ``birth`` is when it was bred, ``thinned`` excuses a missing parent."""

    id: str
    birth: int
    thinned: bool


class Checker:
    """Takes rows page by page and remembers what is wrong, not the rows.

    Of every genome it keeps its id and one number, when it was bred: many small objects would stall the event loop
    whenever Python looks for garbage among them.

    Args:
        schemas: Of every release that is known.
    """

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._births: dict[str, int] = {}
        self._orphans: dict[str, list[Orphan]] = {}
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

    def strangers(self) -> list[str]:
        """Parents that were in no page: whoever asks for a part of the genomes must look for them."""
        return [parent for parent in self._orphans if parent not in self._births]

    def lineages(self, known: Collection[str]) -> None:
        """Check the lineages that were left open.

        Args:
            known: Those of the ``strangers`` that are stored.
        """
        for parent, orphans in self._orphans.items():
            birth = self._births.get(parent)
            for one in orphans:
                if birth is not None:
                    self._blame(one.id, _too_late(parent, birth, one.birth))
                elif parent not in known and not one.thinned:
                    self._blame(one.id, f"its parent '{parent[:64]}' is not known")

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
            self._births[one.row.id] = 0  # its children are none the worse for it
        if one.registered is None:
            yield "nobody stored a genome of this id"
        elif one.registered != (record.checksum if record else one.row.checksum):
            yield "its checksum is not the one it was stored with"
        if record is not None:
            yield from self._record(record, one)

    def _record(self, record: GenomeRecord, one: CheckRow) -> Iterator[str]:
        birth = self._births[one.row.id] = _birth(record)
        for parent in dict.fromkeys(record.parents):
            if parent not in self._births:
                self._orphans.setdefault(parent, []).append(Orphan(one.row.id, birth, one.thinned))
            elif wrong := _too_late(parent, self._births[parent], birth):
                yield wrong
        yield from columns(record, one.row)
        yield from fitting(record, self._schemas)

    def _blame(self, id_: str, wrong: str) -> None:
        if wrong:
            self.found.setdefault(id_, []).append(wrong)


def _birth(record: GenomeRecord) -> int:
    """Generation, island and number as one whole number; what does not fit is another fault's business."""
    island, number = record.island % (1 << _ISLAND_BITS), record.number % (1 << _NUMBER_BITS)
    return (record.generation << _ISLAND_BITS | island) << _NUMBER_BITS | number


def _too_late(parent: str, theirs: int, own: int) -> str:
    """What is wrong with a parent: it is of a later generation, or of the same island and was asked for later."""
    place, own_place = theirs >> _NUMBER_BITS, own >> _NUMBER_BITS
    generation = place >> _ISLAND_BITS
    if generation > own_place >> _ISLAND_BITS:
        return f"its parent '{parent[:64]}' is of generation {generation}, after its own"
    if place == own_place and theirs >= own:
        return f"its parent '{parent[:64]}' was bred after it"
    return ""


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
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"record {number}"
    return found.id[:64]


class _Named(msgspec.Struct, tag="genome"):
    id: str


class Brought(NamedTuple):
    """What may be brought back: sound records, ids that are stored already, and what is refused."""

    accepted: list[GenomeRecord]
    known: list[str]
    refused: list[BadGenome]


def unpacked(records: Sequence[bytes]) -> tuple[dict[str, GenomeRecord], list[BadGenome]]:
    """Packed records by id, and those that are not what was packed, with the reason."""
    sound, refused = dict[str, GenomeRecord](), list[BadGenome]()
    for number, data in enumerate(records, 1):
        try:
            record = unpack_record(data)
        except CorruptError as error:
            refused.append(BadGenome(id=name_of(data, number), faults=[error.detail]))
        else:
            sound[record.id] = record
    return sound, refused
