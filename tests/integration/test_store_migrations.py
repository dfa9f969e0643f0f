"""One description of the tables: up and down on both databases, with the same result."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import closing
from typing import Any

import anyio
import pytest

from chimera.store import _pg_migrations, migrations
from chimera.store._pg_connection import Connection
from chimera.store.postgres import PostgresStore
from chimera.store.schema import STEPS, Step, Table, surplus
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LATER = (*STEPS, Step("0999_later", (Table("later", {"id": "identity", "x": "text"}, ("id",), indexes=(("x",),)),)))
"""The schema of a version to come."""


@pytest.fixture
def sqlite() -> Iterator[sqlite3.Connection]:
    """An empty database."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


@pytest.fixture
async def schema(postgres: PostgresServer) -> AsyncIterator[Connection]:
    """A connection to an empty schema."""
    async with postgres.connected(await postgres.new_schema()) as connection:
        yield connection


def sqlite_columns(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Table to columns."""
    found = connection.execute(
        "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' "
        "AND m.name NOT LIKE '%migrations%' ORDER BY m.name, c.cid"
    )
    return _by_table(found)


def sqlite_indexes(connection: sqlite3.Connection) -> set[str]:
    """Names of the indexes that were made."""
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'idx\\_%' ESCAPE '\\'"
    )
    return {name for (name,) in found if "migrations" not in name}


async def postgres_columns(connection: Connection) -> dict[str, list[str]]:
    """Table to columns."""
    return _by_table(
        await connection.fetch(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema() "
            "AND table_name <> 'chimera_migrations' ORDER BY table_name, ordinal_position"
        )
    )


async def postgres_indexes(connection: Connection) -> set[str]:
    """Names of the indexes that were made."""
    query = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND indexname LIKE 'idx\\_%'"
    return {row[0] for row in await connection.fetch(query)}


def _by_table(found: Iterable[Any]) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for table, column in found:
        tables.setdefault(table, []).append(column)
    return tables


async def test_both_databases_get_the_same_tables(sqlite: sqlite3.Connection, schema: Connection):
    """Tables, columns, their order, and indexes are the same, and are what the description says."""
    migrations.migrate(sqlite)
    await _pg_migrations.migrate(schema)
    described = {table.name: list(table.columns) for step in STEPS for table in step.tables}
    assert sqlite_columns(sqlite) == await postgres_columns(schema) == dict(sorted(described.items()))
    assert sqlite_indexes(sqlite) == await postgres_indexes(schema) != set()


async def test_a_later_version_goes_up_and_comes_down(sqlite: sqlite3.Connection, schema: Connection):
    """Only what is new is added, data stay, and the step back leaves exactly what was there before."""
    migrations.migrate(sqlite)
    await _pg_migrations.migrate(schema)
    before = (sqlite_columns(sqlite), sqlite_indexes(sqlite))
    sqlite.execute("INSERT INTO settings VALUES ('x', '1')")
    await schema.execute("INSERT INTO settings VALUES ('x', '1')")
    migrations.migrate(sqlite, LATER)
    await _pg_migrations.migrate(schema, LATER)
    assert sqlite_columns(sqlite)["later"] == (await postgres_columns(schema))["later"] == ["id", "x"]
    assert migrations.downgrade(sqlite, STEPS[-1].name, LATER) == ["0999_later"]
    assert await _pg_migrations.downgrade(schema, STEPS[-1].name, LATER) == ["0999_later"]
    assert (sqlite_columns(sqlite), sqlite_indexes(sqlite)) == before
    assert (await postgres_columns(schema), await postgres_indexes(schema)) == before
    assert sqlite.execute("SELECT value FROM settings").fetchall() == [("1",)]
    assert await schema.fetchval("SELECT value FROM settings") == "1"


async def test_all_the_way_down_and_up_again(sqlite: sqlite3.Connection, schema: Connection):
    """Every step can be taken back, newest first, and applied again."""
    newest_first = [step.name for step in reversed(STEPS)]
    migrations.migrate(sqlite)
    await _pg_migrations.migrate(schema)
    whole = sqlite_columns(sqlite)
    assert migrations.downgrade(sqlite, "") == await _pg_migrations.downgrade(schema, "") == newest_first
    assert sqlite_columns(sqlite) == await postgres_columns(schema) == {}
    migrations.migrate(sqlite)
    await _pg_migrations.migrate(schema)
    assert sqlite_columns(sqlite) == await postgres_columns(schema) == whole


async def test_an_older_version_leaves_newer_tables_alone(sqlite: sqlite3.Connection, schema: Connection):
    """A program that knows fewer steps changes nothing: nodes are updated one by one."""
    migrations.migrate(sqlite, LATER)
    await _pg_migrations.migrate(schema, LATER)
    migrations.migrate(sqlite)
    await _pg_migrations.migrate(schema)
    assert "later" in sqlite_columns(sqlite)
    assert "later" in await postgres_columns(schema)


async def test_a_step_that_fails_leaves_nothing_behind(sqlite: sqlite3.Connection, schema: Connection):
    """The step's first table is gone with its second, and the step counts as not applied."""
    good = Table("good", {"id": "integer"}, ("id",))
    broken = (*STEPS, Step("0999_broken", (good, Table("agents", {"id": "integer"}, ("id",)))))
    migrations.migrate(sqlite)
    await _pg_migrations.migrate(schema)
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrations.migrate(sqlite, broken)
    with pytest.raises(Exception, match="already exists"):
        await _pg_migrations.migrate(schema, broken)
    assert "good" not in sqlite_columns(sqlite)
    assert "good" not in await postgres_columns(schema)
    assert migrations.downgrade(sqlite, STEPS[-1].name, broken) == []
    assert await _pg_migrations.downgrade(schema, STEPS[-1].name, broken) == []


async def test_nodes_that_start_together_migrate_once(postgres: PostgresServer):
    """Eight nodes open an empty schema at the same moment, and all of them find it whole."""
    url, answers = await postgres.new_schema(), list[str]()

    async def node() -> None:
        async with PostgresStore(url, connections=1) as store:
            answers.append(await store.check())

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(node)
    assert answers == ["ok"] * 8


def test_a_step_that_is_not_there_is_named():
    """Going down to an unknown step is refused before anything is done."""
    with pytest.raises(ValueError, match="no step '0404'"):
        surplus({step.name for step in STEPS}, "0404")
