"""A durable task queue as one writes it by hand on JetStream: fetch 100, answer by core NATS (``URL asker|worker``)."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any

import anyio
import nats
from nats.aio.msg import Msg
from nats.js.api import RetentionPolicy

from tests.bench.child import load, obey, run

SIZE = 128
"""Bytes of a task's input and of its result."""

STREAM, SUBJECT, DURABLE = "HAND", "bench.hand", "hand"
KEPT = "bench.kept"
"""What nobody works at: to publish there is what a submit is held against."""

FETCH = 100
ANSWER_S = 30.0
_FETCH_S = 5.0


async def make_streams(client: Any) -> None:
    """The streams, stored in files; a task is gone once it is acknowledged."""
    streams = client.jetstream()
    await streams.add_stream(name=STREAM, subjects=[SUBJECT], retention=RetentionPolicy.WORK_QUEUE)
    await streams.add_stream(name=f"{STREAM}-KEPT", subjects=[KEPT])


async def work(client: Any) -> None:
    """Fetch, answer, acknowledge, for ever."""
    pulled = await client.jetstream().pull_subscribe(SUBJECT, durable=DURABLE, stream=STREAM)
    while True:
        with suppress(TimeoutError):  # nothing was there
            for message in await pulled.fetch(FETCH, timeout=_FETCH_S):
                inbox, _, body = message.data.partition(b"\n")
                await client.publish(inbox.decode(), body)
                await message.ack()


class Asker:
    """Publishes tasks, and waits for the stream's acknowledgement and for the result."""

    def __init__(self, client: Any) -> None:
        self._client, self._stream = client, client.jetstream()
        self._inbox = client.new_inbox()
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._count = 0

    async def open(self) -> None:
        """Listen for results."""

        async def take(message: Msg) -> None:
            self._waiting.pop(message.subject).set_result(message.data)

        await self._client.subscribe(f"{self._inbox}.*", cb=take)

    async def ask(self, payload: bytes) -> bytes:
        """One task, to its result."""
        self._count += 1
        reply = f"{self._inbox}.{self._count}"
        future = self._waiting[reply] = asyncio.get_running_loop().create_future()
        await self._stream.publish(SUBJECT, reply.encode() + b"\n" + payload)
        return await future

    async def submit(self, payload: bytes) -> bytes:
        """One task, to the stream's acknowledgement."""
        await self._stream.publish(KEPT, payload)
        return payload


async def main() -> None:
    """Connect, then obey."""
    url, role = sys.argv[1:]
    client: Any = await nats.connect(url)  # pyright: ignore[reportUnknownMemberType] - nats-py's
    await make_streams(client)
    asker = Asker(client)
    await asker.open()

    async def ask(concurrency: int, seconds: float) -> dict[str, Any]:
        with anyio.fail_after(seconds + ANSWER_S):
            return await load(asker.ask, SIZE, concurrency, seconds)

    async def submit(concurrency: int, seconds: float) -> dict[str, Any]:
        with anyio.fail_after(seconds + ANSWER_S):
            return await load(asker.submit, SIZE, concurrency, seconds)

    async with anyio.create_task_group() as group:
        if role == "worker":
            group.start_soon(work, client)
        await obey({"ask": ask, "submit": submit})
        group.cancel_scope.cancel()
    await client.close()


if __name__ == "__main__":
    run(main)
