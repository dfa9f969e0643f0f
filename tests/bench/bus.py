"""Request/reply and publishing over NATS: our bus beside raw nats-py, interleaved in one run, as ratios.

    python -m tests.bench.bus [seconds per round] [rounds]

Caller and answerer are one process on one loop, so CPU is that of both ends. Prints JSON last.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
from nats.aio.msg import Msg

from chimera.bus import Delivery
from chimera.bus.nats import NatsBus
from tests.support.nats_server import NatsServer

PAYLOAD = b"x" * 128
Ask = Callable[[], Awaitable[Any]]


async def measure(ask: Ask, concurrency: int, seconds: float) -> tuple[float, float, float]:
    """(requests per second, CPU microseconds per request, median latency in microseconds)."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def loop() -> None:
        while (began := time.perf_counter()) < end:
            await ask()
            latencies.append(time.perf_counter() - began)

    cpu, began = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(loop())
    took, used, count = time.perf_counter() - began, time.process_time() - cpu, len(latencies)
    return count / took, used / count * 1e6, statistics.median(latencies) * 1e6


async def compare(url: str, seconds: float, rounds: int) -> dict[str, Any]:
    """Both clients at several concurrencies."""
    raw = await nats.connect(url)  # pyright: ignore[reportUnknownMemberType] - untyped options in nats-py

    async def answer(message: Msg) -> None:
        await raw.publish(message.reply, message.data)

    await raw.subscribe("raw.echo", cb=answer)  # pyright: ignore[reportUnknownMemberType] - a bare Future in nats-py
    result: dict[str, Any] = {"load": os.getloadavg()[0]}
    async with NatsBus(url, name="bench") as bus, asyncio.TaskGroup() as group:
        inbox: asyncio.Queue[Delivery] = asyncio.Queue()
        await bus.subscribe("bus.echo", inbox.put_nowait)

        async def serve() -> None:
            while True:
                delivery = await inbox.get()
                await bus.publish(delivery.reply, delivery.data)

        server = group.create_task(serve())
        ways: dict[str, Ask] = {
            "raw": lambda: raw.request("raw.echo", PAYLOAD, timeout=5),
            "bus": lambda: bus.request("bus.echo", PAYLOAD, timeout_s=5),
        }
        for concurrency in (1, 64, 256):
            runs: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
            for _ in range(rounds):
                for way, ask in ways.items():
                    runs[way].append(await measure(ask, concurrency, seconds))
            result[f"c{concurrency}"] = ratios(runs["raw"], runs["bus"])
        server.cancel()
    await raw.close()
    return result


def ratios(raw: list[tuple[float, float, float]], ours: list[tuple[float, float, float]]) -> dict[str, float]:
    """Medians of both, and ours over raw."""
    names = ("per_s", "cpu_us", "p50_us")
    pairs = [
        (statistics.median(run[index] for run in raw), statistics.median(run[index] for run in ours))
        for index in range(len(names))
    ]
    found = {f"raw_{name}": round(pair[0], 1) for name, pair in zip(names, pairs, strict=True)}
    found |= {f"bus_{name}": round(pair[1], 1) for name, pair in zip(names, pairs, strict=True)}
    return found | {f"x_{name}": round(pair[1] / pair[0], 3) for name, pair in zip(names, pairs, strict=True)}


def main() -> None:
    """Run it on a server of its own, under uvloop where there is one."""
    seconds, rounds = float((*sys.argv, "1")[1]), int((*sys.argv, "1", "5")[2] if len(sys.argv) > 2 else 5)
    with tempfile.TemporaryDirectory() as folder:
        server = NatsServer(Path(folder))
        server.start()
        try:
            import uvloop

            result = uvloop.run(compare(server.url, seconds, rounds))
        finally:
            server.kill()
    for name, row in result.items():
        print(name, row)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
