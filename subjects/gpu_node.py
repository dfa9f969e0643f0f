"""``chimera.gpu_node.*``: the fence of a node's devices. One on every node; ``node`` says which."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Reply, Request
from ._operation import Operation, Port
from ._types import Count
from .device import DeviceId, Told
from .lease import LeaseId
from .task import MaybeToken

HolderState = Literal["using", "ending", "lingering"]
"""``ending``: its lease is over and its processes are being ended. ``lingering``: they are gone, its memory is not."""


class Admitted(Reply, frozen=True, kw_only=True):
    """The lease may use these devices of this node now; ask again at every use."""

    node: str
    lease: str
    devices: list[str]
    token: Count


class Admit(Request[Admitted], frozen=True, kw_only=True):
    """May this lease use its devices on this node? Refused as ``fenced`` if its token is older than one seen before.

    Attributes:
        lease: The lease.
        token: Its token.
        node: The node of the devices; empty = whichever node is asked.
        pid: Leader of the holder's process group on that node, with ``CHIMERA_LEASE_ID`` in its environment; 0 = none.
            The node ends the group when the lease is over, and whatever else carries the lease in its environment.
            Name it before it begins to use the devices: of a process that nobody named, the node may already have said
            that it is gone.
    """

    lease: LeaseId
    token: Count
    node: MaybeToken = ""
    pid: Count = 0


class HolderView(Reply, frozen=True, kw_only=True):
    """Who uses devices of this node under which lease, and what is left of it."""

    lease: str
    state: HolderState
    devices: list[str]
    token: Count
    pid: Count
    since: float
    reason: str = ""


class Stop(Request[HolderView], frozen=True, kw_only=True):
    """End the processes of a lease on this node now: TERM, and KILL after the grace. The lease itself stays."""

    lease: LeaseId
    node: MaybeToken = ""
    grace_s: Annotated[float, Meta(ge=0, le=600)] = 5.0


class Readings(Reply, frozen=True, kw_only=True):
    """A node's devices as they were read last, and who uses them.

    Attributes:
        read_at: When, in Unix seconds.
        trouble: What is wrong with the driver as a whole.
        processes: Per device: process to the MiB it holds (``None`` = not told); advice only.
    """

    node: str
    read_at: float
    devices: list[Told]
    holders: list[HolderView]
    trouble: str = ""
    processes: dict[DeviceId, dict[str, int | None]] = {}


class Read(Request[Readings], frozen=True, kw_only=True):
    """A node's devices and their holders. ``now`` reads the devices for this answer."""

    node: MaybeToken = ""
    now: bool = False


_P = Port.RESOURCES

ADMIT = Operation(
    "gpu_node", "admit", Admit, Admitted, _P, "May this lease use its devices here? Older tokens are refused",
    open=True, errors=("no-lease", "fenced", "denied"), example={"lease": "lease-1", "token": 1},
)  # fmt: skip
STOP = Operation(
    "gpu_node", "stop", Stop, HolderView, _P, "End the processes of a lease on its node",
    errors=("no-lease",), example={"lease": "lease-1"},
)  # fmt: skip
READ = Operation(
    "gpu_node", "read", Read, Readings, _P, "A node's devices as read last, and who uses them",
    safe=True, timeout_s=15.0,
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (ADMIT, STOP, READ)
