"""The genome shelf on every store: each genome once, as it was told; whatever is spoiled is found and named."""

from __future__ import annotations

import base64
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import msgspec
import pytest

from actors.breeding.log import LOG
from actors.breeding.shelf import PAGE_BYTES, GenomeShelf
from actors.breeding.shelving import GenomeProjection
from actors.evolving.record import pack_record, seal
from chimera import SystemClock
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.errors import CorruptError, NoGenomeError, UnavailableError
from chimera.store import Regress, Store
from subjects.genome import ExportGenomes, GetGenome, ListGenomes, ValidateGenomes
from tests.support.genomes import SCHEMAS, Spoil, championed, database, family, genome, tell

pytestmark = pytest.mark.anyio

ALL = ValidateGenomes()


class Stage(NamedTuple):
    """A shelf beside its log, and the way past its store."""

    bus: MemoryBus
    store: Store
    shelf: GenomeShelf
    spoil: Spoil
    told: list[tuple[str, dict[str, Any]]]

    async def told_now(self, *messages: list[Any]) -> None:
        """Write messages to the log and bring them onto the shelf."""
        begin = await self.store.position(LOG.stream) + 1
        await tell(self.bus, *messages)
        async with self.bus.read(LOG.stream, start_seq=begin) as found:
            await GenomeProjection(self.store).save([one async for one in found])


@pytest.fixture(params=["sqlite", "postgres"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """An empty shelf on a store of either kind."""
    opening, spoil = await database(request.param, tmp_path, lambda: request.getfixturevalue("postgres"))
    told: list[tuple[str, dict[str, Any]]] = []

    def report(name: str, _words: str, **fields: Any) -> None:
        told.append((name, fields))

    async with opening as store, MemoryBus(MemoryHub()) as bus:
        await bus.declare(LOG.spec())
        shelf = GenomeShelf(
            bus=bus, store=store, clock=SystemClock(), rng=random.Random(1),  # noqa: S311 - pauses
            report=report, most=10,
        )  # fmt: skip
        yield Stage(bus, store, shelf, spoil, told)


@pytest.fixture
async def full(stage: Stage) -> Stage:
    """A shelf with two evolutions of twelve genomes."""
    await stage.told_now(family("v-1")[:6], family("v-1")[6:], family("v-2"))
    return stage


async def ids(shelf: GenomeShelf, **fields: Any) -> list[str]:
    """Which genomes a filter gives."""
    return [one.id for one in (await shelf.genomes(ListGenomes(**fields))).genomes]


async def found(stage: Stage, message: ValidateGenomes = ALL) -> dict[str, str]:
    """What is wrong by id."""
    validation = await stage.shelf.validate(message, SCHEMAS)
    assert (validation.status == "fail") == bool(validation.bad or validation.missing)
    return {one.id: "; ".join(one.faults) for one in validation.bad}


async def test_a_genome_comes_back_as_it_was_told(full: Stage):
    """Every field, once, however often it is told."""
    [record] = [one for one in family("v-1") if one.number == 7]
    assert await full.shelf.genome("v-1-7") == record
    await full.told_now(family("v-1"), [record])
    assert await full.shelf.count() == 24
    assert await full.shelf.genome("v-1-7") == record
    with pytest.raises(NoGenomeError):
        await full.shelf.genome("v-1-99")


async def test_lists_filters_and_orders(full: Stage):
    """The newest evolution first, the fittest first within; failed ones last; filters, pages and the total."""
    failed = genome(50, run="v-2", generation=9, fitness=None, failure="it trapped")
    await full.told_now([failed, genome(1, run="v-3", agent="echo")])
    whole = await ids(full.shelf)
    assert whole[:3] == ["v-3-1", "v-2-11", "v-2-10"]
    assert whole[12:15] == ["v-2-0", "v-2-50", "v-1-11"]
    assert await ids(full.shelf, evolution="v-1", generation=1) == ["v-1-7", "v-1-6", "v-1-5", "v-1-4"]
    assert await ids(full.shelf, agent="echo") == ["v-3-1"]
    assert await ids(full.shelf, order="newest", limit=2, offset=1) == ["v-2-50", "v-2-11"]
    page = await full.shelf.genomes(ListGenomes(agent="sentiment", limit=2))
    assert (len(page.genomes), page.total) == (2, 25)


async def test_a_genome_is_shown_with_its_ancestors(full: Stage):
    """Nearest first, each once, as deep as asked; what differs from the live genes."""
    detail = await full.shelf.detail(GetGenome(id="v-1-11"), {"alpha": 0.25, "mode": "a"}, SCHEMAS)
    assert detail.changes == {"mode": "b"}
    assert [(one.id, one.depth) for one in detail.ancestors] == [
        ("v-1-11", 0), ("v-1-7", 1), ("v-1-6", 1), ("v-1-3", 2), ("v-1-2", 2), ("v-1-1", 2)
    ]  # fmt: skip
    assert detail.ancestors[1].parents == ["v-1-3", "v-1-2"]
    assert (detail.ancestors[1].fitness, detail.cut, detail.faults) == (0.7, False, [])
    shallow = await full.shelf.detail(GetGenome(id="v-1-11", depth=1), {}, SCHEMAS)
    assert ([one.id for one in shallow.ancestors], shallow.cut) == (["v-1-11", "v-1-7", "v-1-6"], True)


async def test_a_sound_shelf_passes(full: Stage):
    """All are checked and none is named; an agent's or an evolution's alone are those and no more."""
    validation = await full.shelf.validate(ALL, SCHEMAS)
    assert (validation.status, validation.checked, validation.evolutions, validation.bad) == ("pass", 24, 2, [])
    assert (await full.shelf.validate(ValidateGenomes(evolution="v-2"), SCHEMAS)).checked == 12
    assert (await full.shelf.validate(ValidateGenomes(agent="echo"), SCHEMAS)).checked == 0
    assert full.told[0][0] == "genome-access"


SPOILED = [
    ("UPDATE genomes SET fitness = 9.5 WHERE id = 'v-1-7'", "v-1-7", "column fitness says 9.5, its record 0.7"),
    ("UPDATE genomes SET agent = 'sentimenu' WHERE id = 'v-1-7'", "v-1-7", "column agent"),
    ("UPDATE genomes SET evolution = 'v-5' WHERE id = 'v-1-7'", "v-1-7", "column evolution"),
    ("UPDATE genomes SET checksum = '00' WHERE id = 'v-1-7'", "v-1-7", "column checksum"),
    ("UPDATE genome_register SET checksum = '00' WHERE id = 'v-1-7'", "v-1-7", "not the one it was stored with"),
    ("DELETE FROM genome_register WHERE id = 'v-1-7'", "v-1-7", "nobody stored a genome of this id"),
    ("UPDATE genomes SET id = 'v-1-70' WHERE id = 'v-1-7'", "v-1-70", "column id says 'v-1-70', its record 'v-1-7'"),
]


@pytest.mark.parametrize(("statement", "name", "words"), SPOILED, ids=[one[0][:48] for one in SPOILED])
async def test_a_spoiled_column_is_named(full: Stage, statement: str, name: str, words: str):
    """What the columns or the register say against the packed record is found, in the evolution it belongs to."""
    await full.spoil(statement)
    assert words in (await found(full))[name]
    assert words in (await found(full, ValidateGenomes(evolution="v-1")))[name]
    assert "v-2" not in "".join(await found(full))


@pytest.mark.parametrize("place", [0, 5, 40, 80, 120, -1])
async def test_a_flipped_bit_is_named(full: Stage, place: int):
    """One bit of a packed record, wherever it is: found, named, and never deployed."""
    data = bytearray(pack_record(await full.shelf.genome("v-1-7")))
    data[place] ^= 1
    blob = f"X'{data.hex()}'" if full.store.statistics().backend == "sqlite" else f"'\\x{data.hex()}'::bytea"
    await full.spoil(f"UPDATE genomes SET record = {blob} WHERE id = 'v-1-7'")  # noqa: S608 - made of hex digits
    assert list(await found(full)) == ["v-1-7"]
    with pytest.raises(CorruptError):
        await full.shelf.sound("v-1-7", SCHEMAS)
    assert (await full.shelf.genomes(ListGenomes(evolution="v-1"))).total == 12


async def test_a_forged_record_is_named(full: Stage):
    """A record changed together with its own checksum and all columns is not what the register knows."""
    forged = seal(msgspec.structs.replace(await full.shelf.genome("v-1-7"), genes={"alpha": 0.9, "mode": "b"}))
    data = pack_record(forged).hex()
    blob = f"X'{data}'" if full.store.statistics().backend == "sqlite" else f"'\\x{data}'::bytea"
    await full.spoil(
        f"UPDATE genomes SET record = {blob}, checksum = '{forged.checksum}' WHERE id = 'v-1-7'"  # noqa: S608 - made of hex digits
    )
    assert (await found(full))["v-1-7"] == "its checksum is not the one it was stored with"
    with pytest.raises(CorruptError, match="checksum"):
        await full.shelf.genome("v-1-7")
    detail = await full.shelf.detail(GetGenome(id="v-1-7"), {}, SCHEMAS)
    assert detail.faults == ["its checksum is not the one it was stored with"]


async def test_what_is_gone_is_named(full: Stage):
    """A deleted row is missing, by its id, and whose parent it was has a lineage with a hole."""
    await full.spoil("DELETE FROM genomes WHERE id = 'v-1-7'")
    validation = await full.shelf.validate(ALL, SCHEMAS)
    assert (validation.status, validation.missing, validation.checked) == ("fail", ["v-1-7"], 23)
    assert [(one.id, one.faults) for one in validation.bad] == [("v-1-11", ["its parent 'v-1-7' is not known"])]
    assert (await full.shelf.validate(ValidateGenomes(evolution="v-2"), SCHEMAS)).status == "pass"


async def test_genes_that_do_not_fit_their_release_are_named(stage: Stage):
    """Out of bounds, of a release nobody knows, or with an impossible parent: stored as told, but not deployable."""
    wrong = [
        genome(1, alpha=1.5),
        genome(2, agent="ghost"),
        genome(3),
        genome(4, parents=(5,)),
        genome(5, generation=3),
    ]
    wrong += [genome(6, parents=(7,)), genome(7), genome(8, parents=(8,))]
    await stage.told_now(wrong)
    named = await found(stage)
    assert named.keys() == {"v-1-1", "v-1-2", "v-1-4", "v-1-6", "v-1-8"}
    assert "1.5 is outside 0.0 to 1.0" in named["v-1-1"]
    assert "release 1 of 'ghost' is not known" in named["v-1-2"]
    assert "generation 3, after its own" in named["v-1-4"]
    assert named["v-1-6"] == "its parent 'v-1-7' was bred after it"
    assert "its own parent" in named["v-1-8"]
    with pytest.raises(CorruptError, match="outside"):
        await stage.shelf.sound("v-1-1", SCHEMAS)
    assert (await stage.shelf.sound("v-1-3", SCHEMAS)).id == "v-1-3"


async def test_a_rebuild_mends_what_is_spoiled(full: Stage):
    """Thrown away and read again, the shelf is as it was told; and so it is if the same is told once more."""
    await full.spoil("UPDATE genomes SET fitness = 9.5 WHERE id = 'v-1-7'")
    [part] = GenomeShelf.projections(full.bus, full.store)
    assert await part.rebuild(lambda _done, _total: None) == "3 messages of EVOLUTION"
    assert await found(full) == {}
    await full.spoil("UPDATE genomes SET fitness = 9.5 WHERE id = 'v-1-7'")
    await full.told_now([genome(7, run="v-1", generation=1, parents=(3, 2))])
    assert await found(full) == {}


async def test_a_log_that_went_back_takes_its_genomes_along(full: Stage):
    """Numbers that are given again are other genomes."""
    projection = GenomeProjection(full.store)
    await projection.went_back(Regress(LOG.stream, 2, 3), "g1")
    assert (await full.shelf.count(), await full.store.position(LOG.stream)) == (12, 0)
    other = genome(0, run="v-2", alpha=0.75)
    await tell(full.bus, [other])
    async with full.bus.read(LOG.stream) as messages:
        await projection.save([one async for one in messages if one.seq in (1, 2, 4)])
    assert await full.shelf.genome("v-2-0") == other
    assert await found(full) == {}


async def test_champions_and_their_ancestors_outlive_the_bound(full: Stage):
    """Beyond ten genomes the oldest go, but for a champion, its ancestors and the newest evolution of the agent."""
    await full.told_now([championed(family("v-1")[11])])
    assert await full.shelf.tidy() == 6
    assert sorted(await ids(full.shelf, evolution="v-1")) == ["v-1-1", "v-1-11", "v-1-2", "v-1-3", "v-1-6", "v-1-7"]
    assert await full.shelf.count() == 18
    assert (await full.shelf.validate(ALL, SCHEMAS)).status == "pass"
    assert await full.shelf.tidy() == 0


async def test_what_was_forgotten_leaves_no_hole(full: Stage):
    """A genome whose parents were deleted on purpose has nothing wrong with it."""
    await full.told_now(family("v-3", count=4))
    assert await full.shelf.tidy() == 18
    assert await ids(full.shelf) == ["v-3-3", "v-3-2", "v-3-1", "v-3-0", *(f"v-2-{n}" for n in range(11, 5, -1))]
    assert (await full.shelf.validate(ALL, SCHEMAS)).status == "pass"


async def exported(shelf: GenomeShelf, limit: int) -> list[bytes]:
    """All records, page by page."""
    records, after = list[bytes](), 0
    while True:
        page = await shelf.export(ExportGenomes(after=after, limit=limit))
        records += page.records
        assert page.total == 24
        if page.next is None:
            return records
        after = page.next


@pytest.mark.parametrize("limit", [5, 12, 1000])
async def test_a_backup_has_every_record_once(full: Stage, limit: int):
    """However the pages are cut; and a page is no larger than a message may be."""
    records = await exported(full.shelf, limit)
    assert records == [pack_record(one) for one in (*family("v-1"), *family("v-2"))]
    assert len(base64.b64encode(b"x" * PAGE_BYTES)) < 1 << 20


async def test_large_records_make_short_pages(stage: Stage):
    """The bytes of a page are bounded, and no record is left out for it."""
    large = [genome(n, failure="x" * (PAGE_BYTES // 2 - 1000)) for n in range(4)]
    await stage.told_now(large[:2], large[2:])
    first = await stage.shelf.export(ExportGenomes())
    assert len(first.records) == 2
    assert first.next is not None
    second = await stage.shelf.export(ExportGenomes(after=first.next))
    assert [*first.records, *second.records] == [pack_record(one) for one in large]
    assert second.next is None


async def test_what_is_brought_back_is_checked(full: Stage):
    """New and spoiled ones are accepted, known ones are told, flipped and forged ones refused by name."""
    records = await exported(full.shelf, 1000)
    await full.spoil("DELETE FROM genomes WHERE id = 'v-1-7'")
    await full.spoil("UPDATE genomes SET fitness = 9.5 WHERE id = 'v-1-8'")
    flipped = bytearray(records[9])
    flipped[-1] ^= 1
    forged = pack_record(seal(msgspec.structs.replace(family("v-1")[10], fitness=99.0)))
    new = genome(1, run="v-9")
    await full.spoil("DELETE FROM genomes WHERE id = 'v-1-9'")
    given = [*records[:9], bytes(flipped), b"no record", forged, pack_record(new)]
    brought = await full.shelf.check_import(given)
    assert [one.id for one in brought.accepted] == ["v-1-7", "v-1-8", "v-9-1"]
    assert brought.known == [f"v-1-{n}" for n in range(7)]
    refused = {one.id: one.faults[0] for one in brought.refused}
    assert refused.keys() == {"v-1-9", "record 11", "v-1-10"}
    assert "its checksum is another" in refused["v-1-9"]
    assert "can't be read" in refused["record 11"]
    assert refused["v-1-10"] == "another genome of this id is stored"
    await full.told_now(brought.accepted)
    assert await found(full) == {}
    assert await full.shelf.known(["v-1-7", "v-1-9", "v-9-1"]) == {"v-1-7", "v-9-1"}


async def test_whichever_bit_is_flipped_a_record_is_refused(stage: Stage):
    """Every bit of a packed record counts, and none makes the check fail instead of the record."""
    data = pack_record(family("v-1")[7])
    flipped = [
        data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
        for place in range(len(data)) for bit in range(8)
    ]  # fmt: skip
    brought = await stage.shelf.check_import(flipped)
    assert (len(brought.refused), brought.accepted, brought.known) == (len(flipped), [], [])
    assert sum(one.id == "v-1-7" for one in brought.refused) > len(flipped) / 2


async def test_it_follows_the_log_by_itself(stage: Stage):
    """While it runs, what is told is on the shelf when it is validated; a message that is none is passed over."""
    async with anyio.create_task_group() as group:
        group.start_soon(stage.shelf.run)
        await tell(stage.bus, family("v-1"))
        await stage.bus.append(LOG.subject, b"\xc1", msg_id="none")
        await stage.bus.append(LOG.subject, b"\x91\x81\xa4type\xa1\xff", msg_id="no text")
        await tell(stage.bus, family("v-2"))
        validation = await stage.shelf.validate(ALL, SCHEMAS)
        assert (validation.status, validation.checked) == ("pass", 24)
        group.cancel_scope.cancel()


async def test_a_shelf_that_is_behind_does_not_guess(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Nobody can tell what is missing while the log was not read; that is said, with what to do."""
    monkeypatch.setattr("actors.breeding.shelf._BEHIND_S", 0.1)
    await tell(stage.bus, family("v-1"))
    with pytest.raises(UnavailableError, match="1 messages behind"):
        await stage.shelf.validate(ALL, SCHEMAS)
