"""What PostgreSQL and the way to it can say, as our errors. No password is repeated."""

from __future__ import annotations

import ssl
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from chimera.config import redact_text
from chimera.config.secret import HIDDEN
from chimera.errors import BadSettingError, ChimeraError, UnavailableError, flatten

_RETRY_S = 1.0


def translate(error: Exception, url: str) -> ChimeraError:
    """The error that a call is answered with."""
    if isinstance(error, ChimeraError):
        return error
    said = f"PostgreSQL at {place(url)}: {_clean(error, url)}"
    return UnavailableError(said, hint=_hint(error), retry_after_s=_RETRY_S)


def refusal(error: Exception, url: str) -> BadSettingError | None:
    """The error for what no waiting mends: a wrong password, an unknown database, missing rights."""
    import asyncpg  # noqa: PLC0415 - only a node with this store has it

    never = (
        asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError, asyncpg.InvalidSchemaNameError,
        asyncpg.InsufficientPrivilegeError, asyncpg.DuplicateTableError, asyncpg.ClientConfigurationError,
        ssl.SSLCertVerificationError,
    )  # fmt: skip
    if not isinstance(error, never):
        return None
    hint = "mend store.url: user, password, database, rights"
    if isinstance(error, asyncpg.DuplicateTableError):
        hint = "give Chimera a database of its own, or a schema: store.url …?search_path=chimera"
    return BadSettingError(f"store.url: PostgreSQL at {place(url)}: {_clean(error, url)}", hint=hint)


def is_loss(error: Exception) -> bool:
    """True if the connection is gone, or the server ends."""
    import asyncpg  # noqa: PLC0415 - only a node with this store has it

    if isinstance(error, ValueError):  # asyncpg's word for arguments that don't fit
        return False
    return isinstance(
        error,
        (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError,
         asyncpg.InterfaceError, asyncpg.InternalClientError),
    )  # fmt: skip


@lru_cache(16)
def place(url: str) -> str:
    """``host:port/database`` of a URL: what may be shown."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] + parts.path or "localhost"


def _hint(error: Exception) -> str:
    import asyncpg  # noqa: PLC0415 - only a node with this store has it

    if isinstance(error, asyncpg.DiskFullError):
        return "free some space on the database server's disk"
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return "lower store.connections, or raise the server's max_connections"
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return "store.url names a standby; add ?target_session_attrs=read-write and all hosts"
    return "see that the database runs and that store.url names it"


def _clean(error: Exception, url: str) -> str:
    text = redact_text(flatten(error) if isinstance(error, OSError) or not str(error) else " ".join(str(error).split()))
    password = urlsplit(url).password
    for secret in {password, unquote(password)} if password else ():
        text = text.replace(secret, HIDDEN)
    return text
