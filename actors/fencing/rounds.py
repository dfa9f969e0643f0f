"""A node's rounds: read the devices, end who must go, and tell the brokers what is true here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from chimera.clock import Clock
from chimera.devices.ending import Ending
from chimera.devices.processes import census
from chimera.devices.reading import DeviceBackend, Reading
from subjects.device import NodeReported, Told

from .fence import Fence
from .holders import Holder

STEP_S = 0.1
"""How often those are looked at who are being ended."""

GAP_S = 0.02
"""Reports stand at least this far apart, whatever happens."""

UTILIZATION_S = 60.0
"""How often the event log is told how busy a GPU is."""


@dataclass(slots=True)
class Rounds:
    """Reads the devices in one loop; ends, lets go and reports in another, so that a report is true when it is made.

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
    _hurry: anyio.Event = field(default_factory=anyio.Event)
    _order: list[str] = field(default_factory=list[str])
    _trouble: dict[str, str] = field(default_factory=dict[str, str])
    _hunted: set[str] = field(default_factory=set[str])
    _backward: set[str] = field(default_factory=set[str])
    _next_words: float = 0.0
    _reading: anyio.Lock = field(default_factory=anyio.Lock)

    def ring(self) -> None:
        """Something happened that brokers should know: the next report is now."""
        self._bell.set()

    @property
    def trouble(self) -> str:
        """What is wrong with the drivers as a whole."""
        return "; ".join(backend.trouble for backend in self.backends if backend.trouble)

    async def run(self) -> None:
        """Read and report, for ever. Reports do not wait for a device that takes long to answer."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read_forever)
            tasks.start_soon(self._report_forever)

    async def read(self) -> None:
        """Read all devices; one that does not answer costs its own deadline at most."""
        async with self._reading:
            began = self.fence.boot()
            found = [reading for backend in self.backends for reading in await backend.read()]
            self.fence.readings = {reading.uuid: reading for reading in found}
            self.fence.read_at = began
            self._order = [reading.uuid for reading in found]
            self.read_at = self.clock.time()
        if self.fence.is_needed:
            await self._survey()
        self._speak(found)

    async def step(self) -> None:
        """End who must go, let go of who is gone, and report."""
        if set(self.fence.records) - self.fence.surveyed:
            await self._survey()
        self.fence.begin_ends()
        for holder in list(self.fence.holders.values()):
            if holder.ending is not None and not holder.processes_gone:
                await self._end(holder, holder.ending)
        for holder in self.fence.settle():
            if holder.lease in self._hunted:  # of those who went by themselves nobody need hear
                self._hunted.discard(holder.lease)
                self.report("gpu-utilization", f"lease {holder.lease} is gone from here", lease=holder.lease)
        self._guard()
        if self.read_at:
            self.publish(self.told())

    async def _end(self, holder: Holder, ending: Ending) -> None:
        if await anyio.to_thread.run_sync(ending.step, self.fence.boot()):
            holder.processes_gone, holder.gone_at = True, self.fence.boot()
            self._hurry.set()  # is its memory back, too?
        elif holder.lease not in self._hunted:
            self._hunted.add(holder.lease)
            word = f"processes of lease {holder.lease} are ended: {holder.reason}"
            self.report("gpu-utilization", word, level="warning", lease=holder.lease)

    async def _survey(self) -> None:
        known = set(self.fence.records)  # those that come while we look were not looked for
        self.fence.adopt(await anyio.to_thread.run_sync(census), known)

    def _guard(self) -> None:
        """Say it once when a record knows less than we do: somebody restored an old store, or lost a disk."""
        backward = set(self.fence.went_back())
        for device in backward - self._backward:
            word = f"the record of {device} went back behind token {self.fence.tokens.highest(device)}"
            self.report("store-regressed", word, level="error", device=device)
        self._backward = backward

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

    async def _read_forever(self) -> None:
        while True:
            await self.read()
            self.ring()
            await self._wait(self._hurry, self.interval_s)
            self._hurry = anyio.Event()

    async def _report_forever(self) -> None:
        while True:
            self._bell = anyio.Event()
            await self.step()
            await self.clock.sleep(GAP_S)
            busy = any(one.ending is not None and not one.processes_gone for one in self.fence.holders.values())
            await self._wait(self._bell, STEP_S if busy else self.interval_s)

    async def _wait(self, event: anyio.Event, seconds: float) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._set_later, event, seconds)
            await event.wait()
            tasks.cancel_scope.cancel()

    async def _set_later(self, event: anyio.Event, seconds: float) -> None:
        await self.clock.sleep(seconds)
        event.set()

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
