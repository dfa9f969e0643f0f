"""What a supervisor can run besides other supervisors: actors, and services of any kind."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import anyio

from .actor import Actor
from .errors import StartError
from .supervision import ChildSpec

if TYPE_CHECKING:
    from .system import System

OnExit = Callable[[BaseException | None], None]


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


@contextmanager
def _within(system: System, spec: ChildSpec) -> Generator[None]:
    with anyio.CancelScope() as scope:
        timer = system.clock.call_later(spec.start_s, scope.cancel)
        try:
            yield
        finally:
            timer.cancel()
    if scope.cancelled_caught:
        raise StartError(
            f"{spec.id} did not start within {spec.start_s:g} s", hint="allow more with start_s, or mend it"
        )


class ActorChild:
    """An actor as a child: the cell, with its address and mailbox, outlives its instances."""

    def __init__(self, system: System, spec: ChildSpec) -> None:
        kind: type[Actor] = spec.start
        self._system = system
        self._spec = spec
        self.cell = system.make_cell(kind, spec.arguments, key=spec.key, exposed=spec.exposed)
        self._installed = False

    async def start(self, on_exit: OnExit) -> None:
        """First start: take the address. Later: a new instance behind it.

        Raises:
            StartError: If it takes longer than ``start_s``.
            Exception: Whatever the address or ``on_start`` raises; ``stop`` or ``reset`` takes back what was done.
        """
        if self.cell.kind.on_start is Actor.on_start:  # the bus bounds its own waits; nothing else is waited for
            await self._start(on_exit)
            return
        with _within(self._system, self._spec):
            await self._start(on_exit)

    async def _start(self, on_exit: OnExit) -> None:
        if self._installed:
            await self.cell.restart(on_exit)
            return
        await self._system.install(self.cell)
        self._installed = True
        await self.cell.start(on_exit)

    async def reset(self) -> None:
        """End the present instance; messages wait in the mailbox."""
        await self.cell.reset("restart", self._spec.shutdown_s)

    async def stop(self, reason: str, timeout_s: float) -> None:
        """Give up the address, drain, end."""
        self._installed = False
        with anyio.CancelScope(shield=True):
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
        """Stop it, also if it has not (quite) started; ``wait`` then returns."""
        ...


class ServiceChild:
    """A service as a child."""

    def __init__(self, system: System, spec: ChildSpec) -> None:
        self._system = system
        self._spec = spec
        self.service: Service = spec.start(**(spec.arguments() if callable(spec.arguments) else spec.arguments))
        self._watching = anyio.CancelScope()

    async def start(self, on_exit: OnExit) -> None:
        """Start it and watch over it.

        Raises:
            StartError: If it takes longer than ``start_s``.
            Exception: Whatever its start raises.
        """
        with _within(self._system, self._spec):
            await self.service.start()
        scope = self._watching = anyio.CancelScope()
        self._system.start_soon(self._watch, scope, on_exit)

    async def _watch(self, scope: anyio.CancelScope, on_exit: OnExit) -> None:
        error: BaseException | None = None
        with scope:
            try:
                await self.service.wait()
            except Exception as failure:  # noqa: BLE001 - any failure of a service is its supervisor's business
                error = failure
        if not scope.cancel_called:
            on_exit(error)

    async def reset(self) -> None:
        """End what is left of it."""
        await self.stop("restart", self._spec.shutdown_s)

    async def stop(self, reason: str, timeout_s: float) -> None:  # noqa: ARG002 - services need no reason
        """Stop it within its bound."""
        self._watching.cancel()
        with self._system.patience.bound(timeout_s):
            await self.service.stop()
