"""Requests per second of the bridge's /predict against a bare starlette endpoint that echoes JSON, interleaved.

Run: python tests/bench/http_bridge.py [rounds]. Prints ratios and the machine's load, and one JSON line at the end.
Both are served by uvicorn with httptools and uvloop from one child process each; the client is raw keep-alive sockets.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CONNECTIONS = 16
SECONDS = 2.0
BODY = b'{"job_id":"health-check","input":{"text":"I love this, it works great!"}}'


async def serve_bare(port: int) -> None:
    """A bare starlette application that decodes a JSON body and sends it back."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def echo(request: Request) -> JSONResponse:
        return JSONResponse(await request.json())

    app = Starlette(routes=[Route("/predict", echo, methods=["POST"])])
    config = uvicorn.Config(app, port=port, log_config=None, access_log=False, lifespan="off")
    await uvicorn.Server(config).serve()


async def serve_bridge(port: int) -> None:
    """The bridge with a caller that answers at once, so that only the bridge is measured."""
    import anyio

    from chimera import SystemClock
    from chimera.http import Bridge, BridgeSettings
    from chimera.metrics import Metrics
    from subjects import Port
    from subjects.agent import Prediction, Timings

    class Echo:
        async def ask(self, message: Any, *, timeout_s: float | None = None, trace: str = "") -> Any:  # noqa: ARG002 - the contract
            timings = Timings(queue_ms=0.0, run_ms=0.0, total_ms=0.0)
            return Prediction(
                job_id=message.job_id, agent="sentiment", release=1, output=message.input, timings=timings, node="bench"
            )

    class Ready:
        async def readiness(self) -> dict[str, str]:
            return {"bus": "ok"}

        def node(self) -> str:
            return "bench"

        def is_ready(self) -> bool:
            return True

    with tempfile.TemporaryDirectory() as folder:
        settings = BridgeSettings(ports={Port.AGENT: port}, data=Path(folder))
        bridge = Bridge(Echo(), Ready(), settings, metrics=Metrics(), clock=SystemClock())
        async with anyio.create_task_group() as tasks:
            await bridge.start()
            tasks.start_soon(bridge.wait)


async def load(port: int, seconds: float) -> float:
    """Requests per second over keep-alive connections."""
    request = b"POST /predict HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/json\r\n" % port
    request += b"Accept: */*\r\nUser-Agent: bench\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    end = time.perf_counter() + seconds

    async def client() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while time.perf_counter() < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            count += 1
        writer.close()
        return count

    return sum(await asyncio.gather(*(client() for _ in range(CONNECTIONS)))) / seconds


def start(kind: str, port: int) -> subprocess.Popen[bytes]:
    """One server in its own process."""
    return subprocess.Popen([sys.executable, __file__, "serve", kind, str(port)])


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(rounds: int) -> None:
    """Interleave both servers and print medians."""
    servers = {"bare": (start("bare", 18_971), 18_971), "bridge": (start("bridge", 18_972), 18_972)}
    rates: dict[str, list[float]] = {"bare": [], "bridge": []}
    cpus: dict[str, list[float]] = {"bare": [], "bridge": []}
    try:
        time.sleep(3)
        for _ in range(rounds):
            for kind, (process, port) in servers.items():
                before = cpu_seconds(process.pid)
                rate = asyncio.run(load(port, SECONDS))
                rates[kind].append(rate)
                cpus[kind].append((cpu_seconds(process.pid) - before) / (rate * SECONDS) * 1e6)
    finally:
        for process, _ in servers.values():
            process.terminate()
            process.wait()
    middle = {kind: statistics.median(values) for kind, values in rates.items()}
    cpu = {kind: statistics.median(values) for kind, values in cpus.items()}
    ratio, cpu_ratio = middle["bridge"] / middle["bare"], cpu["bridge"] / cpu["bare"]
    for kind, rate in middle.items():
        print(f"{kind:>7}: {rate:8.0f} requests/s  {cpu[kind]:6.1f} us CPU a request")
    print(f"bridge/bare: {ratio:.2f}x requests/s (target 0.6), {cpu_ratio:.2f}x CPU; load {os.getloadavg()[0]:.1f}")
    print(json.dumps({"rates": middle, "cpu_us": cpu, "ratio": ratio, "cpu_ratio": cpu_ratio, "load": os.getloadavg()}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        import uvloop

        sys.path.insert(0, str(Path(__file__).parents[2]))
        serve = {"bare": serve_bare, "bridge": serve_bridge}[sys.argv[2]]
        uvloop.run(serve(int(sys.argv[3])))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
