"""The genome shelf: every genome that was measured, in this node's store, with what people ask of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import anyio.to_thread

from actors.evolving.lineage import ancestors
from actors.evolving.record import GenomeRecord
from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.errors import ChimeraError, CorruptError, NoGenomeError, UnavailableError
from chimera.store import Follower, GenomeFilter, GenomeRow, Store, StreamPart
from subjects.genome import (
    Ancestor,
    BadGenome,
    ExportGenomes,
    GenomeDetail,
    GenomeList,
    GenomePage,
    GenomeView,
    GetGenome,
    ListGenomes,
    ValidateGenomes,
    Validation,
)

from .checking import MOST_NAMED, Brought, Checker, Schemas, columns, fitting, unpacked
from .pedigree import pedigree, readable, record_of, spare
from .shelving import GenomeProjection, row_of
from .views import genome_view

MOST_GENOMES = 200_000
MOST_ANCESTORS = 1000
PAGE_BYTES = 512 << 10
"""Bytes of records in one page of a backup: written as text they must still fit into a message."""

_PAGE, _BATCH = 500, 16
_TIDY_S = 60.0
_BEHIND_S, _LOOK_S = 10.0, 0.05


class GenomeShelf:
    """Follows the evolution log into the store, answers from there, and keeps it bounded.

    Beyond ``most`` genomes the oldest go. Champions and their ancestors stay, and so does the newest evolution of each
    agent; the log itself is not touched.

    Args:
        bus: Where the log is.
        store: Takes the genomes; open.
        clock: Time.
        rng: For pauses.
        report: Writes an event.
        most: Genomes kept.
    """

    def __init__(
        self, *, bus: Bus, store: Store, clock: Clock, rng: random.Random, report: Callable[..., Any],
        most: int = MOST_GENOMES,
    ) -> None:  # fmt: skip
        self._bus, self._store, self._clock, self._rng = bus, store, clock, rng
        self._report, self._most = report, most
        self._projection = GenomeProjection(store)
        self._genomes = self._projection.genomes

    @staticmethod
    def projections(bus: Bus, store: Store) -> list[StreamPart]:
        """What ``chimera rebuild`` makes again."""
        return [GenomeProjection(store).part(bus, store)]

    async def run(self) -> None:
        """Follow the log and forget what is too much, until cancelled. The stream must have been declared."""
        part = self._projection.part(self._bus, self._store)
        follower = Follower(
            self._bus, self._store, self._projection, self._clock, self._rng, batch=_BATCH, resume=part.resume
        )
        async with anyio.create_task_group() as group:
            group.start_soon(follower.run)
            group.start_soon(self._tidy)

    # -- what is asked -------------------------------------------------------------------------------------------------

    async def genomes(self, message: ListGenomes) -> GenomeList:
        """Genomes by filter, and how many match. One that can't be read is counted; ``validate`` names it."""
        where = GenomeFilter(
            message.agent, message.evolution, message.generation, message.order == "newest", message.limit,
            message.offset,
        )  # fmt: skip
        rows, total = await self._genomes.listed(where), await self._genomes.count(where)
        return GenomeList(genomes=await anyio.to_thread.run_sync(_views, rows), total=total)

    async def count(self, agent: str = "") -> int:
        """How many genomes there are, of an agent or of all."""
        return await self._genomes.count(GenomeFilter(agent))

    async def genome(self, id_: str) -> GenomeRecord:
        """A genome as it was stored.

        Raises:
            NoGenomeError: If there is none.
            CorruptError: If it is not what was stored.
        """
        row = await self._row(id_)
        record, registered = record_of(row), await self._genomes.registered(id_)
        if wrong := [*_registered(record, registered), *columns(record, row)]:
            raise CorruptError(f"genome '{id_}' is not what was stored: {'; '.join(wrong)}")
        return record

    async def sound(self, id_: str, schemas: Schemas) -> GenomeRecord:
        """A genome that may be deployed.

        Raises:
            NoGenomeError: If there is none.
            CorruptError: If it is not what was stored, or does not fit the release it was bred for.
        """
        record = await self.genome(id_)
        if wrong := fitting(record, schemas):
            raise CorruptError(f"genome '{id_}' can't be deployed: {'; '.join(wrong)}")
        return record

    async def detail(self, message: GetGenome, live: Mapping[str, Any], schemas: Schemas) -> GenomeDetail:
        """A genome with its ancestors, how it differs from the live genes, and what is wrong with it.

        Raises:
            NoGenomeError: If there is none.
            CorruptError: If it can't be read at all.
        """
        row = await self._row(message.id)
        record, registered = record_of(row), await self._genomes.registered(message.id)
        wrong = [*_registered(record, registered), *columns(record, row), *fitting(record, schemas)]
        records, cut = await pedigree(self._genomes, record, depth=message.depth, most=MOST_ANCESTORS)
        tree = ancestors(record.id, records, depth=message.depth, most=MOST_ANCESTORS)
        return GenomeDetail(
            genome=genome_view(record),
            changes={name: gene for name, gene in record.genes.items() if live.get(name) != gene},
            ancestors=[
                Ancestor(
                    id=one.id, parents=list(records[one.id].parents), operator=one.operator, generation=one.generation,
                    fitness=records[one.id].fitness, depth=one.depth,
                )
                for one in tree.ancestors
            ],
            cut=cut or tree.cut, faults=wrong,
        )  # fmt: skip

    async def validate(self, message: ValidateGenomes, schemas: Schemas) -> Validation:
        """Check every genome that was told when this was asked: its bytes, columns, bounds and lineage.

        Raises:
            UnavailableError: If the store is too far behind the log to tell what is missing.
        """
        began = self._clock.monotonic()
        await self._settled()
        missing = await self._genomes.missing(message.agent, message.evolution, MOST_NAMED + 1)
        checker, after = Checker(schemas), 0
        while rows := await self._genomes.check_page(message.agent, message.evolution, after, _PAGE):
            await anyio.to_thread.run_sync(checker.take, rows)
            after = rows[-1].place
        known = await self.known(await anyio.to_thread.run_sync(checker.strangers))
        await anyio.to_thread.run_sync(checker.lineages, known)
        found = Validation(
            status="fail" if checker.found or missing else "pass", checked=checker.checked,
            evolutions=len(checker.runs), bad=checker.bad(),
            missing=[*missing[:MOST_NAMED], *(["and more"] if len(missing) > MOST_NAMED else [])],
            seconds=self._clock.monotonic() - began,
        )  # fmt: skip
        self._tell(found)
        return found

    # -- backup --------------------------------------------------------------------------------------------------------

    async def export(self, message: ExportGenomes) -> GenomePage:
        """A page of packed records, as they are; fewer than were asked for where they are large."""
        rows = await self._genomes.page(message.agent, message.after, message.limit)
        taken, size = list[tuple[int, bytes]](), 0
        for place, record in rows:
            size += len(record)
            if taken and size > PAGE_BYTES:
                break
            taken.append((place, record))
        more = len(taken) < len(rows) or len(rows) == message.limit
        return GenomePage(
            records=[record for _, record in taken], next=taken[-1][0] if taken and more else None,
            total=await self._genomes.count(GenomeFilter(message.agent)),
        )  # fmt: skip

    async def known(self, ids: Sequence[str]) -> set[str]:
        """Which of these are stored."""
        return {id_ for id_ in ids if await self._genomes.is_there(id_)}

    async def check_import(self, records: Sequence[bytes]) -> Brought:
        """Which records may be brought back: sound ones that are not here, or are here but spoiled. Nothing is written.

        A record whose id is known with another content is refused: a genome never changes. What is accepted comes onto
        the shelf, and mends it, as soon as it stands in the log.
        """
        sound, refused = await anyio.to_thread.run_sync(unpacked, records)
        accepted, known = list[GenomeRecord](), list[str]()
        for record in sound.values():
            registered, row = await self._genomes.registered(record.id), await self._genomes.genome(record.id)
            if registered not in (None, record.checksum):
                refused.append(BadGenome(id=record.id, faults=["another genome of this id is stored"]))
            elif row is not None and row == row_of(record, row.seq):
                known.append(record.id)
            else:
                accepted.append(record)
        return Brought(accepted, known, refused)

    # -- means ---------------------------------------------------------------------------------------------------------

    async def _row(self, id_: str) -> GenomeRow:
        row = await self._genomes.genome(id_)
        if row is None:
            raise NoGenomeError(f"there is no genome '{id_}'")
        return row

    async def _settled(self) -> None:
        """Wait until what the log held when this was asked is in the store."""
        _, last, _ = await self._bus.stream_state(self._projection.stream)
        deadline = self._clock.monotonic() + _BEHIND_S
        while (behind := last - await self._store.position(self._projection.stream)) > 0:
            if self._clock.monotonic() >= deadline:
                raise UnavailableError(
                    f"the shelf is {behind} messages behind the evolution log",
                    hint="it catches up while the node runs; see also: chimera rebuild --only genomes",
                    retry_after_s=5.0,
                )
            await self._clock.sleep(_LOOK_S)

    def _tell(self, found: Validation) -> None:
        bad, gone = len(found.bad), len(found.missing)
        words = f"{found.checked} genomes checked: {bad} bad, {gone} missing"
        names = [*(one.id for one in found.bad[:20]), *found.missing[:20]]
        level = "error" if found.status == "fail" else "info"
        self._report("genome-access", words, level=level, checked=found.checked, bad=bad, missing=gone, names=names)

    async def _tidy(self) -> None:
        while True:
            await self._clock.sleep(_TIDY_S)
            try:
                await self.tidy()
            except ChimeraError as error:
                self._report("data-access", f"old genomes are forgotten later: {error.detail}", level="warning")

    async def tidy(self) -> int:
        """Forget the oldest genomes beyond the bound; how many went."""
        if await self._genomes.count(GenomeFilter()) <= self._most:
            return 0
        await spare(self._genomes)
        return await self._genomes.forget(most=self._most)


def _views(rows: Sequence[GenomeRow]) -> list[GenomeView]:
    return [genome_view(record) for row in rows if (record := readable(row)) is not None]


def _registered(record: GenomeRecord, registered: str | None) -> list[str]:
    if registered is None:
        return ["nobody stored a genome of this id"]
    return [] if registered == record.checksum else ["its checksum is not the one it was stored with"]
