"""The schema's steps on SQLite, as migrations of sqlite-utils: each once, in order, each in a transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from .schema import STEPS, Step, pending, surplus

if TYPE_CHECKING:
    import sqlite3

    from sqlite_utils import Database

_SET = "chimera"


def migrate(connection: sqlite3.Connection, steps: Sequence[Step] = STEPS) -> None:
    """Bring the file behind ``connection`` to the newest schema. Plugins of sqlite-utils are left out.

    A file that is up to date is told by one query, so that a warm start need not load the library.
    """
    if not pending(_applied(connection), steps):
        return
    from sqlite_utils import Database, Migrations  # noqa: PLC0415 - heavy, and only a new schema needs it

    migrations = Migrations(_SET)
    for step in steps:
        migrations(name=step.name)(_applying(step))
    migrations.apply(Database(connection, execute_plugins=False, recursive_triggers=False))


def downgrade(connection: sqlite3.Connection, last: str, steps: Sequence[Step] = STEPS) -> list[str]:
    """Take back the steps after ``last`` in one transaction; their names, newest first. All of them if it is empty.

    Raises:
        ValueError: If there is no step ``last``.
    """
    undone = surplus(_applied(connection), last, steps)
    with closing(connection.cursor()) as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        try:
            for step in undone:
                for statement in step.down():
                    cursor.execute(statement)
                cursor.execute("DELETE FROM _sqlite_migrations WHERE migration_set = ? AND name = ?", (_SET, step.name))
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")
    return [step.name for step in undone]


def _applying(step: Step) -> Callable[[Database], None]:
    def apply(db: Database) -> None:
        for statement in step.up("sqlite"):
            db.conn.execute(statement)

    return apply


def _applied(connection: sqlite3.Connection) -> set[str]:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone()
    if known is None:
        return set()
    query = "SELECT name FROM _sqlite_migrations WHERE migration_set = ?"
    return {name for (name,) in connection.execute(query, [_SET])}
