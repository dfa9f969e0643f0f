"""Devices that people take out and put back: drained, lent again, forgotten."""

from __future__ import annotations

from chimera.errors import BadMessageError, ConflictError, NoDeviceError, UnavailableError
from subjects.device import DeviceChanged, Devices, Drain, Forget, Undrain

from . import changes
from .census import UNTOLD
from .core import Core
from .desk import Desk
from .record import Record
from .usage import Usage
from .views import device_view

_DRAINED = "it was drained"
_TRIES = 10


class Keeper:
    """Does what is asked about devices.

    Args:
        core: What the parts share.
        desk: Ends leases.
        usage: The ledger, which must have a device's lines before it is forgotten.
    """

    def __init__(self, core: Core, desk: Desk, usage: Usage) -> None:
        self._core, self._desk, self._usage = core, desk, usage

    async def drain(self, message: Drain) -> Devices:
        """Lend nothing more of these devices; give their holders notice if that is wanted."""
        core, records = self._core, self._named(message.device, message.node)
        reason = message.reason or _DRAINED
        for record in records:
            await core.book.change([record.key], lambda old: [changes.drain(old[0], reason)])
            self._say(record, "drained", reason)
        if message.notice_s is not None:
            at = core.clock.time() + message.notice_s
            for lease in dict.fromkeys(grant.lease for record in records for grant in record.grants):
                await self._desk.give_notice(lease, at, f"its device is drained: {reason}")
        return self._view(records)

    async def undrain(self, message: Undrain) -> Devices:
        """Lend these devices again."""
        records = self._named(message.device, message.node)
        for record in records:
            await self._core.book.change([record.key], lambda old: [changes.drain(old[0], "")])
            self._say(record, "undrained")
        return self._view(records)

    async def forget(self, message: Forget) -> Devices:
        """Forget devices that are gone.

        Raises:
            ConflictError: If a node still tells of one.
        """
        core, records = self._core, self._named(message.device, message.node)
        for record in records:
            if core.census.usable(record) and record.trouble != UNTOLD:
                raise ConflictError(
                    f"node {record.node} still tells of {record.id}", hint="drain it instead, or stop the node first"
                )
        for record in records:
            for grant in record.grants:
                if not grant.ended:
                    await self._desk.end(grant.lease, "revoked", f"{record.id} was forgotten")
            await self._strike(record.key)
            self._say(record, "forgotten")
        return Devices(devices=[])

    async def _strike(self, key: str) -> None:
        """Its last lines must be in the ledger before the record that holds them goes."""
        core = self._core
        for _ in range(_TRIES):
            record = core.registry.record(key)
            if record is None:
                return
            core.own.update(line.lease for line in record.lines)
            if not record.lines:
                await core.book.forget(key)
                return
            await self._usage.ship()
            await core.clock.sleep(0.1)
        raise UnavailableError(f"the usage of {key} can't be stored in the ledger now", retry_after_s=1.0)

    def _named(self, device: str, node: str) -> list[Record]:
        """The devices that are meant.

        Raises:
            BadMessageError: If none or both are named.
            NoDeviceError: If there is none of that name.
        """
        if bool(device) == bool(node):
            raise BadMessageError("name a device or a node, one of them")
        found = [one for one in self._core.registry.records() if device == one.id or node == one.node]
        if not found:
            raise NoDeviceError(f"there is no device {device}" if device else f"there is no node {node}")
        return sorted(found, key=lambda one: one.key)

    def _view(self, records: list[Record]) -> Devices:
        core = self._core
        fresh = [record for old in records if (record := core.registry.record(old.key)) is not None]
        return Devices(devices=[device_view(record, core.census) for record in fresh])

    def _say(self, record: Record, change: str, reason: str = "") -> None:
        fact = DeviceChanged(
            device=record.id, node=record.node, change=change, at=self._core.clock.time(), reason=reason,  # pyright: ignore[reportArgumentType] - one of its words
        )  # fmt: skip
        self._core.tell(fact)
        self._core.report("gpu-utilization", f"{record.id} {change}", device=record.id, reason=reason)
