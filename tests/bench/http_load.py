"""A lean HTTP/1.1 load generator in its own process: keep-alive connections, one request in flight on each."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import cast

import anyio
import msgspec

from tests.bench.child import obey, run

_jobs = itertools.count()
_HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_BODY = b'{"job_id":"bench-%d","input":{"text":"I love this, it works great!"}}'
_ANSWER_S = 10.0


class Answered(msgspec.Struct):
    """What is looked at of an answer."""

    job_id: str


_read = msgspec.json.Decoder(Answered).decode


class Connection(asyncio.Protocol):
    """Sends, and gathers one answer at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._buffer = b""
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its bases

    def data_received(self, data: bytes) -> None:
        """Part of an answer; complete once it is as long as it says."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or self._answer is None:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._answer.set_exception(AssertionError(self._buffer.decode()))
        elif len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            self._answer.set_result(body)
        else:
            return
        self._buffer, self._answer = b"", None

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for an answer that can't come."""
        if self._answer is not None:
            self._answer.set_exception(exc or ConnectionError("closed before the answer"))

    async def post(self, body: bytes) -> bytes:
        """One answer's body."""
        self._answer = answer = asyncio.get_running_loop().create_future()
        self._transport.write(_HEAD % len(body) + body)
        return await answer

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


async def load(port: int, connections: int, seconds: float) -> dict[str, float]:
    """Requests per second; each answer must carry its own request's job_id."""
    loop, answered = asyncio.get_running_loop(), 0
    made = [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(connections)]

    async def caller(connection: Connection) -> None:
        nonlocal answered
        while time.perf_counter() < end:
            job = next(_jobs)
            reply = await connection.post(_BODY % job)
            if _read(reply).job_id != f"bench-{job}":
                raise AssertionError(f"bench-{job} was answered {reply.decode()}")
            answered += 1

    began = time.perf_counter()
    end = began + seconds
    with anyio.fail_after(seconds + _ANSWER_S):
        async with anyio.create_task_group() as group:
            for connection in made:
                group.start_soon(caller, connection)
    taken = time.perf_counter() - began
    for connection in made:
        connection.close()
    return {"answered": answered, "per_s": answered / taken}


async def main() -> None:
    """Obey."""
    await obey({"load": load})


if __name__ == "__main__":
    run(main)
