"""A raid on the lending: brokers, nodes, holders and servers are killed and paused meanwhile, and it is judged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import msgspec

from actors.brokering.record import unpack
from actors.brokering.streams import DEVICE, DEVICES, USAGE
from chimera.bus.nats import NatsBus
from chimera.errors import ChimeraError
from chimera.wire import decode
from subjects.lease import USED, LeaseInterval
from tests.leasing.field import Field
from tests.support.nats_cluster import NatsCluster
from tests.support.nats_server import NatsServer

ROOT = Path(__file__).resolve().parents[2]
BROKERS, NODES, HOLDERS = ("b0", "b1"), ("n0", "n1"), ("h0", "h1")
SETTLE_S = 60.0
_FIRST_S, _DOWN_S = 3.0, (0.0, 0.3, 2.0)


@dataclass(slots=True)
class Result:
    """What came of a raid."""

    seed: int
    seen: Field
    blows: Counter[str] = field(default_factory=Counter[str])


class Raid:
    """Two brokers, two nodes, two processes of holders, one server or three.

    Args:
        seed: Decides the blows and what holders want.
        folder: Data and logs.
        seconds: How long it lasts.
        servers: 1, or 3 with everything stored on all of them.
        tell: Takes a line for people.
        mutation: A defect of brokers and nodes, by name.
    """

    def __init__(
        self, seed: int, folder: Path, seconds: float, servers: int, tell: Callable[[str], None], *, mutation: str = ""
    ) -> None:
        self._mutation = [mutation] if mutation else []
        self._seed, self._folder, self._seconds, self._tell = seed, folder, seconds, tell
        self._dice = random.Random(seed)  # noqa: S311 - a raid, no secret
        self._replicas = servers
        self._result = Result(seed, Field())
        self._socket = str(folder / "devices")
        if servers == 1:
            self._servers = [NatsServer(folder / "nats", jetstream="sync_interval: always")]
            self._urls = self._servers[0].url
        else:
            cluster = NatsCluster(folder / "nats", jetstream="sync_interval: always")
            self._servers, self._urls = cluster.servers, cluster.url
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._began = 0.0

    async def run(self) -> Result:
        """All of it; every process that was started has ended afterwards."""
        try:
            async with anyio.create_task_group() as group:
                await self._start(group.start_soon)
                await self._strike()
                await self._settle()
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._close)
        self._result.seen.sum_up()
        return self._result

    async def _start(self, start_soon: Callable[..., object]) -> None:
        async with anyio.create_task_group() as group:
            for server in self._servers:
                group.start_soon(anyio.to_thread.run_sync, server.start)
        start_soon(self._result.seen.serve, self._socket)
        for name in BROKERS + NODES:
            self._launch(name)
        start_soon(self._watch)
        await anyio.sleep(_FIRST_S)
        for name in HOLDERS:
            self._launch(name)
        self._began = anyio.current_time()

    def _launch(self, name: str) -> None:
        kind = {"b": "broker", "n": "node", "h": "holders"}[name[0]]
        left = max(1.0, self._seconds - (anyio.current_time() - self._began if self._began else 0.0))
        if kind == "holders":
            command = ["tests.leasing.holders", name, str(self._seed), self._urls, self._socket, str(left)]
        else:
            command = ["tests.leasing.hosts", kind, name, str(self._folder / name), self._urls, str(self._replicas)]
            command += self._mutation
        (self._folder / name).mkdir(exist_ok=True)
        with (self._folder / name / "log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    # -- what is seen --------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        bus = NatsBus(self._urls.split(","), name="judge", connect_timeout_s=30.0)
        async with bus, anyio.create_task_group() as group:
            group.start_soon(self._count_copies, bus)
            group.start_soon(self._follow, bus, DEVICES, f"{DEVICE}.>", self._see)
            group.start_soon(self._follow, bus, USAGE, USED, self._book)

    async def _count_copies(self, bus: NatsBus) -> None:
        """Every stream is kept on as many servers as there are."""
        for stream in (DEVICES, USAGE):
            copies = 0
            while not copies:
                with suppress(ChimeraError):
                    copies = (await bus.stream_holding(stream)).replicas
                await anyio.sleep(0.2)
            if copies != self._replicas:
                self._result.seen.broken.append(f"copies: {stream} has {copies} of {self._replicas}")

    async def _follow(self, bus: NatsBus, stream: str, subject: str, take: Callable[[bytes], None]) -> None:
        seen = 0
        while True:
            with suppress(ChimeraError):
                async with bus.read(stream, start_seq=seen + 1, subject=subject, follow=True) as messages:
                    async for message in messages:
                        seen = message.seq
                        take(message.data)
            await anyio.sleep(0.2)

    def _see(self, data: bytes) -> None:
        with suppress(msgspec.DecodeError):
            self._result.seen.see(unpack(data))

    def _book(self, data: bytes) -> None:
        self._result.seen.book(decode(data, LeaseInterval))

    # -- blows ---------------------------------------------------------------------------------------------------------

    async def _strike(self) -> None:
        while (at := anyio.current_time() - self._began) < self._seconds:
            await anyio.sleep(self._dice.uniform(0.4, 2.0))
            victim = self._dice.choice(["server", "server", "broker", "broker", "node", "holders", "holders", "worker"])
            act = self._dice.choice(["kill", "pause"])
            self._result.blows[f"{act} {victim}"] += 1
            self._tell(f"{at:6.1f} s  {act:<5}  {victim}")
            await self._blow(victim, act)
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)

    async def _blow(self, victim: str, act: str) -> None:
        hold_s = self._dice.uniform(1.2, 4.0) if act == "pause" else self._dice.choice(_DOWN_S)
        if victim == "server":
            await self._hit_server(self._dice.choice(self._servers), act, hold_s)
        elif victim == "worker":
            self._hit_worker(act)
        else:
            names = {"broker": BROKERS, "node": NODES, "holders": HOLDERS}[victim]
            await self._hit(self._dice.choice(names), act, hold_s)

    async def _hit_server(self, server: NatsServer, act: str, hold_s: float) -> None:
        if act == "pause":
            await anyio.to_thread.run_sync(server.pause)
            await anyio.sleep(min(hold_s, 2.5))
            server.resume()
        else:
            await anyio.to_thread.run_sync(server.kill)
            await anyio.sleep(hold_s)
            await anyio.to_thread.run_sync(server.start)

    async def _hit(self, name: str, act: str, hold_s: float) -> None:
        process = self._processes[name]
        if act == "pause":
            process.send_signal(signal.SIGSTOP)
            await anyio.sleep(hold_s)
            process.send_signal(signal.SIGCONT)
        else:
            process.kill()
            await anyio.to_thread.run_sync(process.wait)
            await anyio.sleep(hold_s)
            self._launch(name)

    def _hit_worker(self, act: str) -> None:
        pids = sorted({pid for users in self._result.seen.active.values() for pid in users})
        if pids:
            with suppress(ProcessLookupError):
                os.kill(self._dice.choice(pids), signal.SIGKILL if act == "kill" else signal.SIGSTOP)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Holders leave; whoever they left behind must be ended, and every lease must be over."""
        for name in HOLDERS:
            self._processes[name].kill()
        deadline = anyio.current_time() + SETTLE_S
        seen = self._result.seen
        while anyio.current_time() < deadline:
            await anyio.sleep(0.5)
            if seen.is_over and not any(seen.active.values()) and seen.grants.keys() <= seen.booked.keys():
                break
        if left := {device: users for device, users in seen.active.items() if users}:
            seen.broken.append(f"endless: workers still run: {left}")

    def _close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        for users in self._result.seen.active.values():
            for pid in users:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for server in self._servers:
            with suppress(ProcessLookupError, AssertionError):
                server.resume()
            server.kill()
