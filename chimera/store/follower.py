"""One stream followed into the store, in order, for as long as the node runs."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from chimera.bus.contract import Bus, Stored
from chimera.clock import Clock
from chimera.errors import DeadlineError, NotFoundError, UnavailableError
from chimera.logs import EventName, Layer, event

from .contract import Store
from .projector import Regress, state_regress

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0
_LEAST_PAUSE_S = 0.02


class Projection(Protocol):
    """What a stream's messages become. Every method may be repeated."""

    @property
    def stream(self) -> str:
        """The stream."""
        ...

    async def save(self, messages: Sequence[Stored]) -> object:
        """Write what they say, and the last one's sequence as the stream's position, in one transaction."""
        ...

    async def went_back(self, found: Regress, generation: str) -> None:
        """The stream ends before what was projected: doubt what came after, and begin anew."""
        ...

    async def caught_up(self, first: int) -> None:
        """All is projected to the present end of a stream that begins at ``first``."""
        ...


@dataclass(slots=True)
class Follower:
    """Reads from the store's own position, first to the end, then as messages come.

    The position is written together with what it stands for, so each message counts once. While the store is away,
    what was read is held, and the stream holds the rest. It takes at most half of the time, so that a flood of messages
    delays the projection, not those who write them.

    Attributes:
        batch: Most messages of one transaction.
        resume: Finishes what an earlier rebuild left.
        saved: Messages saved since the start.
        retries: Steps that had to be repeated.
        regresses: Times the stream was found gone back.
    """

    bus: Bus
    store: Store
    projection: Projection
    clock: Clock
    rng: random.Random
    batch: int = 500
    resume: Callable[[], Awaitable[object]] | None = None
    saved: int = 0
    retries: int = 0
    regresses: list[Regress] = field(default_factory=list[Regress])

    async def run(self) -> None:
        """Run until cancelled."""
        back = [anyio.Event()]
        self.bus.on_state(lambda state: back[0].set() if state == "connected" else None)
        while True:
            back[0] = anyio.Event()
            await self._patiently(self.compare)
            if self.resume is not None:
                await self._patiently(self.resume)
            await self._patiently(self.catch_up)
            async with anyio.create_task_group() as group:
                group.start_soon(self._follow)
                await back[0].wait()
                group.cancel_scope.cancel()

    async def compare(self) -> Regress | None:
        """What was found if the stream ends before its high-water mark; it is stated, and all is read anew."""
        name = self.projection.stream
        high_water = await self.store.high_water(name)  # first: it grows while the stream is asked
        _, last, _ = await self.bus.stream_state(name)
        if last >= high_water:
            return None
        found = Regress(name, last, high_water)
        await self.projection.went_back(found, f"{self.clock.time():.6f}")
        self.regresses.append(found)
        state_regress(found)
        return found

    async def catch_up(self) -> None:
        """Project what is there."""
        name = self.projection.stream
        start = await self.store.position(name) + 1
        async with self.bus.read(name, start_seq=start) as messages:
            batch: list[Stored] = []
            async for message in messages:
                batch.append(message)
                if len(batch) >= self.batch:
                    await self._save(batch)
                    batch = []
            if batch:
                await self._save(batch)
        first, _, _ = await self.bus.stream_state(name)
        await self.projection.caught_up(first)

    async def _follow(self) -> None:
        start = await self._position() + 1
        send, receive = anyio.create_memory_object_stream[Stored](self.batch)
        async with send, receive, anyio.create_task_group() as group:  # whenever it is cancelled, both are closed
            group.start_soon(self._read, send, start)
            while True:
                batch = [await receive.receive(), *_waiting(receive, self.batch - 1)]
                await self._patiently(lambda found=batch: self._save(found))

    async def _read(self, send: MemoryObjectSendStream[Stored], start: int) -> None:
        async with send, self.bus.read(self.projection.stream, start_seq=start, follow=True) as messages:
            async for message in messages:
                await send.send(message)

    async def _position(self) -> int:
        found: list[int] = []

        async def ask() -> None:
            found.append(await self.store.position(self.projection.stream))

        await self._patiently(ask)
        return found[-1]

    async def _save(self, batch: Sequence[Stored]) -> None:
        began = self.clock.monotonic()
        await self.projection.save(batch)
        self.saved += len(batch)
        await self.clock.sleep(max(_LEAST_PAUSE_S, self.clock.monotonic() - began))

    async def _patiently(self, step: Callable[[], Awaitable[object]]) -> None:
        """Do ``step`` until it works, with growing pauses."""
        wait = _FIRST_WAIT_S
        while True:
            try:
                await step()
            except (UnavailableError, DeadlineError, NotFoundError) as error:
                self.retries += 1
                event(EventName.DATABASE_CONNECTION, Layer.STORE, error.detail, level="warning", retry_in_s=wait)
            else:
                return
            await self.clock.sleep(wait * (1.0 - 0.2 * self.rng.random()))
            wait = min(wait * 2, _LONGEST_WAIT_S)


def _waiting(receive: MemoryObjectReceiveStream[Stored], most: int) -> list[Stored]:
    """What is there already."""
    found: list[Stored] = []
    while len(found) < most:
        try:
            found.append(receive.receive_nowait())
        except anyio.WouldBlock:
            break
    return found
