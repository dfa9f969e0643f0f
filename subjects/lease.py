"""Leases of devices: shares of GPUs, or of a node's processors and memory, with fencing tokens. Unix seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Event, Reply, Request
from ._operation import EventType, Http, Operation, Port
from ._types import Count, Token
from .device import Kind, Mib, Milli
from .task import MaybeToken, Word

LeaseId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)", description="a lease's id")]
Ttl = Annotated[float, Meta(ge=1, le=86_400, description="how long a lease lasts without renewal, in seconds")]
LeaseState = Literal["granted", "waiting", "released", "expired", "revoked"]
"""The last three are final."""

MOST_DEVICES = 256


class Need(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of every one of so many devices.

    Attributes:
        kind: What kind of device.
        devices: How many: all of them at once or none (a gang).
        milli: Compute of each: 1000 = a whole GPU, which nobody else gets then; of a node, 1000 = one processor.
        memory_mib: Memory on each. 0 = of a GPU the same share of the memory as of the compute, of a node nothing in
            particular.
        cpu_milli: With GPUs: processors of their node, for each group of GPUs that stand on one node.
        main_memory_mib: With GPUs: main memory of their node, likewise.
        models: Any of these models; empty = any at all. Compared without case, as a part of the name.
        capability: Least compute capability, such as ``8.0``; empty = any.
        node: Only on this node.
        one_node: All devices on one node; otherwise on as many as it takes.
    """

    kind: Kind = "gpu"
    devices: Annotated[int, Meta(ge=1, le=MOST_DEVICES)] = 1
    milli: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    memory_mib: Mib = 0
    cpu_milli: Milli = 0
    main_memory_mib: Mib = 0
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


class Lease(Reply, frozen=True, kw_only=True):
    """A lease as it stands, or a request that waits for one.

    Attributes:
        id: Its id.
        state: See ``LeaseState``.
        grants: Devices, once granted; all at once.
        token: The largest token of its grants: the one to present.
        ttl_s: What a renewal adds from the moment it is taken. A holder counts from before it asked.
        expires_at: When it ends unless it is renewed.
        environment: Variables for the holder's process; devices by UUID.
        position: Requests before it and itself, while it waits.
        estimate_s: Seconds until it is expected to be granted; ``None`` = nothing is known.
        revoke_at: When it will be taken back, if it was given notice.
        reason: Why it waits, has notice, or ended.
    """

    id: str
    state: LeaseState
    layer: str
    tenant: str
    agent: str
    priority: int
    grants: list[Grant] = []
    token: Count = 0
    ttl_s: float = 0.0
    granted_at: float | None = None
    expires_at: float | None = None
    environment: dict[str, str] = {}
    need: Need | None = None
    asked_at: float | None = None
    position: Count = 0
    estimate_s: float | None = None
    revoke_at: float | None = None
    reason: str = ""


class Allocate(Request[Lease], frozen=True, kw_only=True):
    """Lease devices: all that is asked for at once, or nothing.

    Attributes:
        id: Makes the request repeatable: the same id with the same need is the same lease, and keeps its place while
            it waits. Made if empty.
        need: What is wanted.
        layer: Who uses it: the layer.
        tenant: Whose quota and budget count.
        agent: For which agent, in the ledger.
        priority: Larger comes first; waiting raises it, so that nobody starves.
        ttl_s: See ``Lease``.
        wait_s: How long to wait for it, at most until the ask's own deadline. 0 = fail at once, with the position it
            would have had and an estimate.
        preemptible: May be taken back, with notice, for a whole gang of higher priority.
    """

    id: MaybeToken = ""
    need: Need = Need()
    layer: Token = "operator"
    tenant: Token = "default"
    agent: MaybeToken = ""
    priority: Annotated[int, Meta(ge=0, le=100)] = 50
    ttl_s: Ttl = 60.0
    wait_s: Annotated[float, Meta(ge=0, le=600)] = 0.0
    preemptible: bool = False


class Renew(Request[Lease], frozen=True, kw_only=True):
    """Extend a lease by its time to live, from now. ``token`` must be the lease's own.

    ``busy`` says that it is being used, which no node can tell of a share: a lease that is neither busy nor seen busy
    for the idle window is given notice.
    """

    id: LeaseId
    token: Count
    ttl_s: Ttl | None = None
    busy: bool = True


class GiveBack(Request[Lease], frozen=True, kw_only=True):
    """Give a lease back, or stop waiting for it. With a ``token`` only if it is the lease's own."""

    id: LeaseId
    token: Count | None = None


class GetLease(Request[Lease], frozen=True, kw_only=True):
    """One live lease, or one request that waits."""

    id: LeaseId


class Leases(Reply, frozen=True, kw_only=True):
    """Live leases, and requests that wait, in the order in which they are tried. ``total`` counts live leases."""

    leases: list[Lease]
    waiting: list[Lease]
    total: Count


class ListLeases(Request[Leases], frozen=True, kw_only=True):
    """Leases by filter; empty fields do not filter."""

    layer: MaybeToken = ""
    tenant: MaybeToken = ""
    agent: MaybeToken = ""
    node: MaybeToken = ""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class LeaseChanged(Event, frozen=True, kw_only=True):
    """A lease was granted, given notice, or ended."""

    lease: str
    change: Literal["granted", "notice", "released", "expired", "revoked"]
    layer: str
    tenant: str
    agent: str
    at: float
    devices: list[str]
    reason: str = ""


class LeaseInterval(Event, frozen=True, kw_only=True):
    """A lease had a share of a device from ``began_at`` to ``ended_at``: one line of the usage ledger, stream USAGE.

    A line can be told twice; ``lease``, ``device`` and ``token`` together tell it apart from every other.

    Attributes:
        share: The larger of its parts of the device's compute and memory, 0 to 1.
        device_milli: All of the device's compute. 0 = not told, as by an older broker.
        node_gpus: GPUs of its node: the processors beside them come with their price.
    """

    lease: str
    device: str
    node: str
    kind: Kind
    model: str
    layer: str
    tenant: str
    agent: str
    milli: int
    memory_mib: int
    share: float
    token: int
    began_at: float
    ended_at: float
    end: Literal["released", "expired", "revoked"]
    device_milli: int = 0
    node_gpus: int = 0


class Sampled(Event, frozen=True, kw_only=True):
    """What was lent at a minute, by kind and model, in whole devices (milli / 1000); stream USAGE, once a minute.

    Attributes:
        busy: Mean utilisation of lent devices that tell it.
        wanted: What waiting requests of the kind ask for, of whatever model.
        joules: What the devices used since the minute before, as far as their nodes told.
        joules_from: The worst of the sources of that; ``none`` if no device tells.
        memory_lent_mib: Memory that was lent.
    """

    at: float
    kind: Kind
    model: str
    devices: Count
    total: float
    lent: float
    wanted: float
    waiting: Count
    busy: float | None
    joules: float
    joules_from: str
    memory_lent_mib: int = 0


_P = Port.RESOURCES
_ONE = {"id": "lease-1"}
_NONE = ("no-lease",)

ALLOCATE = Operation(
    "gpu_broker", "allocate", Allocate, Lease, _P, "Lease devices, all at once or none",
    http=(Http("POST", "/api/gpu/allocate", status=201),), open=True, timeout_s=30.0,
    errors=("no-capacity", "over-budget", "conflict", "overloaded", "unavailable"),
    example={"need": {"kind": "cpu", "milli": 500}, "ttl_s": 30},
)  # fmt: skip
RENEW = Operation(
    "gpu_broker", "renew", Renew, Lease, _P, "Extend a lease",
    http=(Http("POST", "/api/gpu/{id}/renew"),), open=True, errors=(*_NONE, "fenced"),
    example={"id": "lease-1", "token": 1},
)  # fmt: skip
RELEASE = Operation(
    "gpu_broker", "release", GiveBack, Lease, _P, "Give a lease back, or stop waiting for it",
    http=(Http("DELETE", "/api/gpu/{id}"),), open=True, errors=(*_NONE, "fenced"), example=_ONE,
)  # fmt: skip
LEASES = Operation(
    "gpu_broker", "leases", ListLeases, Leases, _P, "Leases, and requests that wait",
    http=(Http("GET", "/api/gpu/leases"),), safe=True,
)  # fmt: skip
LEASE = Operation(
    "gpu_broker", "lease", GetLease, Lease, _P, "One lease",
    http=(Http("GET", "/api/gpu/leases/{id}"),), safe=True, errors=_NONE, example=_ONE,
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (ALLOCATE, RENEW, RELEASE, LEASES, LEASE)
USED, SAMPLED = "chimera.used.lease", "chimera.used.sample"
EVENTS: tuple[EventType, ...] = (
    EventType(LeaseChanged, "chimera.live.gpu_broker.leased", "a lease was granted, given notice, or ended"),
    EventType(LeaseInterval, USED, "a line of the usage ledger"),
    EventType(Sampled, SAMPLED, "what was lent at a minute"),
)  # fmt: skip
