"""Records of the shelf and their ancestors, read one by one, and which of them outlive the bound."""

from __future__ import annotations

from actors.evolving.record import GenomeRecord, unpack_record
from chimera.errors import CorruptError
from chimera.store import GenomeRow, Genomes

TRACED = 10_000
"""Ancestors of a champion that are kept with it, at most."""


def record_of(row: GenomeRow) -> GenomeRecord:
    """The record of a row.

    Raises:
        CorruptError: If it is not what was stored.
    """
    try:
        return unpack_record(row.record)
    except CorruptError as error:
        raise CorruptError(
            error.detail if row.id in error.detail else f"genome '{row.id}': {error.detail}",
            hint="what else is bad: chimera genome validate; make it again: chimera rebuild --only genomes",
        ) from error


def readable(row: GenomeRow) -> GenomeRecord | None:
    """The record of a row, if it is what was stored."""
    try:
        return unpack_record(row.record)
    except CorruptError:
        return None


async def pedigree(
    genomes: Genomes, record: GenomeRecord, *, depth: int, most: int
) -> tuple[dict[str, GenomeRecord], bool]:
    """A record and its ancestors by id, nearest first, and whether there are more.

    Args:
        genomes: Where they are.
        record: Whose.
        depth: Most steps back.
        most: Most records.
    """
    found, generation = {record.id: record}, [record]
    for _ in range(depth):
        parents = dict.fromkeys(parent for one in generation for parent in one.parents if parent not in found)
        generation = list[GenomeRecord]()
        for parent in parents:
            if len(found) >= most:
                return found, True
            row = await genomes.genome(parent)
            known = readable(row) if row is not None else None
            if known is not None:
                found[parent] = known
                generation.append(known)
        if not generation:
            return found, False
    return found, any(parent not in found for one in generation for parent in one.parents)


async def spare(genomes: Genomes) -> None:
    """Mark the ancestors of every champion that is new, so that they stay with it."""
    for champion in await genomes.champions():
        row = await genomes.genome(champion)
        record = readable(row) if row is not None else None
        if record is not None:
            kept, _ = await pedigree(genomes, record, depth=TRACED, most=TRACED)
            await genomes.keep(list(kept))
