"""The machines of a simulated world: GPUs, processes that hold memory of them, and how reluctantly they let go.

The project's own ``chimera.devices.processes`` runs on it: what it asks the kernel is answered from here.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import anyio
import anyio.lowlevel

from chimera.clock import Clock
from chimera.devices import processes
from chimera.devices.binding import Sample
from chimera.devices.memory_backend import MemoryBackend
from chimera.devices.processes import Process

GPU_MIB = 16_384


@dataclass(frozen=True, slots=True)
class Manners:
    """How a process ends.

    Attributes:
        obeys_s: Seconds from SIGTERM to its end; negative = never.
        dies_s: Seconds from SIGKILL to its end: a process in the kernel's hands ends late.
        lingers_s: Seconds for which its memory is still counted after its end.
    """

    obeys_s: float = 0.1
    dies_s: float = 0.0
    lingers_s: float = 0.0


DOCILE = Manners()


@dataclass(slots=True)
class Work:
    """A process on a machine.

    Attributes:
        lease: What its environment says; empty = it came without a lease.
        holds: Memory of devices in MiB, by UUID.
    """

    pid: int
    node: str
    lease: str
    holds: dict[str, int]
    manners: Manners
    alive: bool = True


@dataclass(slots=True)
class Floor:
    """All machines.

    Attributes:
        later: Calls something after so many virtual seconds, whatever else dies.
        here: Name of the machine on which the code that runs now runs.
        backends: What each machine's GPUs tell.
    """

    later: Callable[[float, Callable[[], None]], None]
    here: Callable[[], str]
    backends: dict[str, MemoryBackend] = field(default_factory=dict[str, MemoryBackend])
    works: dict[int, Work] = field(default_factory=dict[int, Work])
    gone: list[Work] = field(default_factory=list[Work])
    _pids: Any = field(default_factory=lambda: itertools.count(100))

    def install(self, node: str, gpus: int, clock: Clock) -> None:
        """Put up a machine."""
        samples = [
            Sample(uuid=f"GPU-{node}-{number}", model="Simulated 16", memory_mib=GPU_MIB, memory_used_mib=0)
            for number in range(gpus)
        ]
        self.backends[node] = MemoryBackend(clock, samples)

    def start(self, node: str, lease: str, holds: dict[str, int], manners: Manners = DOCILE) -> Work:
        """A process begins, and takes its memory; one that holds nothing waits until it is told to go on."""
        work = Work(next(self._pids), node, lease, holds, manners)
        self.works[work.pid] = work
        self._measure(node)
        return work

    def go(self, work: Work, holds: dict[str, int]) -> None:
        """A process that waited takes its memory, unless it was ended before."""
        if work.alive:
            work.holds = holds
            self._measure(work.node)

    def stop(self, work: Work) -> None:
        """It ends by itself."""
        if work.alive:
            work.alive = False
            self.later(work.manners.lingers_s, lambda: self._forget(work))

    def users(self, device: str) -> list[Work]:
        """Who holds memory of a device, alive or not."""
        return [work for work in self.works.values() if device in work.holds]

    def signal(self, pid: int, number: int) -> None:
        """Send a signal."""
        work = self.works.get(pid)
        if work is None or not work.alive:
            raise ProcessLookupError(pid)
        wait_s = work.manners.dies_s if number == signal.SIGKILL else work.manners.obeys_s
        if wait_s >= 0:
            self.later(wait_s, lambda: self.stop(work))

    def _forget(self, work: Work) -> None:
        if self.works.pop(work.pid, None) is not None:
            self._measure(work.node)

    def _measure(self, node: str) -> None:
        backend = self.backends[node]
        for sample in list(backend.gpus):
            used = sum(work.holds[sample.uuid] for work in self.users(sample.uuid))
            told = {work.pid: work.holds[sample.uuid] for work in self.users(sample.uuid) if work.alive}
            backend.change(sample.uuid, replace(sample, memory_used_mib=used, processes=told))

    # -- what the kernel is asked --------------------------------------------------------------------------------------

    def table(self) -> list[Process]:
        """The living processes of this machine."""
        here = self.here()
        return [
            Process(work.pid, 1, work.pid, work.pid, 0)
            for work in self.works.values()
            if work.alive and work.node == here
        ]

    def lease_of(self, pid: int) -> str:
        """What a process's environment says."""
        work = self.works.get(pid)
        return work.lease if work is not None and work.alive and work.node == self.here() else ""

    def started(self, pid: int) -> int:
        """When a process began, in ticks; 0 = there is none."""
        return pid if any(process.pid == pid for process in self.table()) else 0

    def getpgid(self, pid: int) -> int:
        """Every process leads a group of its own."""
        if not self.started(pid):
            raise ProcessLookupError(pid)
        return pid

    def killpg(self, pid: int, number: int) -> None:
        """Send a signal to a group; 0 only asks whether it is there."""
        if not self.started(pid):
            raise ProcessLookupError(pid)
        if number:
            self.signal(pid, number)

    kill = killpg

    @contextmanager
    def as_kernel(self) -> Generator[None]:
        """Let the project's code see these machines; what it would do in a thread it does in between."""
        with (
            mock.patch.object(processes, "os", self), mock.patch.object(processes, "_table", self.table),
            mock.patch.object(processes, "lease_of", self.lease_of),
            mock.patch.object(processes, "_started", self.started),
            mock.patch.object(processes, "_own_family", frozenset[int]),
            mock.patch.object(anyio.to_thread, "run_sync", _at_once),
        ):  # fmt: skip
            yield


async def _at_once(work: Callable[..., Any], *args: Any, **_: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return work(*args)
