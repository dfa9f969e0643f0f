"""A bare sandbox in a process: round trips to a guest, beside one to the cheapest possible other process."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chimera.clock import SystemClock
from chimera.sandbox import Guest, GuestResult, GuestSpec, SandboxSettings, create_sandbox
from edge.guests import shipped_guest
from tests.bench.child import obey, run
from tests.bench.figures import median

PAYLOAD = b'{"text":"%s"}' % (b"x" * 240)
_ECHO = """import socket, sys
s = socket.socket(fileno=int(sys.argv[1]))
while d := s.recv(65536):
    s.sendall(d)"""


class Floor(asyncio.Protocol):
    """A socket pair to a Python process that echoes."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-c", _ECHO, str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        ours.setblocking(False)
        self._socket = ours
        self._answer: asyncio.Future[bytes]
        self._transport: asyncio.WriteTransport

    async def open(self) -> None:
        """Connect our end."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_unix_connection(lambda: self, sock=self._socket)

    def data_received(self, data: bytes) -> None:
        """The echo came back."""
        self._answer.set_result(data)

    async def call(self) -> None:
        """There and back."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(PAYLOAD)
        if await self._answer != PAYLOAD:
            raise AssertionError("the echo is not what was sent")

    def close(self) -> None:
        """End the peer."""
        self._transport.abort()
        self._process.kill()
        self._process.wait()


async def time_floor(floor: Floor, calls: int) -> dict[str, float]:
    """Median round trip."""
    took: list[float] = []
    for _ in range(calls):
        began = time.perf_counter()
        await floor.call()
        took.append(time.perf_counter() - began)
    return {"trip_us": median(took) * 1e6}


async def time_guest(guest: Guest, calls: int) -> dict[str, float]:
    """Medians of what the guest took, and of what came on top."""
    runs: list[float] = []
    above: list[float] = []
    for _ in range(calls):
        began = time.perf_counter()
        (outcome,) = await guest.run("echo", [PAYLOAD])
        took = time.perf_counter() - began
        if not isinstance(outcome, GuestResult) or outcome.output != PAYLOAD:
            raise AssertionError(f"the guest answered {outcome}")
        runs.append(outcome.run_s)
        above.append(took - outcome.run_s)
    return {"above_us": median(above) * 1e6, "run_us": median(runs) * 1e6}


async def main() -> None:
    """Load the echo guest, then obey."""
    floor = Floor()
    await floor.open()
    with tempfile.TemporaryDirectory() as folder:
        async with create_sandbox(SandboxSettings(Path(folder), workers=2), SystemClock()) as sandbox:
            info = await sandbox.check(shipped_guest("echo").module)
            fresh = await sandbox.load(GuestSpec("fresh", info.digest))
            reused = await sandbox.load(GuestSpec("reused", info.digest, reuse=1_000_000))
            guests = {"fresh": fresh, "reused": reused}

            async def trip(way: str, calls: int) -> dict[str, float]:
                return await (time_floor(floor, calls) if way == "floor" else time_guest(guests[way], calls))

            await obey({"trip": trip})
    floor.close()


if __name__ == "__main__":
    run(main)
