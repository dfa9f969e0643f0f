"""What we use of an asyncpg connection, typed; and how one is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from chimera.errors import BadSettingError

APPLICATION = "chimera"
"""The name by which the database's administrator sees our connections."""


class Connection(Protocol):
    """A connection to PostgreSQL. Rows unpack like tuples."""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's
        """Run a statement; its command tag, such as ``INSERT 0 3``."""
        ...

    async def executemany(self, command: str, args: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each row of arguments."""
        ...

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """Its rows."""
        ...

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """Its first row, or ``None``."""
        ...

    async def fetchval(self, query: str, *args: Any) -> Any:
        """The first column of its first row, or ``None``."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """Inside, all or nothing."""
        ...

    def terminate(self) -> None:
        """Close it without a word."""
        ...


class Pool(Protocol):
    """A pool of connections."""

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """A connection for the time of a block."""
        ...

    def get_idle_size(self) -> int:
        """Open connections that nobody uses."""
        ...

    async def expire_connections(self) -> None:
        """Replace each connection before it is used again."""
        ...

    def terminate(self) -> None:
        """Close all at once."""
        ...


def driver() -> Any:
    """The module asyncpg.

    Raises:
        BadSettingError: If it is not installed.
    """
    try:
        import asyncpg  # noqa: PLC0415 - heavy, and an extra
    except ImportError as error:
        raise BadSettingError(
            "store.url names PostgreSQL, which needs the package asyncpg",
            hint="install chimera-nats[postgres], or leave store.url empty: SQLite is used",
        ) from error
    return asyncpg


async def keep_as_it_is(_: Any) -> None:
    """No reset when a connection is given back: no session state is ever set, and it would cost a round trip."""


async def settle_cancellations(timeout_s: float = 1.0) -> None:
    """Let asyncpg tell the server about queries that were cancelled; it does so in tasks that it waits for nowhere.

    A loop that ends before them leaves their sockets open.
    """
    tasks = [
        task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "") == "Connection._cancel"
    ]
    if tasks:
        await asyncio.wait(tasks, timeout=timeout_s)
