"""Whose memory is it? What of a device's memory no lease explains, and whether an ended holder's came back. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from chimera.devices.reading import Reading

SLACK_MIB = 64
"""Memory that a driver keeps here and there and that nobody is asked about."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a lease may use of a device, and those of its processes that are known."""

    memory_mib: int
    pids: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Sight:
    """What we see of this machine.

    Attributes:
        pids: Its processes.
        own: Ourselves: what we use is used under a lease, or little.
        listing: Devices whose driver was seen to list processes as we number them; of those an empty list is believed.
    """

    pids: Collection[int] = ()
    own: int = 0
    listing: frozenset[str] = frozenset()

    def trusts(self, reading: Reading) -> bool:
        """Whether the driver's list can be believed: in a container it is empty, or numbered as elsewhere."""
        if not reading.processes:
            return reading.processes is not None and reading.uuid in self.listing
        return all(pid in self.pids for pid in reading.processes)

    def after(self, pids: Collection[int], own: int, readings: Iterable[Reading]) -> Sight:
        """What is seen next, with these processes."""
        new = Sight(pids, own, self.listing)
        return Sight(pids, own, self.listing | {one.uuid for one in readings if one.processes and new.trusts(one)})


def unexplained(reading: Reading, shares: Mapping[str, Share], sight: Sight) -> int:
    """MiB in use that no lease explains, what a holder uses beyond its share included; 0 where nothing is told.

    Where the list of processes can't be believed, a lease explains as much as it may use.
    """
    if reading.memory_used_mib is None:
        return 0
    listed, trusted = reading.processes or {}, sight.trusts(reading)
    rest = reading.memory_used_mib - (listed.get(sight.own) or 0)
    for share in shares.values():
        sizes = [listed[pid] for pid in share.pids if pid in listed]
        if None in sizes or not (sizes or trusted):
            rest -= min(max(rest, 0), share.memory_mib)
        else:
            rest -= min(sum(size or 0 for size in sizes), share.memory_mib)
    return rest if rest > SLACK_MIB else 0


def remains(
    reading: Reading, shares: Mapping[str, Share], sight: Sight, *, pids: Collection[int], before_mib: int
) -> str:
    """What is still there of a holder whose processes ended; empty = all of its memory came back.

    Args:
        reading: The device now.
        shares: The other leases of the device.
        sight: What can be seen here.
        pids: The processes that it had.
        before_mib: What was unexplained when it was admitted.
    """
    if reading.memory_used_mib is None and reading.trouble:
        return f"{reading.uuid} does not tell whether its memory came back: {reading.trouble}"
    listed = reading.processes or {}
    for pid in listed:
        if pid in pids:
            return f"{reading.uuid} still lists process {pid}"
    known = {pid for share in shares.values() for pid in share.pids} | {sight.own}
    strangers = sum(size or 0 for pid, size in listed.items() if pid in sight.pids and pid not in known)
    left = unexplained(reading, shares, sight) - max(before_mib, strangers)
    return f"{left} MiB of {reading.uuid} did not come back" if left > SLACK_MIB else ""
