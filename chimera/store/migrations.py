"""The schema of the SQLite store, as migrations of sqlite-utils: applied once each, in order, each in a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from sqlite_utils import Database

_SET = "chimera"
_OUTCOME = {
    "id": int, "stream": str, "generation": str, "seq": int, "job_id": str, "agent": str, "release": int, "task": str,
    "outcome": str, "at": float, "queue_ms": float, "run_ms": float, "cpu_ms": float, "memory_bytes": int, "node": str,
    "variant": str, "key": str, "detail": str, "input": str, "output": str,
}  # fmt: skip
_JUDGEMENT = {
    "job_id": str, "agent": str, "release": int, "at": float, "label": str, "score": float, "predicted_label": str,
    "predicted_score": float, "correct": int,
}  # fmt: skip


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file behind ``connection`` to the newest schema. Plugins of sqlite-utils are left out.

    A file that is up to date is told by one query, so that a warm start need not load the library.
    """
    steps = {"0001_agents": _agents, "0002_outcomes": _outcomes, "0003_node": _node}
    if set(steps) <= _applied(connection):
        return
    from sqlite_utils import Database, Migrations  # noqa: PLC0415 - heavy, and only a new schema needs it

    migrations = Migrations(_SET)
    for name, step in steps.items():
        migrations(name=name)(step)
    migrations.apply(Database(connection, execute_plugins=False, recursive_triggers=False))


def _applied(connection: sqlite3.Connection) -> set[str]:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone()
    if known is None:
        return set()
    query = "SELECT name FROM _sqlite_migrations WHERE migration_set = ?"
    return {name for (name,) in connection.execute(query, [_SET])}


def _agents(db: Database) -> None:
    db.table("agents").create(
        {"name": str, "state": str, "live": int, "candidate": int, "share": float, "previous": int},
        pk="name", not_null=("state", "live"),
    )  # fmt: skip
    db.table("releases").create(
        {"agent": str, "number": int, "digest": str, "parent": int, "created_at": str, "document": str},
        pk=("agent", "number"), not_null=("digest", "created_at", "document"),
    )  # fmt: skip


def _outcomes(db: Database) -> None:
    outcomes = db.table("outcomes").create(
        _OUTCOME, pk="id", not_null=("stream", "generation", "seq", "job_id", "agent", "release", "outcome", "at")
    )
    outcomes.create_index(["stream", "seq", "generation"], unique=True)
    outcomes.create_index(["job_id", "at"])
    outcomes.create_index(["agent", "at"])
    outcomes.create_index(["at"])
    judgements = db.table("judgements").create(_JUDGEMENT, pk="job_id", not_null=("agent", "release", "at"))
    judgements.create_index(["agent", "at"])
    judgements.create_index(["at"])
    db.table("streams").create(
        {"name": str, "position": int, "high_water": int, "generation": str, "base": int},
        pk="name", not_null=("position", "high_water", "generation", "base"),
    )  # fmt: skip


def _node(db: Database) -> None:
    db.table("settings").create({"name": str, "value": str}, pk="name", not_null=("value",))
    remembered = db.table("remembered").create(
        {"key": str, "body_digest": str, "status": int, "body": bytes, "at": float},
        pk="key", not_null=("body_digest", "status", "body", "at"),
    )  # fmt: skip
    remembered.create_index(["at"])
    db.table("pulse").create({"id": int, "beats": int}, pk="id", not_null=("beats",))
