"""Genomes of two evolutions as they stand in the log, and ways to spoil what a store made of them."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from actors.breeding.log import LOG, Championed, pack
from actors.evolving.record import DataWindow, GenomeRecord, Schema, seal
from chimera.bus.contract import Bus
from chimera.journal import join
from chimera.store import Store, open_store
from subjects.agent import Limits, Parameter
from tests.support.postgres import PostgresServer

Spoil = Callable[[str], Awaitable[None]]
"""Runs a statement on the database, past the store."""

PARAMETERS = [
    Parameter(name="alpha", low=0.0, high=1.0, default=0.5),
    Parameter(name="mode", type="categorical", choices=["a", "b"], default="a"),
]
SCHEMAS = {("sentiment", 1): Schema(PARAMETERS, base={"alpha": 0.5, "mode": "a"}, cap=Limits())}
WINDOW = DataWindow(first=1, last=9, count=9, digest="d" * 64)


def genome(
    number: int, *, run: str = "v-1", parents: Sequence[int] = (), generation: int = 0, agent: str = "sentiment",
    alpha: float = 0.25, **fields: Any,
) -> GenomeRecord:  # fmt: skip
    """A sealed record; its fitness is its number's tenth."""
    plain: dict[str, Any] = {"fitness": number / 10, "half_width": 0.01, "values": [number / 10], "tasks": 9}
    return seal(GenomeRecord(
        id=f"{run}-{number}", run=run, number=number, agent=agent, release=1, genes={"alpha": alpha, "mode": "b"},
        operator="crossover" if parents else "drawn", seed=7, generation=generation, window=WINDOW,
        at=1000.0 * int(run.rpartition("-")[2]) + number, parents=[f"{run}-{one}" for one in parents],
        **{**plain, **fields},
    ))  # fmt: skip


def family(run: str = "v-1", count: int = 12, size: int = 4) -> list[GenomeRecord]:
    """Generations of ``size``; each genome after the first has the two before it in the generation before."""
    return [
        genome(n, run=run, generation=n // size, parents=(n - size, n - size - 1) if n > size else ())
        for n in range(count)
    ]  # fmt: skip


def championed(record: GenomeRecord) -> Championed:
    """An evolution's champion."""
    return Championed(
        id=record.run, at=record.at, genome=record.id, value=1.0, incumbent=0.5, low=0.1, better=True, reason="better"
    )


async def tell(bus: Bus, *messages: Sequence[Any]) -> int:
    """Write messages of entries to the log; the last sequence."""
    last = 0
    for entries in messages:
        last = (await bus.append(LOG.subject, join([pack(entry) for entry in entries]), msg_id=uuid.uuid4().hex)).seq
    return last


async def database(kind: str, folder: Path, postgres: Callable[[], PostgresServer]) -> tuple[Store, Spoil]:
    """An unopened store of a kind, and the way past it."""
    if kind == "sqlite":
        return open_store("", folder), _spoil_file(folder)
    server = postgres()
    url = await server.new_schema()

    async def spoil(statement: str) -> None:
        async with server.connected(url) as connection:
            tag = await connection.execute(statement)
            assert not tag.endswith(" 0"), f"nothing was spoiled: {statement}"

    return open_store(url, folder), spoil


def _spoil_file(folder: Path) -> Spoil:
    async def spoil(statement: str) -> None:
        with closing(sqlite3.connect(folder / "chimera.sqlite", timeout=5)) as file, file:
            assert file.execute(statement).rowcount, f"nothing was spoiled: {statement}"

    return spoil
