"""One end of an ask over NATS, in its own process: raw nats-py or a system's actor (``raw|ours URL``)."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import nats
from nats.aio.msg import Msg

from chimera import Actor, Command, Request, System, handles
from chimera.bus.nats import NatsBus
from tests.bench.child import load, obey, run

SIZE = 128
"""Bytes of a payload."""

RAW_ASK, RAW_TELL = "bench.raw.ask", "bench.raw.tell"
_ARRIVAL_S = 30.0


class Echo(Request[bytes], frozen=True):
    """Say it back."""

    body: bytes


class Note(Command, frozen=True):
    """Count it."""

    body: bytes


class Tally:
    """What arrived of what was told, and when the last of it did."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0
        self.last = 0.0

    def take(self, body: bytes) -> None:
        """One more."""
        self.count += 1
        self.sum += int.from_bytes(body[:8], "big")
        self.last = time.perf_counter()


class Answerer(Actor, mailbox=100_000):
    """Echoes and counts."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    @handles
    async def echo(self, message: Echo) -> bytes:
        """Say it back."""
        return message.body

    @handles
    async def note(self, message: Note) -> None:
        """Count it."""
        self._tally.take(message.body)


class Peer:
    """Asks or answers; ``answer`` makes it the answering one."""

    def __init__(self) -> None:
        self.ask: Callable[[bytes], Awaitable[bytes]]
        self.tell: Callable[[bytes], Awaitable[None]]
        self.flush: Callable[[], Awaitable[Any]]
        self.answer: Callable[[], Awaitable[None]]
        self.tally = Tally()

    async def open_raw(self, url: str, stack: AsyncExitStack) -> None:
        """nats-py as its documentation shows it."""
        client = await nats.connect(url)  # pyright: ignore[reportUnknownMemberType] - untyped options in nats-py
        stack.push_async_callback(client.close)

        async def ask(payload: bytes) -> bytes:
            return (await client.request(RAW_ASK, payload, timeout=5)).data

        async def respond(message: Msg) -> None:
            await message.respond(message.data)

        async def count(message: Msg) -> None:
            self.tally.take(message.data)

        async def answer() -> None:
            await client.subscribe(RAW_ASK, cb=respond)  # pyright: ignore[reportUnknownMemberType] - a bare Future in nats-py
            await client.subscribe(RAW_TELL, cb=count)  # pyright: ignore[reportUnknownMemberType] - the same
            await client.flush()

        self.ask, self.answer, self.flush = ask, answer, client.flush
        self.tell = lambda payload: client.publish(RAW_TELL, payload)

    async def open_ours(self, url: str, stack: AsyncExitStack, node: str) -> None:
        """A system that asks an actor on another node: typed, with a deadline, supervised."""
        bus = await stack.enter_async_context(NatsBus(url, name=node))
        system = await stack.enter_async_context(System(bus, node=node))
        ref = system.ref(Answerer.actor_name)

        async def answer() -> None:
            await system.spawn(Answerer, tally=self.tally)
            await bus.flush()

        self.ask = lambda payload: ref.ask(Echo(payload), timeout_s=5.0)
        self.tell = lambda payload: ref.tell(Note(payload))
        self.answer, self.flush = answer, bus.flush

    async def do_answer(self) -> None:
        """Begin to answer."""
        await self.answer()

    async def do_ask(self, concurrency: int, seconds: float) -> dict[str, Any]:
        """Ask for some seconds."""
        return await load(self.ask, SIZE, concurrency, seconds)

    async def do_tell(self, count: int) -> dict[str, float]:
        """Tell so many, and see them off to the server."""
        pad, began, cpu = b"x" * (SIZE - 8), time.perf_counter(), time.process_time()
        for number in range(1, count + 1):
            await self.tell(number.to_bytes(8, "big") + pad)
        await self.flush()
        return {"began": began, "cpu_s": time.process_time() - cpu}

    async def do_told(self, count: int) -> dict[str, float]:
        """Wait until so many have arrived, each once; when the last one did."""
        with anyio.fail_after(_ARRIVAL_S):
            while self.tally.count < count:  # noqa: ASYNC110 - an event per message would be measured, too
                await anyio.sleep(0.005)
        told, self.tally.count, total, self.tally.sum = self.tally.count, 0, self.tally.sum, 0
        if (told, total) != (count, count * (count + 1) // 2):
            raise AssertionError(f"{count} were told, {told} arrived, their numbers add up to {total}")
        return {"last": self.tally.last}


async def main() -> None:
    """Connect, then obey."""
    way, url, node = sys.argv[1:4]
    peer = Peer()
    async with AsyncExitStack() as stack:
        await (peer.open_raw(url, stack) if way == "raw" else peer.open_ours(url, stack, node))
        await obey({"answer": peer.do_answer, "ask": peer.do_ask, "tell": peer.do_tell, "told": peer.do_told})


if __name__ == "__main__":
    run(main)
