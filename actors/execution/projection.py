"""Agents in the store: saved at once where it can be, and later, in their newest state, where it can't."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from chimera.bus.contract import Bus
from chimera.errors import ChimeraError
from chimera.store.contract import Store, Write
from chimera.store.rebuild import Progress
from subjects.agent import AgentView

from .releases import ReleaseBook

_READ_S = 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0


class AgentsPart:
    """Makes the agents of a store again from the release book. A node saves them at its start, too.

    Args:
        bus: Where the book is.
        store: Takes the views.
    """

    name = "agents"

    def __init__(self, bus: Bus, store: Store) -> None:
        self._bus, self._store = bus, store

    async def rebuild(self, progress: Progress) -> str:
        """Throw them away and save them anew; what was done, in words."""
        book = ReleaseBook(self._bus, time=time.time, new_id=lambda: "")
        await book.open()
        async with anyio.create_task_group() as group:
            group.start_soon(book.follow, _nobody)
            with anyio.fail_after(_READ_S):
                await book.synced.wait()
            group.cancel_scope.cancel()
        names = book.names()
        await self._store.transact([Write("DELETE FROM releases", [{}]), Write("DELETE FROM agents", [{}])])
        for done, name in enumerate(names, 1):
            record = book.cached(name)
            if record is not None:
                await self._store.save_agent(record.view())
            progress(done, len(names))
        return f"{len(names)} agents of the release book"


def _nobody(name: str) -> None:
    """Nobody is told."""


class AgentProjection:
    """What the store has still to learn is kept here, one view per agent. Serving never waits for it.

    Args:
        store: Takes the views.
        sleep: Waits some seconds.
        report: Writes an event.
    """

    def __init__(self, store: Store, sleep: Callable[[float], Awaitable[None]], report: Callable[..., Any]) -> None:
        self._store = store
        self._sleep = sleep
        self._report = report
        self._behind: dict[str, AgentView] = {}
        self._bell = anyio.Event()
        self._turn = anyio.Lock()

    def __len__(self) -> int:
        return len(self._behind)

    async def save(self, view: AgentView) -> None:
        """Save it; if the store fails, that is reported, and it is saved once the store is back."""
        async with self._turn:
            self._behind[view.name] = view
            try:
                await self._save_newest(view.name)
            except ChimeraError as error:
                self._report(
                    "data-access", f"agent '{view.name}' is projected later: {error.detail}", level="warning",
                    agent=view.name,
                )  # fmt: skip
                self._bell.set()

    async def run(self) -> None:
        """Save what is behind, with growing pauses while the store fails, until cancelled."""
        while True:
            await self._bell.wait()
            self._bell = anyio.Event()
            wait = _FIRST_WAIT_S
            while self._behind:
                await self._sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT_S)
                await self._catch_up()

    async def _catch_up(self) -> None:
        for name in list(self._behind):
            async with self._turn:
                try:
                    await self._save_newest(name)
                except ChimeraError:
                    return

    async def _save_newest(self, name: str) -> None:
        view = self._behind.get(name)
        if view is not None:
            await self._store.save_agent(view)
            del self._behind[name]
