"""Processes that take part in a benchmark: one JSON command a line in, one JSON answer a line out."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import anyio
import uvloop

END_S = 20.0
Handlers = Mapping[str, Callable[..., Awaitable[Mapping[str, Any] | None]]]


class Child:
    """``python -m tests.bench.MODULE ARGUMENTS``; ends with the ``with`` block.

    Args:
        python: Another interpreter than this one, for a peer that can't live beside us.

    Raises:
        RuntimeError: From any call, if it failed in there.
    """

    def __init__(self, module: str, *arguments: str, python: str = sys.executable) -> None:
        command = [python, "-m", f"tests.bench.{module}", *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def call(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Have it done, and wait for the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the benchmark ended at {command!r}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{command!r} failed in a process of the benchmark:\n{answer['error']}")
        return answer


async def obey(handlers: Handlers) -> None:
    """In the child: do what the lines on standard input say, until they end. ``cpu`` is always understood."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    known: Handlers = {"cpu": _cpu, **handlers}
    while line := await reader.readline():
        arguments: dict[str, Any] = json.loads(line)
        try:
            answer = await known[arguments.pop("command")](**arguments)
        except Exception:  # noqa: BLE001 - the parent raises it
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer or {}), flush=True)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a child's main function on uvloop, as ``chimera run`` does."""

    async def entered() -> None:
        await main()

    uvloop.run(entered())


async def _cpu() -> dict[str, float]:
    return {"cpu_s": time.process_time()}


async def load(ask: Callable[[bytes], Awaitable[bytes]], size: int, concurrency: int, seconds: float) -> dict[str, Any]:
    """``concurrency`` callers, each asking again as soon as it is answered.

    Every payload carries its own number. A reply that is not its own request raises, and so does one that never comes.

    Returns:
        ``asked``, ``per_s``, ``p50_us``, and ``cpu_s`` of this process.
    """
    took: list[float] = []
    pad = b"x" * (size - 8)
    asked = 0
    now = time.perf_counter

    async def caller() -> None:
        nonlocal asked
        while (began := now()) < end:
            asked += 1
            payload = asked.to_bytes(8, "big") + pad
            reply = await ask(payload)
            if reply != payload:
                raise AssertionError(f"asked {payload[:8].hex()}, answered {reply[:8].hex()}")
            took.append(now() - began)

    cpu, began = time.process_time(), now()
    end = began + seconds
    async with anyio.create_task_group() as group:
        for _ in range(concurrency):
            group.start_soon(caller)
    seconds = now() - began
    assert len(took) == asked
    took.sort()
    return {
        "asked": asked, "per_s": asked / seconds, "p50_us": took[asked // 2] * 1e6,
        "cpu_s": time.process_time() - cpu,
    }  # fmt: skip
