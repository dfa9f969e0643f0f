"""``python -m tests.leasing.holders NAME SEED URLS SOCKET SECONDS``: clients that lease, work, give back or vanish."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio

from chimera.bus.nats import NatsBus
from chimera.devices.processes import LEASE_VARIABLE
from chimera.devices.tenure import Tenure, boot_time
from chimera.errors import ChimeraError, NotFoundError
from chimera.system import System
from subjects.gpu_node import Admit
from subjects.lease import Allocate, GiveBack, Grant, Lease, Need, Renew

CLIENTS = 6
WORKER = Path(__file__).with_name("worker.py")


class Client:
    """One client: lease after lease.

    Args:
        system: Asks.
        name: Unlike any other's.
        dice: Decides what it wants and how it behaves.
        socket: Where its workers say what they use.
    """

    def __init__(self, system: System, name: str, dice: random.Random, socket: str) -> None:
        self._system, self._name, self._dice, self._socket = system, name, dice, socket
        self._count = 0

    async def run(self, until: float) -> None:
        """Lease after lease."""
        while boot_time() < until:
            self._count += 1
            await self._once(f"{self._name}-{os.getpid()}-{self._count}")
            await anyio.sleep(self._dice.uniform(0.0, 0.3))

    async def _once(self, lease_id: str) -> None:
        dice = self._dice
        need = Need(
            devices=dice.choice((1, 1, 1, 2, 3)), milli=dice.choice((1000, 1000, 500)), one_node=False
        )  # fmt: skip
        need = need if need.milli == 1000 else Need(milli=500)
        request = Allocate(id=lease_id, need=need, ttl_s=dice.choice((2.0, 3.0)), wait_s=5.0)
        asked_at = boot_time()
        try:
            lease = await self._system.ask(request, timeout_s=8.0)
        except ChimeraError:
            await anyio.sleep(0.2)
            return  # if it was granted all the same, it must end by itself
        if lease.state == "granted":
            await self._hold(lease, Tenure(lease.ttl_s, asked_at))

    async def _hold(self, lease: Lease, tenure: Tenure) -> None:
        workers: list[subprocess.Popen[bytes]] = []
        try:
            for node in sorted({grant.node for grant in lease.grants}):
                worker = await self._start(lease, node)
                if worker is None:
                    return
                workers.append(worker)
            vanishes = await self._work(lease, tenure, workers)
            if vanishes:
                return
        finally:
            for worker in workers:
                if tenure.is_over(boot_time()) or self._dice.random() < 0.8:
                    with suppress(ProcessLookupError):
                        os.killpg(worker.pid, signal.SIGKILL)
        with suppress(ChimeraError):
            await self._system.ask(GiveBack(id=lease.id, token=lease.token), timeout_s=3.0)

    async def _start(self, lease: Lease, node: str) -> subprocess.Popen[bytes] | None:
        """A worker on a node, let in by its fence; ``None`` if it was not."""
        grants = [grant for grant in lease.grants if grant.node == node]
        if not await self._admitted(lease, node, 0):
            return None
        manners = "deaf" if self._dice.random() < 0.3 else "docile"
        command = [sys.executable, "-S", str(WORKER), self._socket, _words(lease, grants), manners]
        worker = subprocess.Popen(  # noqa: ASYNC220 - a millisecond
            command, stdin=subprocess.PIPE, start_new_session=True, env={**os.environ, LEASE_VARIABLE: lease.id}
        )  # fmt: skip
        if not await self._admitted(lease, node, worker.pid) or worker.stdin is None:
            worker.kill()
            return None
        with suppress(BrokenPipeError):
            worker.stdin.write(b"go\n")
            worker.stdin.flush()
        return worker

    async def _work(self, lease: Lease, tenure: Tenure, workers: list[subprocess.Popen[bytes]]) -> bool:
        """Work and renew; true if it leaves everything as it is."""
        until = boot_time() + self._dice.uniform(0.2, 4.0)
        while boot_time() < until and not tenure.is_over(boot_time()):
            await anyio.sleep(0.1)
            if any(worker.poll() is not None for worker in workers):
                return False
            if boot_time() >= tenure.renew_at:
                await self._renew(lease, tenure)
        return self._dice.random() < 0.25

    async def _renew(self, lease: Lease, tenure: Tenure) -> None:
        sent_at = boot_time()
        with suppress(ChimeraError):
            answer = await self._system.ask(Renew(id=lease.id, token=lease.token), timeout_s=1.0)
            tenure.renewed(sent_at, answer.ttl_s)

    async def _admitted(self, lease: Lease, node: str, pid: int) -> bool:
        for _ in range(5):
            try:
                await self._system.ask(Admit(lease=lease.id, token=lease.token, node=node, pid=pid), timeout_s=1.0)
            except NotFoundError:
                return False
            except ChimeraError:
                await anyio.sleep(0.1)
                continue
            return True
        return False


def _words(lease: Lease, grants: list[Grant]) -> str:
    """What a worker says of itself."""
    return " ".join([lease.id, *(f"{grant.device}:{grant.token}:{grant.milli}" for grant in grants)])


async def run(name: str, seed: int, urls: str, socket: str, seconds: float) -> None:
    """All clients of this process."""
    until = boot_time() + seconds
    bus = NatsBus(urls.split(","), name=name, connect_timeout_s=30.0)
    async with bus, System(bus, node=name) as system, anyio.create_task_group() as group:
        for number in range(CLIENTS):
            dice = random.Random(f"{seed}.{name}.{number}")  # noqa: S311 - a load, no secret
            group.start_soon(Client(system, f"{name}{number}", dice, socket).run, until)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    anyio.run(run, sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], float(sys.argv[5]))
