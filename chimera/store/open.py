"""Which store a URL means."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from chimera.config import redact_text
from chimera.errors import BadSettingError

from .contract import Store

FILE_NAME = "chimera.sqlite"
"""The store's file in the data folder."""


def open_store(url: str, data_dir: Path, durability: str = "power", *, max_queued: int = 1024) -> Store:
    """The store that ``store.url`` names, not yet opened: enter it.

    Args:
        url: Empty for SQLite in the data folder, or ``sqlite:///path``.
        data_dir: The node's data folder.
        durability: ``power``, ``process`` or ``wear``; the last lets SQLite sync less often.
        max_queued: Requests that may wait.

    Raises:
        BadSettingError: If no store of that kind exists.
    """
    path, setting = (data_dir / FILE_NAME, "node.data_dir") if not url else (_sqlite_path(url), "store.url")
    from .sqlite import SqliteStore  # noqa: PLC0415 - only a node with this store needs it

    return SqliteStore(path, sparing=durability == "wear", setting=setting, max_queued=max_queued)


def _sqlite_path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.scheme in {"postgres", "postgresql"}:
        raise BadSettingError(
            "store.url: PostgreSQL comes with a later version of Chimera", hint="leave store.url empty: SQLite is used"
        )
    path = unquote(parts.path)
    if parts.scheme != "sqlite" or parts.netloc or len(path) < 2:  # noqa: PLR2004 - the slash and a name
        raise BadSettingError(
            f"store.url {redact_text(url)!r} is no store", hint="leave it empty, or write sqlite:///absolute/path"
        )
    return Path(path)
