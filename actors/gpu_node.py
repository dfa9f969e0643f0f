"""The fence of a node's devices: it tells what they are, who may use them, and ends who may not. See ``fencing``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from actors.fencing.fence import Fence
from actors.fencing.following import Records
from actors.fencing.holders import Holder
from actors.fencing.rounds import Rounds
from chimera import handles
from chimera.actor import Actor
from chimera.bus.contract import Bus
from chimera.devices.ending import GRACE_S
from chimera.devices.reading import DeviceBackend
from chimera.devices.tenure import boot_time
from chimera.errors import ChimeraError, NoLeaseError
from chimera.wire import encode
from subjects import Request
from subjects.device import NODE_REPORTED, NodeReported
from subjects.gpu_node import Admit, Admitted, HolderView, Read, Readings, Stop

if TYPE_CHECKING:
    from chimera.node.parts import Parts

R = TypeVar("R")
_AGAIN_S, _SEND_S, _LOOK_UP_S = 1.0, 2.0, 5.0


class GpuNode(Actor, name="gpu_node", mailbox=1024, concurrency=64, layer="resources"):
    """Stands between a node's devices and everybody who has a lease.

    Args:
        bus: Where the devices' records are, and where reports go.
        backends: What reads the devices, from the node's name.
        folder: Where the tokens are kept.
        interval_s: Between readings.
        grace_s: From asking a holder to end to killing it.
        boot: Seconds since boot.
    """

    def __init__(
        self, *, bus: Bus, backends: Callable[[str], Sequence[DeviceBackend]], folder: Path, interval_s: float = 2.0,
        grace_s: float = GRACE_S, boot: Callable[[], float] = boot_time,
    ) -> None:  # fmt: skip
        self._bus, self._backends, self._folder = bus, backends, folder
        self._interval_s, self._grace_s, self._boot = interval_s, grace_s, boot

    @staticmethod
    def assemble(parts: Parts) -> dict[str, Any]:
        """The constructor's arguments on a node."""
        from chimera.devices.machine import MachineBackend  # noqa: PLC0415 - only a node that lends something needs it
        from chimera.devices.nvml import NvmlBackend  # noqa: PLC0415 - likewise

        clock, own = parts.clock, parts.settings.resources
        watts = float(own.declared_watts) or None

        def backends(node: str) -> list[DeviceBackend]:
            gpus = NvmlBackend(clock=clock, library=own.nvml_library, declared_w=watts)
            return [gpus, MachineBackend(node, clock=clock, declared_w=watts)]

        return {
            "bus": parts.need("bus"), "backends": backends, "folder": parts.settings.node.data / "fence",
            "interval_s": own.interval_s, "grace_s": own.grace_s,
        }  # fmt: skip

    async def on_start(self) -> None:
        """Remember the tokens, follow the records, begin the rounds."""
        ctx = self.ctx
        self._fence = Fence(ctx.node, self._folder / "tokens.json", ctx.clock, self._boot, self._grace_s)
        self._records = Records(self._bus, ctx.clock, ctx.node)
        self._devices = list(self._backends(ctx.node))
        self._rounds = Rounds(
            self._fence, self._devices, ctx.clock, self._publish, partial(ctx.event), interval_s=self._interval_s
        )
        self._outbox: NodeReported | None = None
        self._unsent = anyio.Event()
        for loop in (self._follow, self._look_up, self._send, self._rounds.run):
            ctx.spawn(loop)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - whatever the reason, the same is to do
        """Let the drivers go. Holders stay: their leases do, too."""
        for backend in self._devices:
            await backend.close()

    @handles
    async def admit(self, message: Admit) -> Admitted:
        """May this lease use its devices here?"""
        if message.node not in {"", self.ctx.node}:
            return await self._pass_on(message, message.node)
        if message.lease not in self._fence.holders:
            await self._catch_up(message.lease)
        try:
            holder = await self._fence.admit(message.lease, message.token, message.pid)
        finally:
            self._rounds.ring()  # the brokers learn what is held, and of a store that went back
        return Admitted(
            node=self.ctx.node, lease=holder.lease, devices=sorted(holder.devices), token=message.token
        )  # fmt: skip

    @handles
    async def stop(self, message: Stop) -> HolderView:
        """End a holder's processes."""
        if message.node not in {"", self.ctx.node}:
            return await self._pass_on(message, message.node)
        holder = self._find(message.lease)
        holder.grace_s = message.grace_s
        holder.begin_end(self._boot(), "it was told to end")
        self._rounds.ring()
        return holder.view()

    @handles
    async def read(self, message: Read) -> Readings:
        """Devices and holders."""
        if message.node not in {"", self.ctx.node}:
            return await self._pass_on(message, message.node)
        if message.now:
            await self._rounds.read()
        processes = {
            uuid: {str(pid): size for pid, size in reading.processes.items()}
            for uuid, reading in self._fence.readings.items()
            if reading.processes is not None
        }
        return Readings(
            node=self.ctx.node, read_at=self._rounds.read_at, devices=self._rounds.told().devices,
            holders=[holder.view() for holder in self._fence.holders.values()], trouble=self._rounds.trouble,
            processes=processes,
        )  # fmt: skip

    def _find(self, lease: str) -> Holder:
        holder = self._fence.holders.get(lease)
        if holder is None:
            raise NoLeaseError(f"lease {lease} uses nothing on {self.ctx.node}")
        return holder

    async def _pass_on(self, message: Request[R], node: str) -> R:
        return await self.ctx.ref("gpu_node", node=node).ask(message)

    async def _catch_up(self, lease: str) -> None:
        """At its first use a lease is looked up with the stream's leader: what we followed so far may be behind."""
        grants = [grant for one in self._fence.records.values() if (grant := one.find(lease)) is not None]
        known = {
            key.partition(".")[2] for grant in grants for key in grant.devices if key.startswith(f"{self.ctx.node}.")
        }
        records = self._fence.records
        for device in sorted(known) or list(self._fence.readings):
            before = records.get(device)
            record = await self._records.last(device)
            present = records.get(device)
            is_late = record and present and present is not before and present.version > record.version
            if record is not None and not is_late:  # a later record came while the answer was on its way
                self._fence.see(record)

    async def _follow(self) -> None:
        """Records as they change, for ever."""
        while True:
            try:
                async with self._records.follow() as source:
                    async for record in source:
                        if self._fence.see(record):
                            self._rounds.ring()
            except ChimeraError as error:
                self.ctx.event("bus-error", f"the devices' records: {error.detail}", level="debug")
            await self.ctx.clock.sleep(_AGAIN_S)

    async def _look_up(self) -> None:
        """Now and then ask the leader: a reader that gives nothing and one that hangs look the same from here."""
        while True:
            await self.ctx.clock.sleep(_LOOK_UP_S)
            for device in list(self._fence.readings):
                with suppress(ChimeraError):
                    record, known = await self._records.last(device), self._fence.records.get(device)
                    newer = record is not None and (known is None or record.version > known.version)
                    if record is not None and newer and self._fence.see(record):
                        self._rounds.ring()

    def _publish(self, report: NodeReported) -> None:
        """Only the newest report is worth sending."""
        self._outbox = report
        self._unsent.set()

    async def _send(self) -> None:
        while True:
            await self._unsent.wait()
            self._unsent = anyio.Event()
            report, self._outbox = self._outbox, None
            if report is not None:
                with suppress(ChimeraError), anyio.move_on_after(_SEND_S):  # the next one says the same, and more
                    await self._bus.publish(NODE_REPORTED, encode(report, "json"))
