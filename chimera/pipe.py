"""A bounded pipe between a streaming handler and its reader in the same process."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from .errors import ChimeraError

WINDOW = 64
"""Elements a handler may be ahead of its reader."""


class Pipe:
    """The sink of a local stream, and the iterator its reader holds."""

    __slots__ = ("_error", "_items", "_over", "_readable", "_writable")

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._error: ChimeraError | None = None
        self._over = False

    async def value(self, value: Any) -> None:
        """A handler that answers once: a stream of one."""
        await self.chunk(value)
        await self.end()

    async def chunk(self, value: Any) -> None:
        """One element; waits while the reader is ``WINDOW`` behind."""
        while len(self._items) >= WINDOW:
            self._writable.clear()
            await self._writable.wait()
        if self._over:
            return
        self._items.append(value)
        self._readable.set()

    async def end(self) -> None:
        """No more elements."""
        self._over = True
        self._readable.set()

    async def error(self, error: ChimeraError) -> None:
        """The handler failed; the reader sees it after what was sent before."""
        self._error = error
        await self.end()

    def __aiter__(self) -> Pipe:
        return self

    async def __anext__(self) -> Any:
        while not self._items:
            if self._over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._readable.clear()
            await self._readable.wait()
        self._writable.set()
        return self._items.popleft()
