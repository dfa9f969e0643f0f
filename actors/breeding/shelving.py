"""The evolution log as genomes of the store: every record once, as it stands in the log, and whose evolution it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import anyio.to_thread
import msgspec

from actors.evolving.record import GenomeRecord, pack_record
from chimera.bus.contract import Bus, Stored
from chimera.logs import EventName, Layer, event
from chimera.store import GenomeRow, Genomes, Regress, RunRow, Store, StreamPart

from .log import LOG, Began, Championed


class GenomeProjection:
    """Writes the genomes of the log into the store.

    Args:
        store: Takes the rows; open.
    """

    stream = LOG.stream

    def __init__(self, store: Store) -> None:
        self.genomes = Genomes(store)
        self.rejected = 0

    async def save(self, messages: Sequence[Stored]) -> None:
        """Write what the messages say; what is known already stays as it is."""
        sheet = await anyio.to_thread.run_sync(self._read, messages)
        await self.genomes.save(
            sheet.rows, list(sheet.runs.values()), sheet.champions, stream=self.stream, seq=messages[-1].seq
        )

    async def went_back(self, found: Regress, generation: str) -> None:
        """What came after was never told: its numbers will be given again."""
        await self.genomes.went_back(found.stream, found.last_seq, generation)

    async def caught_up(self, first: int) -> None:
        """Nothing is to be settled: a genome is whole as soon as it is told."""

    def part(self, bus: Bus, store: Store) -> StreamPart:
        """How ``chimera rebuild`` makes it again; genomes that the log does not hold any more stay."""
        return StreamPart(
            "genomes", bus, store, self.stream, self.save, lambda first, _last: self.genomes.clearing(first)
        )

    def _read(self, messages: Sequence[Stored]) -> _Sheet:
        sheet = _Sheet()
        for message in messages:
            try:
                sheet.take(LOG.unpack(message.data), message.seq)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._reject(message, error)
        return sheet

    def _reject(self, message: Stored, error: Exception) -> None:
        self.rejected += 1
        event(
            EventName.RECORD_REJECTED, Layer.STORE, f"message {message.seq} of {message.stream}: {error}",
            level="warning", stream=message.stream, seq=message.seq, subject=message.subject,
        )  # fmt: skip


def row_of(record: GenomeRecord, seq: int) -> GenomeRow:
    """A record as it stands on the shelf."""
    return GenomeRow(
        record.id, record.run, record.agent, record.release, record.generation, record.island, record.number,
        record.fitness, record.at, pack_record(record), record.checksum, seq,
    )  # fmt: skip


class _Sheet:
    """What one transaction writes."""

    def __init__(self) -> None:
        self.rows: list[GenomeRow] = []
        self.runs: dict[str, RunRow] = {}
        self.champions: list[str] = []

    def take(self, entries: Iterable[Any], seq: int) -> None:
        """The entries of one message, all or none."""
        for entry in list(entries):
            if isinstance(entry, GenomeRecord):
                self.rows.append(row_of(entry, seq))
                self.runs.setdefault(entry.run, RunRow(entry.run, entry.agent, entry.at))
            elif isinstance(entry, Began):
                self.runs.setdefault(entry.id, RunRow(entry.id, entry.request.agent, entry.at))
            elif isinstance(entry, Championed):
                self.champions.append(entry.genome)
