"""A supervisor at work: starts children in order, restarts them by its strategy, stops them in reverse, escalates."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

import anyio

from .actor import Actor
from .cell import State
from .errors import StartError, flatten
from .supervision import ChildSpec, RestartWindow, SupervisorSpec, affected, should_restart

if TYPE_CHECKING:
    from .system import System

OnExit = Callable[[BaseException | None], None]
ChildState = Literal["starting", "running", "restarting", "stopped", "gave-up"]


class Child(Protocol):
    """Anything a supervisor can run: an actor, a service, another supervisor."""

    async def start(self, on_exit: OnExit) -> None:
        """Start, or start again; returns when it works. ``on_exit`` is called once when it ends by itself."""
        ...

    async def stop(self, reason: str, timeout_s: float) -> None:
        """Drain and stop for good."""
        ...

    async def reset(self) -> None:
        """End the present incarnation before a restart; the address stays."""
        ...


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
        self._loop_scope: anyio.CancelScope | None = None
        self._stopping = False

    # -- as a child ---------------------------------------------------------------------------------------------------

    async def start(self, on_exit: OnExit) -> None:
        """Start all children in order; if one can't start, those started are stopped again and the error is raised."""
        self._on_exit = on_exit
        self._stopping = False
        self._window = RestartWindow(self.spec.intensity, self.spec.period_s)
        for spec in self.spec.children:
            row = self.rows.get(spec.id) or self._add(spec)
            try:
                await self._start_row(row)
            except Exception:
                await self._stop_rows(list(self.rows), "start failed")
                raise
        self.system.start_soon(self._watch_children)

    async def reset(self) -> None:
        """Stop all children in reverse, ready to start again."""
        await self.stop("restart", self.spec.shutdown_s)

    async def stop(self, reason: str, timeout_s: float) -> None:  # noqa: ARG002 - each child has its own bound
        """Stop all children in reverse order of start."""
        self._stopping = True
        if self._loop_scope is not None:
            self._loop_scope.cancel()
        await self._stop_rows(list(self.rows), reason)

    # -- children -----------------------------------------------------------------------------------------------------

    async def add(self, spec: ChildSpec) -> Child:
        """Start one more child, last in the order.

        Raises:
            StartError: If its id is taken.
        """
        known = self.rows.get(spec.id)
        if known is not None and known.state not in ("stopped", "gave-up"):
            raise StartError(f"{self.spec.id} already runs a child called {spec.id}")
        row = self._add(spec)
        try:
            await self._start_row(row)
        except Exception:
            self.rows.pop(spec.id, None)
            raise
        return row.child

    async def remove(self, child_id: str, reason: str = "stopped") -> None:
        """Stop one child for good; no error if it is not there."""
        row = self.rows.get(child_id)
        if row is not None:
            await self._stop_row(row, reason)
            self.rows.pop(child_id, None)

    def _add(self, spec: ChildSpec | SupervisorSpec) -> ChildRow:
        if isinstance(spec, SupervisorSpec):
            child: Child = Supervisor(self.system, spec, self._make_child)
        else:
            child = self._make_child(spec)
        row = self.rows[spec.id] = ChildRow(spec, child)
        return row

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
        try:
            await row.child.stop(reason, row.spec.shutdown_s)
        except Exception as error:  # noqa: BLE001 - the others must be stopped too
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

    async def _watch_children(self) -> None:
        with anyio.CancelScope() as scope:
            self._loop_scope = scope
            while not self._stopping:
                await self._wake.wait()
                self._wake.clear()
                while self._exits and not self._stopping:
                    child_id, incarnation, error = self._exits.popleft()
                    row = self.rows.get(child_id)
                    if row is not None and row.incarnation == incarnation:
                        await self._ended(row, error)

    async def _ended(self, row: ChildRow, error: BaseException | None) -> None:
        row.cause = flatten(error) if error else "ended normally"
        if not should_restart(row.spec.restart, failed=error is not None):
            await self._stop_row(row, row.cause)
            return
        while True:
            now = self.system.clock.monotonic()
            failures = self._window.failures_in_row
            if not self._window.record(now):
                await self._give_up(row)
                return
            try:
                await self._restart(row, self._delay(failures))
            except Exception as again:  # noqa: BLE001 - a failed restart is one more failure
                row.cause = flatten(again)
                continue
            return

    def _delay(self, failures: int) -> float:
        backoff = self.spec.backoff
        return backoff.delay(failures, self.system.rng)

    async def _restart(self, ended: ChildRow, delay_s: float) -> None:
        ids = affected(self.spec.strategy, list(self.rows), ended.spec.id)
        live = [
            row for row in map(self.rows.__getitem__, ids) if row is ended or row.state not in ("stopped", "gave-up")
        ]
        for row in reversed(live):
            row.state = "restarting"
            row.incarnation += 1
            await row.child.reset()
        self.system.emit(
            "actor-restarted", None, f"{ended.spec.id}: {ended.cause}", level="warning", supervisor=self.spec.id,
            child=ended.spec.id, delay_s=round(delay_s, 3), also=[row.spec.id for row in live if row is not ended],
        )  # fmt: skip
        await self.system.clock.sleep(delay_s)
        for row in live:
            row.restarts += 1
            await self._start_row(row)

    async def _give_up(self, row: ChildRow) -> None:
        spec = self.spec
        reason = f"{row.spec.id} failed more than {spec.intensity} times in {spec.period_s:g} s, last: {row.cause}"
        self.system.emit("supervisor-gave-up", None, reason, level="error", supervisor=spec.id, child=row.spec.id)
        self._stopping = True
        await self._stop_rows(list(self.rows), "supervisor gave up")
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


class ActorChild:
    """An actor as a child: the cell, with its address and mailbox, outlives its instances."""

    def __init__(self, system: System, spec: ChildSpec) -> None:
        kind: type[Actor] = spec.start
        self._system = system
        self._spec = spec
        self.cell = system.make_cell(kind, spec.arguments, key=spec.key, exposed=spec.exposed)
        self._started = False

    async def start(self, on_exit: OnExit) -> None:
        """First start: take the address. Later: a new instance behind it."""
        with anyio.fail_after(self._spec.start_s):
            if self._started and self.cell.state is not State.STOPPED:
                await self.cell.restart(on_exit)
                return
            await self._system.install(self.cell)
            try:
                await self.cell.start(on_exit)
            except BaseException:
                await self.cell.end("start failed")
                raise
            self._started = True

    async def reset(self) -> None:
        """End the present instance; messages wait in the mailbox."""
        self.cell.suspend()
        await self.cell.retire_instance("restart", self._spec.shutdown_s)

    async def stop(self, reason: str, timeout_s: float) -> None:
        """Give up the address, drain, end."""
        await self._system.uninstall(self.cell)
        await self.cell.stop(reason, timeout_s)


class Service(Protocol):
    """A supervised part that is not an actor: a server process, a listener, a projector."""

    async def start(self) -> None:
        """Start; returns when it works."""
        ...

    async def wait(self) -> None:
        """Return when it ends normally; raise when it fails."""
        ...

    async def stop(self) -> None:
        """Stop it; ``wait`` then returns."""
        ...


class ServiceChild:
    """A service as a child."""

    def __init__(self, system: System, spec: ChildSpec) -> None:
        self._system = system
        self._spec = spec
        self.service: Service = spec.start(**(spec.arguments() if callable(spec.arguments) else spec.arguments))
        self._incarnation = 0

    async def start(self, on_exit: OnExit) -> None:
        """Start it and watch over it."""
        self._incarnation += 1
        with anyio.fail_after(self._spec.start_s):
            await self.service.start()
        self._system.start_soon(self._watch, on_exit, self._incarnation)

    async def _watch(self, on_exit: OnExit, incarnation: int) -> None:
        error: BaseException | None = None
        try:
            await self.service.wait()
        except Exception as failure:  # noqa: BLE001 - any failure of a service is its supervisor's business
            error = failure
        if incarnation == self._incarnation:
            on_exit(error)

    async def reset(self) -> None:
        """End what is left of it."""
        self._incarnation += 1
        with anyio.move_on_after(self._spec.shutdown_s, shield=True):
            await self.service.stop()

    async def stop(self, reason: str, timeout_s: float) -> None:  # noqa: ARG002 - services need no reason
        """Stop it within its bound."""
        self._incarnation += 1
        with anyio.move_on_after(timeout_s, shield=True):
            await self.service.stop()
