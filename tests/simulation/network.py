"""The in-memory bus with a network in between: deliveries and answers that are lost, late, doubled or reordered.

Routing, streams, compare-and-set and deduplication are those of ``chimera.bus.memory``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from chimera.bus import Delivery, MemoryBus, MemoryHub
from chimera.bus.contract import Appended, Handler, Stored, Subscription
from chimera.clock import Clock
from chimera.errors import BusDownError, ChimeraError, ConnectionLostError, DeadlineError
from tests.simulation.loop import Process

T = TypeVar("T")
_LATE_S, _SOON_S = 4.0, 0.02


@dataclass(slots=True)
class Weather:
    """How likely a message meets a fault; all zero once the faults have stopped."""

    drop: float = 0.0
    double: float = 0.0
    delay: float = 0.0
    lost_ack: float = 0.0
    refuse: float = 0.0

    def clear(self) -> None:
        """No faults any more."""
        self.drop = self.double = self.delay = self.lost_ack = self.refuse = 0.0


class Network:
    """The server's process, and the wires to it.

    Args:
        hub: Routes and stores.
        server: The process in which it does so.
        rng: Chooses the faults.
        weather: How many.
    """

    ignores_expectations = False

    def __init__(self, hub: MemoryHub, server: Process, rng: random.Random, weather: Weather) -> None:
        self.hub, self.server, self.rng, self.weather = hub, server, rng, weather
        self.up = True
        hub.faults = lambda _: self.passage()

    def passage(self) -> Sequence[float]:
        """The delays of the copies of one delivery."""
        rng, weather, dice = self.rng, self.weather, self.rng.random()
        if dice < weather.drop:
            return ()
        if dice < weather.drop + weather.delay:
            return (rng.uniform(0.0, _LATE_S),)
        if dice < weather.drop + weather.delay + weather.double:
            return (0.0, rng.uniform(0.0, _LATE_S))
        return (0.0,)

    def arrivals(self) -> Sequence[float]:
        """When the copies of a request to the server's own services arrive: its client repeats it."""
        rng, weather = self.rng, self.weather
        first = rng.uniform(0.0, _LATE_S if rng.random() < weather.delay else _SOON_S)
        if rng.random() < weather.refuse:
            return ()
        return (first, first + rng.uniform(0.0, _LATE_S)) if rng.random() < weather.double else (first,)

    def acknowledgement(self) -> float | None:
        """How long an answer of the server takes; ``None`` = it is lost."""
        rng, weather = self.rng, self.weather
        if rng.random() < weather.lost_ack:
            return None
        return rng.uniform(0.0, _LATE_S if rng.random() < weather.delay else _SOON_S)


class SimBus(MemoryBus):
    """A process's bus.

    Args:
        network: What it is connected to.
        clock: The process's.
        process: Handlers run in it.
    """

    def __init__(self, network: Network, clock: Clock, process: Process) -> None:
        super().__init__(network.hub, clock, name=process.name)  # a new life has a new name: an inbox of its own
        self._network, self._process = network, process
        self._open: dict[asyncio.Future[Any], None] = {}
        self.on_state(self._cut)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """As a bus does, with the handler in the right process."""

        def later(delivery: Delivery) -> None:
            self._process.call(handler, delivery)

        return await super().subscribe(subject, later, queue=queue)

    async def append(
        self, subject: str, data: bytes, *, msg_id: str, expected_last: int | None = None, timeout_s: float = 5.0
    ) -> Appended:
        """Store, unless the way there or the way back is disturbed."""
        network = self._network
        if network.ignores_expectations:
            expected_last = None

        def store() -> Appended:
            stream = network.hub.stream_of(subject)
            assert stream is not None
            return stream.append(subject, data, {"Nats-Msg-Id": msg_id}, msg_id, expected_last)

        return await self._call(store, timeout_s)

    async def append_group(
        self, messages: Sequence[tuple[str, bytes, int]], *, msg_id: str, timeout_s: float = 5.0
    ) -> list[Appended]:
        """As ``append``."""

        def store() -> list[Appended]:
            stream = self._network.hub.stream_of(messages[0][0])
            assert stream is not None
            return stream.append_group(messages, msg_id)

        return await self._call(store, timeout_s)

    async def last(self, stream: str, subject: str, *, timeout_s: float = 5.0) -> Stored | None:
        """As ``append``."""
        return await self._call(lambda: self._network.hub.streams[stream].last(subject), timeout_s)

    async def stream_state(self, stream: str) -> tuple[int, int, int]:
        """As ``append``."""
        return await self._call(self._network.hub.streams[stream].state, 5.0)

    async def purge(self, stream: str, *, before_seq: int) -> None:
        """As ``append``."""
        await self._call(lambda: self._network.hub.streams[stream].purge(before_seq), 5.0)

    def read(
        self, stream: str, *, start_seq: int = 1, subject: str = "", follow: bool = False, latest: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Stored]]:
        """Slowly, so that others write meanwhile."""
        return self._slow(super().read(stream, start_seq=start_seq, subject=subject, follow=follow, latest=latest))

    @asynccontextmanager
    async def _slow(
        self, source: AbstractAsyncContextManager[AsyncIterator[Stored]]
    ) -> AsyncGenerator[AsyncIterator[Stored]]:
        async with source as messages:
            yield self._one_by_one(messages)

    async def _one_by_one(self, messages: AsyncIterator[Stored]) -> AsyncGenerator[Stored]:
        rng, weather = self._network.rng, self._network.weather
        async for message in messages:
            if weather.delay and rng.random() < weather.delay:
                await asyncio.sleep(rng.uniform(0.0, _SOON_S))
            if weather.refuse and rng.random() < weather.refuse / 8:
                raise DeadlineError(f"{message.stream} stopped in the middle", stage="sent")
            yield message

    async def _call(self, work: Callable[[], T], timeout_s: float) -> T:
        network, process = self._network, self._process
        if not self.connected:
            raise BusDownError
        future: asyncio.Future[T] = process.loop.create_future()
        self._open[future] = None
        for delay in network.arrivals():
            network.server.call(self._serve, future, work, delay=delay)
        timer = process.call(_expire, future, delay=timeout_s)
        try:
            return await future
        finally:
            timer.cancel()
            self._open.pop(future, None)

    def _serve(self, future: asyncio.Future[T], work: Callable[[], T]) -> None:
        network = self._network
        if not network.up or (not self._process.dead and not self.connected):
            return
        try:
            answer: T | ChimeraError = work()
        except ChimeraError as error:
            answer = error
        delay = network.acknowledgement()
        if delay is not None:
            self._process.call(_answer, future, answer, delay=delay)

    def _cut(self, state: str) -> None:
        if state != "connected":
            for future in list(self._open):
                self._process.call(_lose, future)


def _expire(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(DeadlineError("the server did not answer in time", stage="sent"))


def _lose(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(ConnectionLostError("the connection was lost"))


def _answer(future: asyncio.Future[Any], answer: object) -> None:
    if future.done():
        return
    if isinstance(answer, ChimeraError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
