"""Devices that can be lent, and what the node they are in tells of them. Sizes in MiB, power in W, energy in J."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Event, Reply, Request
from ._operation import EventType, Http, Operation, Port
from ._types import Count, Token
from .agent import Text
from .task import MaybeToken

Kind = Literal["gpu", "cpu"]
"""``cpu`` is a node's processors and main memory, lent by the same rules; 1000 milli are one processor of it."""

DeviceId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,72}$(?!\n)", description="a device's UUID, or CPU-<node>")]
MaybeDeviceId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,72}$(?!\n)", description="a device, or nothing")]
Milli = Annotated[int, Meta(ge=0, le=1_000_000, description="thousandths of a GPU, or of a processor")]
Mib = Annotated[int, Meta(ge=0, le=1 << 30, description="memory in MiB")]
EnergySource = Literal["counter", "integrated", "declared", "none"]
"""Where joules come from, best first: the device's counter, its power over time, the watts an operator declared."""

Health = Literal["ok", "trouble", "silent"]
"""``trouble``: its node says why it must not be used. ``silent``: its node says nothing any more."""


class Told(Reply, frozen=True, kw_only=True):
    """What a node tells of one device. ``None`` = the device does not tell.

    Attributes:
        id: Its UUID.
        milli: All of its compute.
        memory_mib: All of its memory that can be lent.
        foreign_mib: Memory in use by processes that hold no lease: nobody can be lent that.
        trouble: Why it must not be used; empty = it may.
        parent: The GPU that this MIG instance is a part of.
        energy_j: Used since the node began to look.
        token: The highest fencing token that the node has accepted for it.
        seen: The version of its record that this was told after.
        held: Leases of which processes or memory are still there. The share of a lease that ended in version ``seen``
            or before is lent again when it is not in here.
    """

    id: DeviceId
    kind: Kind = "gpu"
    model: str = ""
    capability: str | None = None
    milli: Milli = 1000
    memory_mib: Mib = 0
    memory_used_mib: int | None = None
    foreign_mib: Mib = 0
    utilization: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float = 0.0
    energy_source: EnergySource = "none"
    ecc_errors: int | None = None
    trouble: str = ""
    parent: str = ""
    token: Count = 0
    seen: Count = 0
    held: list[str] = []


class NodeReported(Event, frozen=True, kw_only=True):
    """A node's devices now. Told every ``interval_s``, and at once when something changed; core NATS, not stored.

    A node that is silent for three intervals is lent nothing of any more.

    Attributes:
        fences: The node ends the holders of leases that are over, and says when they are gone (``Told.held``). Without
            a fence a lease's share is free the moment it ends.
    """

    node: str
    at: float
    interval_s: float
    devices: list[Told]
    fences: bool = False


class GrantView(Reply, frozen=True, kw_only=True):
    """A lease's part of a device. ``ending``: the lease is over and the node has not yet said that its holder is gone.

    ``revoke_at`` is when it will be taken back, if it was given notice.
    """

    lease: str
    layer: str
    tenant: str
    agent: str
    milli: int
    memory_mib: int
    token: int
    granted_at: float
    expires_at: float
    priority: int
    ending: bool = False
    revoke_at: float | None = None


class DeviceView(Reply, frozen=True, kw_only=True):
    """A device, what it tells, and who has it. ``told_at`` is when its node last spoke of it, ``None`` = not since.

    ``drained`` devices are lent to nobody new.
    """

    id: str
    node: str
    kind: Kind
    model: str
    capability: str | None
    health: Health
    trouble: str
    drained: bool
    milli: int
    memory_mib: int
    free_milli: int
    free_memory_mib: int
    foreign_mib: int
    grants: list[GrantView]
    memory_used_mib: int | None = None
    utilization: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    energy_source: EnergySource = "none"
    ecc_errors: int | None = None
    parent: str = ""
    told_at: float | None = None


class Devices(Reply, frozen=True, kw_only=True):
    """Every device of every node, by node. No GPU is an empty list, not an error."""

    devices: list[DeviceView]
    waiting: Count = 0


class GetDevices(Request[Devices], frozen=True, kw_only=True):
    """Devices with model, memory, utilisation, power, temperature, grants and health; empty fields do not filter."""

    node: MaybeToken = ""
    kind: Kind | Literal[""] = ""


class Drain(Request[Devices], frozen=True, kw_only=True):
    """Lend nothing more of a device, or of all devices of a node. What is lent may end.

    Attributes:
        device: Which device; or
        node: All devices of this node.
        notice_s: Take the leases on them back after so long; ``None`` = let them end by themselves.
    """

    device: MaybeDeviceId = ""
    node: MaybeToken = ""
    notice_s: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    reason: Text = ""


class Undrain(Request[Devices], frozen=True, kw_only=True):
    """Lend a device, or those of a node, again. Notice that was given for the drain stays given."""

    device: MaybeDeviceId = ""
    node: MaybeToken = ""


class Forget(Request[Devices], frozen=True, kw_only=True):
    """Forget a device, or those of a node, that will not come back. Refused while its node still tells of it.

    Its leases end as revoked; holders that no node can end any more are the caller's responsibility.
    """

    device: MaybeDeviceId = ""
    node: MaybeToken = ""


class DeviceChanged(Event, frozen=True, kw_only=True):
    """A device came, went, fell ill, recovered, or its standing changed."""

    device: str
    node: str
    change: Literal["came", "ill", "well", "drained", "undrained", "foreign", "forgotten", "guarded"]
    at: float
    reason: str = ""


_P = Port.RESOURCES
_NONE = ("no-device",)
_NODE: dict[str, Token] = {"node": "edge-1"}

STATUS = Operation(
    "gpu_broker", "status", GetDevices, Devices, _P, "Every device: readings, grants, health",
    http=(Http("GET", "/api/gpu/status"),), safe=True,
)  # fmt: skip
DRAIN = Operation(
    "gpu_broker", "drain", Drain, Devices, _P, "Lend nothing more of a device or a node",
    http=(Http("POST", "/api/gpu/drain"),), errors=_NONE, example=_NODE,
)  # fmt: skip
UNDRAIN = Operation(
    "gpu_broker", "undrain", Undrain, Devices, _P, "Lend a device or a node again",
    http=(Http("POST", "/api/gpu/undrain"),), errors=_NONE, example=_NODE,
)  # fmt: skip
FORGET = Operation(
    "gpu_broker", "forget", Forget, Devices, _P, "Forget a device or a node that will not come back",
    http=(Http("POST", "/api/gpu/forget"),), errors=(*_NONE, "conflict"), example=_NODE,
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (STATUS, DRAIN, UNDRAIN, FORGET)
NODE_REPORTED = "chimera.live.gpu_broker.node"
EVENTS: tuple[EventType, ...] = (
    EventType(NodeReported, NODE_REPORTED, "a node's devices now"),
    EventType(DeviceChanged, "chimera.event.gpu_broker.device", "a device came, went, fell ill or recovered"),
)  # fmt: skip
