"""Who uses devices of this node under which lease, from the first use to the last byte of its memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from chimera.devices.ending import GRACE_S, Ending
from chimera.devices.processes import Group, Process
from subjects.gpu_node import HolderState, HolderView


@dataclass(slots=True, eq=False)
class Holder:
    """A lease that uses devices here.

    Attributes:
        lease: The lease.
        token: The largest of its tokens on this node.
        devices: The devices of this node that it may use.
        since: When it was admitted, in Unix seconds.
        group: The process group that it named, if it named one.
        before: Per device: memory in MiB that nobody explained when it was admitted.
        grace_s: From asking its processes to end to killing them.
        ending: Its end under way.
        processes_gone: Its end is over but for its memory.
        gone_at: Since when, by the fence's clock: what was read before does not tell of its memory.
        pids: Processes of it that were ever seen.
        reason: Why it is being ended, or what it still waits for.
    """

    lease: str
    token: int
    devices: set[str]
    since: float
    group: Group | None = None
    before: dict[str, int] = field(default_factory=dict[str, int])
    grace_s: float = GRACE_S
    ending: Ending | None = None
    processes_gone: bool = False
    gone_at: float | None = None
    pids: set[int] = field(default_factory=set[int])
    reason: str = ""

    @property
    def state(self) -> HolderState:
        """How far it is."""
        if self.ending is None:
            return "using"
        return "lingering" if self.processes_gone else "ending"

    def begin_end(self, now: float, reason: str) -> None:
        """Have it ended, from now on, for a reason; what is being ended is ended once."""
        if self.ending is None:
            self.ending = Ending(self.lease, self.group, now=now, grace_s=self.grace_s)
            self.reason = reason

    def note(self, census: Iterable[Process]) -> None:
        """Remember which processes are its own: by their group, and by the lease that they carry."""
        group = self.group.id if self.group is not None else -1
        self.pids |= {process.pid for process in census if process.lease == self.lease or process.group == group}

    def view(self) -> HolderView:
        """For people."""
        return HolderView(
            lease=self.lease, state=self.state, devices=sorted(self.devices), token=self.token,
            pid=self.group.id if self.group is not None else 0, since=self.since, reason=self.reason,
        )  # fmt: skip
