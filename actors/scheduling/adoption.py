"""Attempts that an earlier leader began: they go on, and their answers are taken, as long as somebody works on them.

Agents tell every few seconds what they work on, and which answers they keep (``Beat``). A new leader asks the node that
names an attempt for the same job: the agent joins it to the run under way, or gives the stored answer. An attempt that
nobody names for ``GRACE_S`` is lost: its process is gone, or its answer is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from actors.queueing import states
from actors.queueing.ledger import Task
from actors.queueing.retry import NOT_BEGUN
from chimera.errors import ChimeraError
from subjects.agent import Prediction

from .alarm import Alarm
from .core import Core
from .jobs import question_of
from .lanes import Lane

GRACE_S = 7.0
"""More than two beats of an agent."""

_UNHEARD = NOT_BEGUN | {"connection-lost"}
"""What an ask for a job under way may meet without saying anything about the job."""


class Orphan:
    """An attempt without an asker, and the node that named it last."""

    __slots__ = ("alarm", "node")

    def __init__(self, core: Core) -> None:
        self.alarm = Alarm(core.clock)
        self.node = ""


class Adoption:
    """Waits for signs of life and asks for answers.

    Args:
        core: Shared state.
        settle: Takes the end of an attempt, as ``Attempts`` does.
    """

    def __init__(self, core: Core, settle: Callable[[str, int, Lane, Prediction | ChimeraError], None]) -> None:
        self._core, self._settle = core, settle
        self._orphans: dict[str, Orphan] = {}

    def take(self, task: Task) -> None:
        """A running task whose asker is gone."""
        core, now = self._core, self._core.clock.monotonic()
        lane = core.lanes.get(task.spec.agent, now)
        lane.in_flight += 1
        task.beat_at = now
        core.spawn(self._adopt, task, task.status.attempt, lane)

    def heard(self, node: str, jobs: Sequence[str]) -> None:
        """A node names jobs that it works on, or whose answers it has."""
        if not self._orphans:
            return
        for job in jobs:
            if (orphan := self._orphans.get(job)) is not None:
                orphan.node = node
                orphan.alarm.ring()

    async def _adopt(self, task: Task, attempt: int, lane: Lane) -> None:
        core, job = self._core, f"{task.spec.id}-{attempt}"
        scope = core.scopes[task.spec.id] = anyio.CancelScope()
        self._orphans[job] = orphan = Orphan(core)
        answer: Prediction | ChimeraError | None = None
        known = True
        try:
            with scope:
                answer = await self._regain(task, attempt, orphan, scope)
                known = answer is not None
        finally:
            lane.in_flight -= 1
            self._orphans.pop(job, None)
            if core.scopes.get(task.spec.id) is scope:
                del core.scopes[task.spec.id]
            core.pump.ring()
        if answer is not None:
            self._settle(task.spec.id, attempt, lane, answer)
        elif not known and not states.fences(task.status, attempt):
            core.lose(task, f"nobody names this attempt for {GRACE_S:g} s: its node or its answer is gone")

    async def _regain(
        self, task: Task, attempt: int, orphan: Orphan, scope: anyio.CancelScope
    ) -> Prediction | ChimeraError | None:
        """The attempt's end, from whoever works on it; ``None`` if nobody does."""
        core = self._core
        while True:
            await orphan.alarm.wait(GRACE_S)
            node, orphan.node = orphan.node, ""
            if not node and core.bus.statistics().state == "connected":
                return None
            if not node:  # nobody can be heard
                continue
            left = task.spec.limit_s - max(0.0, core.clock.time() - task.status.since)
            question = question_of(task.spec, attempt, max(GRACE_S, left))
            try:
                return await core.ask_at(
                    node, question, timeout_s=max(GRACE_S, left), leave=lambda: not scope.cancel_called
                )
            except ChimeraError as error:
                if error.code not in _UNHEARD:
                    return error
