"""A loaded guest as the runtime holds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio

from chimera.errors import TooLargeError, UnavailableError

from .abi import MAX_PAYLOAD_BYTES
from .contract import GuestFailure, GuestResult, GuestSpec, ModuleInfo
from .place import Place
from .residents import Residence


class SharedGuest:
    """One loaded guest behind any number of handles. Unloaded when the last handle closed and nothing runs."""

    def __init__(self, place: Place, order: Residence, info: ModuleInfo) -> None:
        self.place, self.order, self.info = place, order, info
        self.handles = 0
        self.calls = self.failures = 0
        self._running = 0
        self._quiet: anyio.Event | None = None

    async def run(
        self, task: str, payloads: Sequence[bytes], timeout_s: float | None
    ) -> list[GuestResult | GuestFailure]:
        """Run the payloads and count what came of them."""
        self._running += 1
        try:
            outcomes = await self.place.run(self.order, task, payloads, timeout_s)
        finally:
            self._running -= 1
            if self._running == 0 and self._quiet is not None:
                self._quiet.set()
                self._quiet = None
        self.calls += len(outcomes)
        self.failures += sum(1 for outcome in outcomes if type(outcome) is GuestFailure)
        return outcomes

    async def wait_quiet(self) -> None:
        """Wait until no task runs."""
        while self._running:
            self._quiet = self._quiet or anyio.Event()
            await self._quiet.wait()


class GuestHandle:
    """What ``load`` returns: see ``contract.Guest``."""

    def __init__(self, shared: SharedGuest, release: Callable[[SharedGuest], Awaitable[None]]) -> None:
        self._shared, self._release = shared, release
        self._closed = False
        shared.handles += 1

    @property
    def spec(self) -> GuestSpec:
        """What was loaded."""
        return self._shared.order.spec

    @property
    def info(self) -> ModuleInfo:
        """Its module."""
        return self._shared.info

    def ready(self) -> bool:
        """True if a ``run`` now would not wait for a worker."""
        return self._shared.place.is_free(self._shared.order.spec.agent)

    async def wait_ready(self) -> None:
        """Wait until a worker is free for this agent. Being woken is no promise: ``run`` still queues."""
        await self._shared.place.wait_free(self._shared.order.spec.agent)

    async def run(
        self, task: str, payloads: Sequence[bytes], *, timeout_s: float | None = None
    ) -> list[GuestResult | GuestFailure]:
        """Run each payload in turn on one worker; one outcome per payload, in order.

        Raises:
            DeadlineError: If ``timeout_s`` passed, with the stage ``queued`` or ``running``.
            OverloadedError: If too many calls wait for a worker.
            TooLargeError: If a payload is over 16 MiB.
            UnavailableError: If the guest or the sandbox is closed.
        """
        if self._closed:
            raise UnavailableError(f"this guest of {self.spec.agent} was closed")
        if task not in self.info.tasks:
            exists = ", ".join(self.info.tasks)
            return [GuestFailure("agent-contract", f"it has no task {task!r}; it has: {exists}", executed=False)] * len(
                payloads
            )
        for payload in payloads:
            if len(payload) > MAX_PAYLOAD_BYTES:
                raise TooLargeError(f"a payload of {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are taken")
        return await self._shared.run(task, payloads, timeout_s)

    async def close(self) -> None:
        """Unload it everywhere once running tasks ended."""
        if not self._closed:
            self._closed = True
            self._shared.handles -= 1
            await self._release(self._shared)
