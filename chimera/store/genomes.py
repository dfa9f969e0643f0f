"""Genomes in the store: packed records beside the columns that questions filter by, and a register of what was stored.

The register says, apart from the records, that a genome was stored and with which checksum: so a row that is gone is
named, and so is one that was changed together with its own checksum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from . import genome_statements as sql
from .contract import Store, Write
from .task_statements import REWIND, SAVE_POSITION

_FORGET_AT_ONCE = 500
CHAMPION, STAYS = 1, 2
"""How a genome is kept: its ancestors are still to be traced, or it is an ancestor, or its are traced."""


class GenomeRow(NamedTuple):
    """A genome: its packed record, and what of it can be asked for. ``seq`` is the log's message that told it."""

    id: str
    evolution: str
    agent: str
    release: int
    generation: int
    island: int
    number: int
    fitness: float | None
    at: float
    record: bytes
    checksum: str
    seq: int


class RunRow(NamedTuple):
    """An evolution that genomes are of; ``at`` is its beginning, Unix seconds."""

    evolution: str
    agent: str
    at: float


class CheckRow(NamedTuple):
    """A stored genome with what the register says of it.

    Attributes:
        place: Its place in the table; pages follow it.
        registered: Its checksum by the register; ``None`` = nobody stored it under that id.
        run: Its evolution by the register.
        thinned: Whether genomes of that evolution were deleted on purpose.
        row: The row.
    """

    place: int
    registered: str | None
    run: str | None
    thinned: bool
    row: GenomeRow


@dataclass(frozen=True, slots=True)
class GenomeFilter:
    """Which genomes to read; empty fields do not filter. ``newest`` orders by time instead of fitness."""

    agent: str = ""
    evolution: str = ""
    generation: int | None = None
    newest: bool = False
    limit: int = 100
    offset: int = 0


class Genomes:
    """Reads and writes the tables ``genomes``, ``genome_register`` and ``genome_runs`` of an open store.

    Every method may raise ``UnavailableError``. Writing the same again changes nothing.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def save(
        self, rows: Sequence[GenomeRow], runs: Sequence[RunRow], champions: Sequence[str], *, stream: str, seq: int
    ) -> None:
        """Write what the log says up to ``seq``, and that position, in one transaction."""
        mark = Write(SAVE_POSITION, [{"name": stream, "seq": seq}])  # first: others wait here, in one order
        packed = [row._asdict() for row in rows]
        await self._store.transact([
            mark,
            Write(sql.SAVE_RUN, [run._asdict() for run in runs]),
            Write(sql.SAVE_GENOME, packed),
            Write(sql.REGISTER, packed),
            Write(sql.KEEP, [{"id": id_, "how": CHAMPION} for id_ in champions]),
        ])  # fmt: skip

    async def genome(self, id_: str) -> GenomeRow | None:
        """One genome."""
        found = await self._store.fetch(sql.GENOME, {"id": id_})
        return GenomeRow(*found[0]) if found else None

    async def is_there(self, id_: str) -> bool:
        """Whether there is such a genome."""
        return bool(await self._store.fetch(sql.IS_THERE, {"id": id_}))

    async def registered(self, id_: str) -> str | None:
        """The checksum with which a genome was stored."""
        found = await self._store.fetch(sql.REGISTERED, {"id": id_})
        return found[0][0] if found else None

    async def listed(self, where: GenomeFilter) -> list[GenomeRow]:
        """Genomes by filter, in order."""
        text, parameters = _where(where)
        question = sql.NEWEST if where.newest else sql.FITTEST
        found = await self._store.fetch(question.format(where=text), parameters)
        return [GenomeRow(*row) for row in found]

    async def count(self, where: GenomeFilter) -> int:
        """How many match; ``limit`` and ``offset`` do not count."""
        text, parameters = _where(where)
        return (await self._store.fetch(sql.COUNT.format(where=text), parameters))[0][0]

    async def page(self, agent: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Places and packed records, in the order of their places."""
        text = "WHERE g.agent = :agent AND" if agent else "WHERE"
        parameters = {"agent": agent, "after": after, "limit": limit}
        return [(row[0], row[1]) for row in await self._store.fetch(sql.PAGE.format(where=text), parameters)]

    async def check_page(self, agent: str, evolution: str, after: int, limit: int) -> list[CheckRow]:
        """Rows with what the register says of them, in the order of their places."""
        parameters = {"agent": agent, "evolution": evolution, "after": after, "limit": limit}
        text = "".join(f"{condition} AND " for name, condition in sql.CHECK_CONDITIONS.items() if parameters[name])
        found = await self._store.fetch(sql.CHECK_PAGE.format(where=text), parameters)
        return [CheckRow(row[0], row[1], row[2], bool(row[3]), GenomeRow(*row[4:])) for row in found]

    async def missing(self, agent: str, evolution: str, limit: int) -> list[str]:
        """Ids that the register has and the table has not."""
        parameters = {"agent": agent, "evolution": evolution, "limit": limit}
        text = " ".join(condition for name, condition in sql.MISSING_CONDITIONS.items() if parameters[name])
        return [row[0] for row in await self._store.fetch(sql.MISSING.format(where=text), parameters)]

    async def champions(self) -> list[str]:
        """Champions whose ancestors are not traced yet."""
        return [row[0] for row in await self._store.fetch(sql.CHAMPIONS, {})]

    async def keep(self, ids: Sequence[str]) -> None:
        """These stay."""
        await self._store.transact([Write(sql.KEEP, [{"id": id_, "how": STAYS} for id_ in ids])])

    async def forget(self, *, most: int) -> int:
        """Delete the oldest genomes beyond ``most`` that are not kept; an agent's newest evolution stays whole."""
        gone, excess = 0, await self.count(GenomeFilter()) - most
        while excess > 0:
            found = await self._store.fetch(sql.EXCESS, {"limit": min(excess, _FORGET_AT_ONCE)})
            ids, runs = [{"id": row[0]} for row in found], {row[1] for row in found}
            await self._store.transact([
                Write(sql.THINNED, [{"evolution": run} for run in sorted(runs)]),
                Write(sql.FORGET_GENOME, ids),
                Write(sql.FORGET_REGISTERED, ids),
            ])  # fmt: skip
            gone, excess = gone + len(ids), excess - len(ids) if ids else 0
        return gone

    async def went_back(self, stream: str, last: int, generation: str) -> None:
        """The stream ends at ``last`` again: what came after was never told, and all is to be read anew."""
        await self._store.transact([
            Write(REWIND, [{"name": stream, "last": last, "generation": generation}]),
            Write(sql.LOSE_GENOMES, [{"last": last}]),
            Write(sql.LOSE_REGISTERED, [{"last": last}]),
        ])  # fmt: skip

    def clearing(self, first: int) -> list[Write]:
        """What deletes all that a log that begins at ``first`` can tell again."""
        begin = [{"first": first}]
        return [Write(sql.CLEAR_GENOMES, begin), Write(sql.CLEAR_REGISTERED, begin)]


def _where(where: GenomeFilter) -> tuple[str, dict[str, Any]]:
    parameters = asdict(where)
    used = [text for name, text in sql.CONDITIONS.items() if parameters[name] not in ("", None)]
    return ("WHERE " + " AND ".join(used) if used else ""), parameters
