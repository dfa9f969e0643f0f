"""A node's rounds: read the devices, end who must go, and tell the brokers what is true here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from chimera.clock import Clock
from chimera.devices.processes import census
from chimera.devices.reading import DeviceBackend, Reading
from subjects.device import NodeReported, Told

from .fence import Fence

STEP_S = 0.1
"""How often those are looked at who are being ended."""

GAP_S = 0.02
"""Reports stand at least this far apart, whatever happens."""

UTILIZATION_S = 60.0
"""How often the event log is told how busy a GPU is."""


@dataclass(slots=True)
class Rounds:
    """One loop that does everything in its order, so that a report is true at the moment it is made.

    Attributes:
        fence: What is known of leases.
        backends: Where the devices are read.
        clock: For intervals and people's times.
        publish: Sends a report; its failure is no failure of the round.
        report: Writes to the event log.
        interval_s: Between readings, and between reports when nothing happens.
        read_at: When the devices were read last, in Unix seconds.
    """

    fence: Fence
    backends: Sequence[DeviceBackend]
    clock: Clock
    publish: Callable[[NodeReported], None]
    report: Callable[..., None]
    interval_s: float = 2.0
    read_at: float = 0.0
    _bell: anyio.Event = field(default_factory=anyio.Event)
    _order: list[str] = field(default_factory=list[str])
    _trouble: dict[str, str] = field(default_factory=dict[str, str])
    _next_read: float = 0.0
    _next_words: float = 0.0
    _reading: anyio.Lock = field(default_factory=anyio.Lock)

    def ring(self) -> None:
        """Something happened that brokers should know: the next round is now."""
        self._bell.set()

    @property
    def trouble(self) -> str:
        """What is wrong with the drivers as a whole."""
        return "; ".join(backend.trouble for backend in self.backends if backend.trouble)

    async def run(self) -> None:
        """Rounds, for ever."""
        while True:
            if self.clock.monotonic() >= self._next_read:
                await self.read()
            await self.step()
            await self._wait()

    async def read(self) -> None:
        """Read all devices; one that does not answer costs its own deadline at most."""
        async with self._reading:
            self._next_read = self.clock.monotonic() + self.interval_s
            found = [reading for backend in self.backends for reading in await backend.read()]
            self.fence.readings = {reading.uuid: reading for reading in found}
            self._order = [reading.uuid for reading in found]
            self.read_at = self.clock.time()
        self.fence.adopt(await anyio.to_thread.run_sync(census))
        self._speak(found)

    async def step(self) -> None:
        """End who must go, let go of who is gone, and report."""
        if set(self.fence.records) - self.fence.surveyed:
            await self.read()
        for holder in self.fence.begin_ends():
            self.report("gpu-utilization", f"lease {holder.lease} is ended: {holder.reason}", lease=holder.lease)
        for holder in list(self.fence.holders.values()):
            if holder.ending is not None and not holder.processes_gone:
                holder.processes_gone = await anyio.to_thread.run_sync(holder.ending.step, self.fence.boot())
                if holder.processes_gone:
                    self._next_read = 0.0  # is its memory back, too?
        if self._next_read == 0.0:
            await self.read()
        for holder in self.fence.settle():
            self.report("gpu-utilization", f"lease {holder.lease} is gone from here", lease=holder.lease)
        self.publish(self.told())

    def told(self) -> NodeReported:
        """What is true here now."""
        fence = self.fence
        return NodeReported(
            node=fence.node, at=self.clock.time(), interval_s=self.interval_s, fences=True,
            devices=[self._told(fence.readings[uuid]) for uuid in self._order],
        )  # fmt: skip

    def _told(self, reading: Reading) -> Told:
        fence, uuid = self.fence, reading.uuid
        return Told(
            id=uuid, kind=reading.kind, model=reading.model, capability=reading.capability, milli=reading.milli,
            memory_mib=max(0, (reading.memory_mib or 0) - (reading.memory_reserved_mib or 0)),
            memory_used_mib=reading.memory_used_mib, foreign_mib=fence.foreign(uuid), utilization=reading.utilization,
            temperature_c=reading.temperature_c, power_w=reading.power_w, power_limit_w=reading.power_limit_w,
            energy_j=reading.energy_j, energy_source=reading.energy_source, ecc_errors=reading.ecc_errors,
            trouble=reading.trouble, parent=reading.parent, token=fence.tokens.highest(uuid),
            seen=fence.seen(uuid), held=fence.held(uuid),
        )  # fmt: skip

    async def _wait(self) -> None:
        """Until the bell rings, the next step of an ending is due, or the interval is over."""
        await self.clock.sleep(GAP_S)
        ending = any(holder.ending is not None and not holder.processes_gone for holder in self.fence.holders.values())
        patience = STEP_S if ending else max(0.0, self._next_read - self.clock.monotonic())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ring_in, patience)
            await self._bell.wait()
            tasks.cancel_scope.cancel()
        self._bell = anyio.Event()

    async def _ring_in(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        self._bell.set()

    def _speak(self, found: Sequence[Reading]) -> None:
        """Tell people: at once what fell ill or got well, and now and then how busy the GPUs are."""
        for reading in found:
            before = self._trouble.get(reading.uuid, "")
            if bool(reading.trouble) != bool(before):
                word = f"may not be used: {reading.trouble}" if reading.trouble else "is well again"
                level = "warning" if reading.trouble else "info"
                self.report("gpu-utilization", f"{reading.uuid} {word}", level=level, device=reading.uuid)
            self._trouble[reading.uuid] = reading.trouble
        if self.clock.monotonic() < self._next_words:
            return
        self._next_words = self.clock.monotonic() + UTILIZATION_S
        for reading in found:
            if reading.kind == "gpu":
                self.report(
                    "gpu-utilization", reading.model, device=reading.uuid, utilization=reading.utilization,
                    memory_used_mib=reading.memory_used_mib, power_w=reading.power_w,
                    temperature_c=reading.temperature_c, joules=reading.energy_j, joules_from=reading.energy_source,
                )  # fmt: skip
