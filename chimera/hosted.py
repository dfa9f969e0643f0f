"""A service made of an async context manager, held open by a task of its own.

Task groups must be left by the task that entered them; a supervisor starts and stops from different tasks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from .system import System


class Hosted:
    """Opens on ``start``, runs until ``stop``; what the opened thing raises in between is its failure.

    ``make`` gives a new context manager for every start. ``opened`` is called with what it yields before ``start``
    returns; ``run`` (if given) is awaited beside it and its end is the service's end; ``closing`` is called before it
    is left.
    """

    def __init__(
        self,
        system: System,
        make: Callable[[], AbstractAsyncContextManager[Any]],
        *,
        opened: Callable[[Any], Awaitable[None]] | None = None,
        run: Callable[[Any], Awaitable[None]] | None = None,
        closing: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._system = system
        self._make = make
        self._opened = opened
        self._run = run
        self._closing = closing
        self._ready = anyio.Event()
        self._stop = anyio.Event()
        self._done = anyio.Event()
        self._failure: BaseException | None = None

    async def start(self) -> None:
        """Open it.

        Raises:
            Exception: Whatever opening raises.
        """
        self._ready, self._stop, self._done = anyio.Event(), anyio.Event(), anyio.Event()
        self._failure = None
        self._system.start_soon(self._host)
        await self._ready.wait()
        if self._failure is not None:
            raise self._failure

    async def wait(self) -> None:
        """Return when it was stopped; raise what it failed with."""
        await self._done.wait()
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Close it and wait until it is closed."""
        self._stop.set()
        await self._done.wait()

    async def _host(self) -> None:
        try:
            async with self._make() as thing:
                if self._opened is not None:
                    await self._opened(thing)
                self._ready.set()
                await self._until_stopped(thing)
        except Exception as error:  # noqa: BLE001 - reported to the supervisor through wait()
            self._failure = error
        finally:
            self._ready.set()
            self._done.set()

    async def _until_stopped(self, thing: Any) -> None:
        try:
            if self._run is None:
                await self._stop.wait()
                return
            async with anyio.create_task_group() as group:
                group.start_soon(self._finish, group.cancel_scope)
                await self._run(thing)
                group.cancel_scope.cancel()
        finally:
            if self._closing is not None:
                with anyio.CancelScope(shield=True):
                    await self._closing()

    async def _finish(self, scope: anyio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()
