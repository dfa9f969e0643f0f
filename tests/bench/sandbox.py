"""What a task costs beyond the guest itself: one payload through a worker process, beside a bare socket echo.

Run it: ``python -m tests.bench.sandbox`` or ``python tests/bench/sandbox.py``. The cases take turns in one run, so that
the machine's other load meets all alike.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import wasmtime

from chimera.clock import SystemClock
from chimera.sandbox import Guest, GuestResult, GuestSpec, SandboxSettings, create_sandbox

ROUNDS, CALLS, SIZE, BATCH = 10, 200, 251, 500
TARGET_US = 60.0
ECHO = """(module (memory (export "memory") 2) (global $top (mut i32) (i32.const 4096))
  (func (export "chimera_alloc") (param $n i32) (result i32)
    (global.set $top (i32.add (global.get $top) (local.get $n))) (i32.sub (global.get $top) (local.get $n)))
  (func (export "predict") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"""
PEER = """import socket, sys
s = socket.socket(fileno=int(sys.argv[1]))
while d := s.recv(65536):
    s.sendall(d)"""


class Floor(asyncio.Protocol):
    """The cheapest possible round trip to another Python process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        arguments = [sys.executable, "-c", PEER, str(theirs.fileno())]
        self.process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()])
        theirs.close()
        ours.setblocking(False)
        self.socket = ours
        self.answer: asyncio.Future[bytes]

    async def connect(self) -> None:
        """Open our end."""
        transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=self.socket)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """The echo came back."""
        self.answer.set_result(data)

    async def call(self) -> None:
        """There and back."""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(b"x" * SIZE)
        await self.answer

    def close(self) -> None:
        """End the peer."""
        self.transport.abort()
        self.process.kill()
        self.process.wait()


async def time_guest(guest: Guest, samples: dict[str, list[float]], name: str) -> None:
    """Round trips and what of them was not the guest's own time."""
    for _ in range(CALLS):
        began = time.perf_counter()
        (outcome,) = await guest.run("predict", [b"x" * SIZE])
        took = time.perf_counter() - began
        assert isinstance(outcome, GuestResult)
        samples.setdefault(f"{name}: round trip", []).append(took)
        samples.setdefault(f"{name}: in the guest", []).append(outcome.run_s)
        samples.setdefault(f"{name}: above the guest", []).append(took - outcome.run_s)


async def measure() -> dict[str, float]:
    """Medians in microseconds."""
    samples: dict[str, list[float]] = {}
    floor = Floor()
    await floor.connect()
    with tempfile.TemporaryDirectory() as folder:
        async with create_sandbox(SandboxSettings(Path(folder), workers=2), SystemClock()) as sandbox:
            info = await sandbox.check(bytes(wasmtime.wat2wasm(ECHO)))
            fresh = await sandbox.load(GuestSpec("fresh", info.digest))
            reused = await sandbox.load(GuestSpec("reused", info.digest, reuse=1_000_000))
            for _ in range(ROUNDS):
                for _ in range(CALLS):
                    began = time.perf_counter()
                    await floor.call()
                    samples.setdefault("bare socket echo", []).append(time.perf_counter() - began)
                await time_guest(fresh, samples, "fresh")
                await time_guest(reused, samples, "reused")
                began = time.perf_counter()
                await fresh.run("predict", [b"x" * SIZE] * BATCH)
                samples.setdefault("fresh: per task in a batch", []).append((time.perf_counter() - began) / BATCH)
    floor.close()
    return {name: statistics.median(values) * 1e6 for name, values in samples.items()}


def main() -> None:
    """Print the medians, the target and the machine's load."""
    medians = asyncio.run(measure())
    for name, value in medians.items():
        print(f"{name:32} {value:8.1f} us")
    above = medians["fresh: above the guest"]
    met = "met" if above <= TARGET_US else "missed"
    print(f"target: at most {TARGET_US:.0f} us above the guest: {above:.1f} us, {met}; load {os.getloadavg()[0]:.1f}")
    print(json.dumps({"bench": "sandbox", "median_us": medians, "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
