"""Leases of devices: shares of GPUs, or of a node's processors and memory, with fencing tokens. Unix seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Event, Reply, Request
from ._operation import EventType, Http, Operation, Port
from ._types import Count, Token
from .agent import Text
from .task import MaybeToken, Word

Kind = Literal["gpu", "cpu"]
"""``cpu`` is a node's processors and main memory, lent by the same rules."""

DeviceId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)", description="a device's UUID, or cpu-NODE")]
Milli = Annotated[int, Meta(ge=0, le=1_000_000, description="thousandths of a GPU, or of a processor")]
Mib = Annotated[int, Meta(ge=0, le=1 << 30, description="memory in MiB")]
Ttl = Annotated[float, Meta(ge=1, le=86_400, description="how long a lease lasts without renewal, in seconds")]
LeaseState = Literal["granted", "waiting", "released", "expired", "revoked", "refused"]
"""The last four are final. ``refused``: not granted within the time to wait, or cancelled while it waited."""

MOST_DEVICES = 256


class Need(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of every one of so many devices.

    Attributes:
        kind: What kind of device.
        devices: How many: all of them at once or none (a gang).
        milli: Compute share of each: 1000 = a whole GPU, which nobody else gets then; of a node 1000 = one processor.
        memory_mib: Memory on each; 0 = the same share of the memory as of the compute, nothing in particular on a node.
        models: Any of these models; empty = any at all. Compared without case, as a part of the name.
        capability: Least compute capability, such as ``8.0``; empty = any.
        node: Only on this node.
        one_node: All devices on one node.
    """

    kind: Kind = "gpu"
    devices: Annotated[int, Meta(ge=1, le=MOST_DEVICES)] = 1
    milli: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    memory_mib: Mib = 0
    models: Annotated[list[Word], Meta(max_length=32)] = []
    capability: Annotated[str, Meta(pattern=r"^$|^\d{1,2}\.\d{1,2}$")] = ""
    node: MaybeToken = ""
    one_node: bool = True


class Grant(Reply, frozen=True, kw_only=True):
    """A device's part of a lease. ``token`` rises with every grant of it: a use with an older one is refused."""

    device: str
    node: str
    kind: Kind
    milli: Milli
    memory_mib: Mib
    token: Count


class LeaseView(Reply, frozen=True, kw_only=True):
    """A lease as it stands.

    Attributes:
        id: Its id.
        state: See ``LeaseState``.
        grants: Devices, once granted.
        token: The largest token of its grants: the one to present.
        granted_at: When.
        expires_at: When it ends unless it is renewed.
        ttl_s: What a renewal adds from the moment it is sent.
        environment: Variables for the holder's process, devices by UUID.
        position: Requests before it, while it waits; counted from 1.
        estimate_s: Seconds until it is expected to be granted; ``None`` = nothing is known.
        revoke_at: When it will be taken back, if it was given notice.
        reason: Why it waits, was refused, or ended.
    """

    id: str
    state: LeaseState
    need: Need
    layer: str
    tenant: str
    agent: str
    priority: int
    grants: list[Grant]
    token: Count
    asked_at: float
    granted_at: float | None
    expires_at: float | None
    ttl_s: float
    environment: dict[str, str]
    position: Count = 0
    estimate_s: float | None = None
    revoke_at: float | None = None
    reason: str = ""


class Allocate(Request[LeaseView], frozen=True, kw_only=True):
    """Lease devices: all that is asked for at once, or nothing.

    Attributes:
        id: Makes the request repeatable: the same id with the same need is the same lease. Made if empty.
        need: What is wanted.
        layer: Who pays: the layer, within a tenant.
        tenant: Whose quota and budget count.
        agent: For which agent, in the ledger.
        priority: Larger comes first; waiting raises it, so that nobody starves.
        ttl_s: See ``LeaseView``.
        wait_s: How long to wait for it; 0 = fail at once, with the position it would have had and an estimate.
        preemptible: May be taken back, with notice, for a gang of higher priority.
        pid: Process group of the holder on its node, which the node ends when the lease is lost; 0 = none.
    """

    id: MaybeToken = ""
    need: Need = Need()
    layer: Token = "operator"
    tenant: Token = "default"
    agent: MaybeToken = ""
    priority: Annotated[int, Meta(ge=0, le=100)] = 50
    ttl_s: Ttl = 60.0
    wait_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    preemptible: bool = False
    pid: Count = 0
    note: Text = ""


class Renew(Request[LeaseView], frozen=True, kw_only=True):
    """Extend a lease by its time to live, from now. ``token`` must be the lease's own."""

    id: Token
    token: Count
    ttl_s: Ttl | None = None


class Release(Request[LeaseView], frozen=True, kw_only=True):
    """Give a lease back, or stop waiting for it. With a ``token`` only if it is the lease's own."""

    id: Token
    token: Count | None = None


class GetLease(Request[LeaseView], frozen=True, kw_only=True):
    """One lease."""

    id: Token


class LeaseList(Reply, frozen=True, kw_only=True):
    """Leases, and requests that wait in the order in which they are tried."""

    leases: list[LeaseView]
    waiting: list[LeaseView]


class ListLeases(Request[LeaseList], frozen=True, kw_only=True):
    """Live leases by filter; empty fields do not filter."""

    layer: MaybeToken = ""
    tenant: MaybeToken = ""
    agent: MaybeToken = ""
    node: MaybeToken = ""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class LeaseChanged(Event, frozen=True, kw_only=True):
    """A lease came into a state."""

    lease: str
    state: LeaseState
    layer: str
    tenant: str
    agent: str
    at: float
    devices: list[str]
    reason: str = ""


_ONE = {"id": "lease-1"}
_NONE = ("no-lease",)

ALLOCATE = Operation(
    "gpu_broker", "allocate", Allocate, LeaseView, Port.RESOURCES, "Lease devices, all at once or none",
    http=(Http("POST", "/api/gpu/allocate", status=201),), timeout_s=30.0,
    errors=("no-capacity", "over-budget", "conflict"),
    example={"need": {"devices": 1, "milli": 500, "memory_mib": 4096}, "wait_s": 5},
)  # fmt: skip
RENEW = Operation(
    "gpu_broker", "renew", Renew, LeaseView, Port.RESOURCES, "Extend a lease",
    http=(Http("POST", "/api/gpu/{id}/renew"),), errors=(*_NONE, "fenced"), example={"id": "lease-1", "token": 1},
)  # fmt: skip
RELEASE = Operation(
    "gpu_broker", "release", Release, LeaseView, Port.RESOURCES, "Give a lease back",
    http=(Http("DELETE", "/api/gpu/{id}"),), errors=(*_NONE, "fenced"), example=_ONE,
)  # fmt: skip
LEASES = Operation(
    "gpu_broker", "leases", ListLeases, LeaseList, Port.RESOURCES, "Leases, and requests that wait",
    http=(Http("GET", "/api/gpu/leases"),), safe=True,
)  # fmt: skip
LEASE = Operation(
    "gpu_broker", "lease", GetLease, LeaseView, Port.RESOURCES, "One lease",
    http=(Http("GET", "/api/gpu/leases/{id}"),), safe=True, errors=_NONE, example=_ONE,
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (ALLOCATE, LEASES, LEASE, RENEW, RELEASE)
EVENTS: tuple[EventType, ...] = (
    EventType(LeaseChanged, "chimera.event.gpu_broker.leased", "a lease came into a state"),
)  # fmt: skip
