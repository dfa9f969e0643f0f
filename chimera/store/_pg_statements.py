"""The store's SQL as PostgreSQL takes it: numbered parameters, and batches as arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from . import rows
from .schema import OUTCOMES, TYPES

_NAMED = re.compile(r"(?<![:\w]):([a-z_]+)")
_GIVEN = ("id", "stream", "generation")
"""Columns of an outcome that are the same for a whole batch, or the database's."""

BATCH_COLUMNS = tuple(name for name in OUTCOMES.columns if name not in _GIVEN)

_names = ", ".join(BATCH_COLUMNS)
_arrays = ", ".join(
    f"${number}::{TYPES['postgres'][OUTCOMES.columns[name]]}[]" for number, name in enumerate(BATCH_COLUMNS, 4)
)

SAVE_OUTCOMES = f"""
INSERT INTO outcomes (stream, generation, {_names})
SELECT $1::text, $2::text, new.* FROM unnest({_arrays}) AS new ({_names})
WHERE new.seq > $3::bigint OR NOT EXISTS (SELECT 1 FROM outcomes AS old WHERE old.stream = $1 AND old.seq = new.seq)
ON CONFLICT (stream, seq, generation) DO NOTHING
"""  # noqa: S608 - column names of our own
"""Stream, generation, base, an array per column of ``BATCH_COLUMNS``: one round trip, and it tells how many are new."""

TOUCH_STREAM = """
INSERT INTO streams (name, position, high_water, generation, base) VALUES (:name, 0, 0, '', 0)
ON CONFLICT (name) DO NOTHING
"""
LOCK_STREAM = "SELECT position, high_water, generation, base FROM streams WHERE name = :name FOR UPDATE"

FORGET_REMEMBERED = """
DELETE FROM remembered WHERE key IN (SELECT key FROM remembered WHERE at < :before FOR UPDATE SKIP LOCKED)
"""
"""Callers that forget at the same moment pass each other by instead of waiting in a ring."""

SIZE = """
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname = ANY($1::text[])
"""

NO_LESS_DURABLE = """
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""


@lru_cache(256)
def numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement with ``$1`` for the first name and so on, and the names in that order."""
    names = tuple(dict.fromkeys(_NAMED.findall(sql)))
    return _NAMED.sub(lambda found: f"${names.index(found[1]) + 1}", sql), names


def arguments(names: Sequence[str], parameters: Mapping[str, Any]) -> list[Any]:
    """The values of ``names``, as PostgreSQL takes them."""
    return [storable(parameters[name]) for name in names]


def batch(found: Sequence[rows.Parameters]) -> list[list[Any]]:
    """An array per column of ``BATCH_COLUMNS``."""
    return [[storable(row[name]) for row in found] for name in BATCH_COLUMNS]


def storable(value: Any) -> Any:
    """A text without NUL, which PostgreSQL can't hold; anything else as it is."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
