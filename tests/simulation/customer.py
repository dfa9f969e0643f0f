"""Clients: they submit until told that it is stored, now and then twice, cancel, revive, and ask how it goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio

from actors.queueing import states
from chimera.clock import Clock
from chimera.errors import ChimeraError, NotFoundError
from chimera.system import System
from subjects.scheduler import CancelTask, GetTask, Revive, Submit
from subjects.task import NewTask, TaskView
from tests.simulation.judge import Judge
from tests.simulation.trace import Trace

_PAUSE_S = 0.5
_WAIT_MS, _PATIENCE_S = 2_000, 6.0


@dataclass(frozen=True, slots=True)
class Order:
    """What a client wants.

    Attributes:
        at: When it comes, in seconds from the start.
        again: Whether it submits a second time after it was told.
        cancel_after: Seconds after which it changes its mind; negative = never.
        revive: Whether it begins a dead task anew, once.
    """

    task: NewTask
    at: float
    again: bool = False
    cancel_after: float = -1.0
    revive: bool = False


class Customer:
    """One client program.

    Args:
        system: Its node.
        clock: Its time.
        judge: Told of every answer.
        trace: Told of what is done.
    """

    def __init__(self, system: System, clock: Clock, judge: Judge, trace: Trace) -> None:
        self._system, self._clock, self._judge, self._trace = system, clock, judge, trace
        self._name = system.node

    async def run(self, orders: list[Order], done: Callable[[str], None]) -> None:
        """Have all orders done."""
        async with anyio.create_task_group() as group:
            for order in orders:
                group.start_soon(self._follow, order, done)

    async def _follow(self, order: Order, done: Callable[[str], None]) -> None:
        await self._clock.sleep(order.at)
        task = await self._submit(order)
        if task and order.again:
            await self._clock.sleep(_PAUSE_S)
            if (await self._submit(order) or task) != task and not order.task.key:
                self._judge.blame("twice", f"{order.task.id} became another task")
        if task and order.cancel_after >= 0:
            await self._clock.sleep(order.cancel_after)
            await self._insist(task, lambda: self._system.ask(CancelTask(id=task)))
        if task:
            view = await self._wait(task)
            if order.revive and view.state == "dead":
                self._judge.revivable.add(task)
                await self._revive(task)
                await self._wait(task)
        done(order.task.id)

    async def _submit(self, order: Order) -> str:
        task = order.task
        while not task.deadline or self._clock.time() < task.deadline:
            try:
                answer = await self._system.ask(Submit(tasks=[task]), timeout_s=_PATIENCE_S)
            except ChimeraError as error:
                self._trace(self._name, f"submit {task.id}: {error.code}")
                await self._clock.sleep(_PAUSE_S)
                continue
            receipt = answer.receipts[0]
            self._trace(self._name, f"submit {task.id}: {receipt.state} {receipt.id}")
            if receipt.state != "refused":
                self._judge.acknowledge(receipt.id)
                return receipt.id
            if receipt.code == "conflict":
                self._judge.blame("twice", f"{task.id} conflicts with itself")
                return ""
            await self._clock.sleep(_PAUSE_S)
        return ""

    async def _wait(self, task: str) -> TaskView:
        while True:
            view = await self._insist(
                task, lambda: self._system.ask(GetTask(id=task, wait_ms=_WAIT_MS), timeout_s=_PATIENCE_S)
            )
            if view is not None and states.is_final(view.state):
                return view
            await self._clock.sleep(_PAUSE_S)

    async def _insist(self, task: str, ask: Callable[[], Awaitable[TaskView]]) -> TaskView | None:
        while True:
            asked_at = self._clock.monotonic()
            try:
                view: TaskView | None = await ask()
            except NotFoundError:
                view = None
            except ChimeraError as error:
                self._trace(self._name, f"ask {task}: {error.code}")
                await self._clock.sleep(_PAUSE_S)
                continue
            self._trace(self._name, f"{task} is {view.state if view else 'unknown'}")
            self._judge.read(task, view, asked_at)
            return view

    async def _revive(self, task: str) -> None:
        while True:
            try:
                answer: Any = await self._system.ask(Revive(id=task), timeout_s=_PATIENCE_S)
            except ChimeraError as error:
                self._trace(self._name, f"revive {task}: {error.code}")
                if error.code == "conflict":  # an earlier try came through
                    return
                await self._clock.sleep(_PAUSE_S)
                continue
            self._trace(self._name, f"revived {answer.ids}")
            return
