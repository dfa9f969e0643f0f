"""The schema's steps on PostgreSQL: all in one transaction, under a lock that other nodes wait for."""

from __future__ import annotations

from collections.abc import Sequence

from ._pg_connection import Connection
from .schema import STEPS, Step, pending, surplus

_LOCK = 0x6368696D
"""Our half of the advisory lock's key; the other half is the schema's."""

_TABLE = """
CREATE TABLE IF NOT EXISTS chimera_migrations (name TEXT PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())
"""


async def migrate(connection: Connection, steps: Sequence[Step] = STEPS) -> None:
    """Bring the schema that ``connection`` works in to the newest step. One query when it is there already."""
    if not pending(await _applied(connection), steps):
        return
    async with connection.transaction():
        await _lock(connection)
        await connection.execute(_TABLE)
        for step in pending(await _applied(connection), steps):
            for statement in step.up("postgres"):
                await connection.execute(statement)
            await connection.execute("INSERT INTO chimera_migrations (name) VALUES ($1)", step.name)


async def downgrade(connection: Connection, last: str, steps: Sequence[Step] = STEPS) -> list[str]:
    """Take back the steps after ``last`` in one transaction; their names, newest first. All of them if it is empty.

    Raises:
        ValueError: If there is no step ``last``.
    """
    async with connection.transaction():
        await _lock(connection)
        undone = surplus(await _applied(connection), last, steps)
        for step in undone:
            for statement in step.down():
                await connection.execute(statement)
            await connection.execute("DELETE FROM chimera_migrations WHERE name = $1", step.name)
    return [step.name for step in undone]


async def _lock(connection: Connection) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock($1::int, hashtext(current_schema()))", _LOCK)


async def _applied(connection: Connection) -> set[str]:
    if await connection.fetchval("SELECT to_regclass('chimera_migrations')") is None:
        return set()
    return {row[0] for row in await connection.fetch("SELECT name FROM chimera_migrations")}
