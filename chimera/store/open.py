"""Which store a URL means."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from chimera.config import redact_text
from chimera.errors import BadSettingError

from .contract import Store

FILE_NAME = "chimera.sqlite"
"""The store's file in the data folder."""

_HINT = "leave it empty, or write sqlite:///absolute/path or postgresql://user:password@host/database"


def open_store(
    url: str, data_dir: Path, durability: str = "power", *, max_queued: int = 1024, connections: int = 8
) -> Store:
    """The store that ``store.url`` names, not yet opened: enter it.

    Args:
        url: Empty for SQLite in the data folder, ``sqlite:///path``, or ``postgresql://…`` as libpq has it.
        data_dir: The node's data folder.
        durability: ``power``, ``process`` or ``wear``; with the last one, less is synced.
        max_queued: Requests that may wait.
        connections: Most connections to PostgreSQL.

    Raises:
        BadSettingError: If no store of that kind exists.
    """
    scheme, sparing = _scheme(url), durability == "wear"
    if scheme in {"postgres", "postgresql"}:
        from .postgres import PostgresStore  # noqa: PLC0415 - only a node with this store needs it

        return PostgresStore(url, connections=connections, sparing=sparing, max_queued=max_queued)
    path, setting = (data_dir / FILE_NAME, "node.data_dir") if not url else (_sqlite_path(url), "store.url")
    from .sqlite import SqliteStore  # noqa: PLC0415 - only a node with this store needs it

    return SqliteStore(path, sparing=sparing, setting=setting, max_queued=max_queued)


def _scheme(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port if "," not in parts.netloc else None  # several hosts are PostgreSQL's own form
    except ValueError as error:
        raise BadSettingError(f"store.url {redact_text(url)!r} is no URL: {error}", hint=_HINT) from error
    return parts.scheme


def _sqlite_path(url: str) -> Path:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "sqlite" or parts.netloc or len(path) < 2:  # noqa: PLR2004 - the slash and a name
        raise BadSettingError(f"store.url {redact_text(url)!r} is no store", hint=_HINT)
    return Path(path)
