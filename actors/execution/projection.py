"""Agents in the store: saved at once where it can be, and later, in their newest state, where it can't."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from chimera.errors import ChimeraError
from chimera.store.contract import Store
from subjects.agent import AgentView

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0


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
