"""A supervisor at work: starts children in order, restarts them by its strategy, stops them in reverse, escalates."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

import anyio

from .children import Child, OnExit
from .errors import StartError, flatten
from .supervision import ChildSpec, Restart, RestartWindow, SupervisorSpec, affected, should_restart

if TYPE_CHECKING:
    from .system import System

ChildState = Literal["starting", "running", "restarting", "stopped", "gave-up"]


class ChildRow:
    """A child in its supervisor's table, with what an operator wants to know of it."""

    __slots__ = ("cause", "child", "incarnation", "restarts", "spec", "state")

    def __init__(self, spec: ChildSpec | SupervisorSpec, child: Child) -> None:
        self.spec = spec
        self.child = child
        self.state: ChildState = "starting"
        self.restarts = 0
        self.cause = ""
        self.incarnation = 0


class Supervisor:
    """Runs the children of a ``SupervisorSpec``; itself a ``Child`` of the supervisor above."""

    def __init__(self, system: System, spec: SupervisorSpec, make_child: Callable[[ChildSpec], Child]) -> None:
        self.system = system
        self.spec = spec
        self.rows: dict[str, ChildRow] = {}
        self._make_child = make_child
        self._exits: deque[tuple[str, int, BaseException | None]] = deque()
        self._wake = asyncio.Event()
        self._window = RestartWindow(spec.intensity, spec.period_s)
        self._on_exit: OnExit | None = None
        self._loop: tuple[anyio.CancelScope, anyio.Event] | None = None
        self._stopping = False

    # -- as a child ---------------------------------------------------------------------------------------------------

    async def start(self, on_exit: OnExit) -> None:
        """Start all children in order; if one can't start, those started are stopped again and the error is raised."""
        self._on_exit = on_exit
        self._stopping = False
        self._window = RestartWindow(self.spec.intensity, self.spec.period_s)
        self._exits.clear()
        known, self.rows = self.rows, {}
        for spec in self.spec.children:  # the table is made anew: in this order, without children added later
            row = self.rows[spec.id] = known.get(spec.id) or self._add(spec)
            try:
                await self._start_row(row)
            except BaseException as error:
                row.cause = flatten(error)
                await self._stop_rows(list(self.rows), "start failed")
                raise
        if self._stopping:
            await self._stop_rows(list(self.rows), "stopped")
            raise StartError(f"{self.spec.id} was stopped while it started")
        self._loop = (anyio.CancelScope(), anyio.Event())
        self.system.start_soon(self._watch_children, *self._loop)

    async def reset(self) -> None:
        """Stop all children in reverse, ready to start again."""
        await self.stop("restart", self.spec.shutdown_s)

    async def stop(self, reason: str, timeout_s: float) -> None:  # noqa: ARG002 - each child has its own bound
        """Stop all children in reverse order of start."""
        self._stopping = True
        if self._loop is not None:
            scope, done = self._loop
            scope.cancel()
            with self.system.patience.bound(self.spec.shutdown_s):
                await done.wait()  # a restart under way must not outlive the stop
        await self._stop_rows(list(self.rows), reason)

    # -- children -----------------------------------------------------------------------------------------------------

    async def add(self, spec: ChildSpec) -> Child:
        """Start one more child, last in the order.

        Raises:
            StartError: If its id is taken, or the supervisor is stopping.
            Exception: Whatever the child's start raises; the child is gone then.
        """
        if self._stopping:
            raise StartError(f"{self.spec.id} is stopping and starts nothing more")
        known = self.rows.get(spec.id)
        if known is not None and known.state not in ("stopped", "gave-up"):
            raise StartError(f"{self.spec.id} already runs a child called {spec.id}")
        self.rows.pop(spec.id, None)
        row = self._add(spec)
        try:
            await self._start_row(row)
        except BaseException:
            await self._stop_row(row, "start failed")
            self._forget(row)
            raise
        if row.state == "stopped":
            raise StartError(f"{spec.id} was stopped while it started")
        return row.child

    async def remove(self, child_id: str, reason: str = "stopped") -> None:
        """Stop one child for good; no error if it is not there."""
        row = self.rows.get(child_id)
        if row is not None:
            await self._stop_row(row, reason)
            self._forget(row)

    def _add(self, spec: ChildSpec | SupervisorSpec) -> ChildRow:
        if isinstance(spec, SupervisorSpec):
            child: Child = Supervisor(self.system, spec, self._make_child)
        else:
            child = self._make_child(spec)
        row = self.rows[spec.id] = ChildRow(spec, child)
        return row

    def _forget(self, row: ChildRow) -> None:
        if self.rows.get(row.spec.id) is row:
            del self.rows[row.spec.id]

    async def _start_row(self, row: ChildRow) -> None:
        row.state = "starting" if not row.restarts else "restarting"
        row.incarnation += 1
        incarnation = row.incarnation
        await row.child.start(lambda error: self._exited(row.spec.id, incarnation, error))
        if row.incarnation == incarnation and row.state in ("starting", "restarting"):
            row.state = "running"

    async def _stop_row(self, row: ChildRow, reason: str) -> None:
        if row.state in ("stopped", "gave-up"):
            return
        row.state = "stopped"
        row.incarnation += 1
        await self._safely(row, row.child.stop(reason, row.spec.shutdown_s))

    async def _safely(self, row: ChildRow, ending: Awaitable[None]) -> None:
        """End a child whatever it raises; shielded, because a child half ended would be nobody's any more."""
        with anyio.CancelScope(shield=True):
            try:
                await ending
            except Exception as error:  # noqa: BLE001 - the others must be ended too
                self.system.emit("actor-stop-failed", None, flatten(error), level="warning", child=row.spec.id)

    async def _stop_rows(self, ids: list[str], reason: str) -> None:
        for child_id in reversed(ids):
            row = self.rows.get(child_id)
            if row is not None:
                await self._stop_row(row, reason)

    # -- failures -----------------------------------------------------------------------------------------------------

    def _exited(self, child_id: str, incarnation: int, error: BaseException | None) -> None:
        self._exits.append((child_id, incarnation, error))
        self._wake.set()

    async def _watch_children(self, scope: anyio.CancelScope, done: anyio.Event) -> None:
        try:
            with scope:
                while not self._stopping:
                    await self._wake.wait()
                    self._wake.clear()
                    await self._take_exits()
        finally:
            done.set()

    async def _take_exits(self) -> None:
        while self._exits and not self._stopping:
            child_id, incarnation, error = self._exits.popleft()
            row = self.rows.get(child_id)
            if row is not None and row.incarnation == incarnation:
                await self._ended(row, error)

    async def _ended(self, row: ChildRow, error: BaseException | None) -> None:
        row.cause = flatten(error) if error else "ended normally"
        if not should_restart(row.spec.restart, failed=error is not None):
            await self._stop_row(row, "crashed" if error else "stopped")
            if row.spec.restart is Restart.TEMPORARY:
                self._forget(row)
            return
        while row.state != "stopped" and not self._stopping:
            if not self._window.record(self.system.clock.monotonic()):
                await self._give_up(row)
                return
            try:
                await self._restart(row, self.spec.backoff.delay(self._window.failures_in_row - 1, self.system.rng))
            except Exception as again:  # noqa: BLE001 - a failed restart is one more failure
                row.cause = flatten(again)
                continue
            return

    async def _restart(self, ended: ChildRow, delay_s: float) -> None:
        ids = affected(self.spec.strategy, list(self.rows), ended.spec.id)
        rows = [self.rows[child_id] for child_id in ids]
        live = [row for row in rows if row is ended or row.state not in ("stopped", "gave-up")]
        for row in reversed(live):
            await self._reset_row(row)
        live = [row for row in live if row.state == "restarting"]
        self.system.emit(
            "actor-restarted", None, f"{ended.spec.id}: {ended.cause}", level="warning", supervisor=self.spec.id,
            child=ended.spec.id, delay_s=round(delay_s, 3), also=[row.spec.id for row in live if row is not ended],
        )  # fmt: skip
        await self.system.clock.sleep(delay_s)
        for row in live:
            if row.state == "restarting":  # not removed meanwhile
                row.restarts += 1
                await self._start_row(row)

    async def _reset_row(self, row: ChildRow) -> None:
        if row.spec.restart is Restart.TEMPORARY:  # as in OTP: a sibling's failure ends it, nothing brings it back
            await self._stop_row(row, "stopped")
            self._forget(row)
        elif row.state not in ("stopped", "gave-up"):
            row.state = "restarting"
            row.incarnation += 1
            await self._safely(row, row.child.reset())

    async def _give_up(self, row: ChildRow) -> None:
        spec = self.spec
        reason = f"{row.spec.id} failed more than {spec.intensity} times in {spec.period_s:g} s, last: {row.cause}"
        self.system.emit("supervisor-gave-up", None, reason, level="error", supervisor=spec.id, child=row.spec.id)
        self._stopping = True
        await self._stop_rows(list(self.rows), "gave-up")
        row.state = "gave-up"
        if self._on_exit is not None:
            self._on_exit(StartError(f"supervisor {spec.id} gave up: {reason}"))

    # -- for people ---------------------------------------------------------------------------------------------------

    def tree(self) -> dict[str, Any]:
        """The supervision tree below here, as plain data."""
        return {
            "id": self.spec.id,
            "strategy": str(self.spec.strategy),
            "children": [self._row_tree(row) for row in self.rows.values()],
        }

    def _row_tree(self, row: ChildRow) -> dict[str, Any]:
        own = {"id": row.spec.id, "state": row.state, "restarts": row.restarts, "cause": row.cause}
        return {**own, **row.child.tree()} if isinstance(row.child, Supervisor) else own
