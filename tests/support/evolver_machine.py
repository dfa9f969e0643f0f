"""What a state machine of the evolver stands on: its world, in an event loop of its own, and what must always hold."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import TaskStatus
from anyio.from_thread import start_blocking_portal
from hypothesis.stateful import RuleBasedStateMachine, invariant

from actors.breeding.log import Began, Configured, Halted, Paused
from actors.breeding.passage import BY
from actors.evolving.record import GenomeRecord
from chimera.errors import ChimeraError
from subjects.agent import AgentView
from subjects.evolution import Evolution, ListEvolutions
from tests.support.evolver_checks import FINAL, NEXT, check_log, comparable, differences, folded
from tests.support.evolver_world import EvolverWorld


class Staged(RuleBasedStateMachine):
    """A world without evolvers, and what was seen of it last: rules act on it, ``look`` judges it after each."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.portal = self._stack.enter_context(start_blocking_portal())
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        self._over: anyio.Event
        self._ended, self.world = self.portal.start_task(self._live, Path(folder))
        self.log: list[tuple[str, Any]] = []
        self.told: dict[str, Evolution] = {}
        self.view: AgentView
        self.spoiled: set[str] = set()
        self.count = 0

    async def _live(self, folder: Path, *, task_status: TaskStatus[EvolverWorld]) -> None:
        self._over = anyio.Event()
        async with anyio.create_task_group() as group:
            world = EvolverWorld(folder, group)
            await world.begin()
            task_status.started(world)
            await self._over.wait()
            await world.end()

    def teardown(self) -> None:
        """End all processes, whatever happened."""
        try:
            self.portal.call(self._over.set)
            self._ended.result(timeout=60)
        finally:
            self._stack.close()

    # -- what is so now ------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> set[str]:
        """Nodes that run an evolver."""
        return set(self.world.instances)

    @property
    def current(self) -> Evolution | None:
        """The evolution that has not ended."""
        return next((one for one in self.told.values() if one.state not in FINAL), None)

    @property
    def genomes(self) -> list[GenomeRecord]:
        """All that were told."""
        return [entry for _, entry in self.log if isinstance(entry, GenomeRecord)]

    def ask(self, message: Any) -> Any:
        """The answer of whichever evolver takes it."""
        return self.portal.call(self.world.ask, message)

    def until(self, condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
        """Let time pass until something is so."""
        self.portal.call(self.world.until, condition)

    @invariant()
    def look(self) -> None:
        """The log is sound, what is told is what the log says, and no state came from nowhere."""
        self.log, told = self.portal.call(self._consistent)
        check_log(self.log)
        self.view = self.portal.call(self.world.agent)
        if not self.alive:
            return
        for id_, one in self.told.items():
            assert told[id_].state in NEXT.get(one.state, {one.state}), f"{one.state} became {told[id_].state}"
        self.told = told

    async def _consistent(self) -> tuple[list[tuple[str, Any]], dict[str, Evolution]]:
        """The log and what is told at a moment when nothing is being written."""
        while True:
            log = await self.world.log()
            if not self.world.instances:
                return log, {}
            answer = await self.world.ask(ListEvolutions(limit=1000))
            if await self.world.log() == log:
                told = {one.id: comparable(one) for one in answer.evolutions}
                assert not (odd := differences(told, folded((entry for _, entry in log), self.world.clock.time()))), odd
                return log, told

    def refused(self, message: Any, codes: set[str]) -> None:
        """It is refused, and neither the log nor the agent nor the gate knows of it."""
        before = self.portal.call(self._everything)
        with pytest.raises(ChimeraError) as caught:
            self.ask(message)
        assert caught.value.code in codes, caught.value
        assert self.portal.call(self._everything) == before, "something was changed that was refused"

    async def _everything(self) -> Any:
        """What people's acts change: what is known already is answered from the cache, so an evolution may move on."""
        acts = [entry for _, entry in await self.world.log() if isinstance(entry, (Began, Configured, Halted, Paused))]
        view, known = await self.world.agent(), self.world.known.values()
        return acts, view.live, view.previous, [one for one in known if one.proposer != BY]
