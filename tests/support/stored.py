"""What the store's file says, read beside the node that owns it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def count_outcomes(data: Path) -> int:
    """Rows of the table of task outcomes."""
    with closing(sqlite3.connect(f"file:{data / 'chimera.sqlite'}?mode=ro", uri=True, timeout=5)) as store:
        return store.execute("SELECT count(*) FROM outcomes").fetchone()[0]


def quick_check(data: Path) -> str:
    """``ok`` if the file is sound."""
    with closing(sqlite3.connect(f"file:{data / 'chimera.sqlite'}?mode=ro", uri=True, timeout=5)) as store:
        return store.execute("PRAGMA quick_check").fetchone()[0]
