"""Port 8004, ``chimera.gpu_broker.*``: devices, what they do, who holds them, and how they are shared.

Leases stand in ``lease``, money and joules in ``cost``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Event, Reply, Request
from ._operation import EventType, Http, Operation, Port
from ._types import Count, Share, Token
from .agent import Text
from .lease import Grant, Kind, Mib, Milli
from .task import MaybeToken, Seconds

Health = Literal["ok", "isolated", "lost", "silent"]
"""``isolated``: sick, nothing new is lent. ``lost``: off the bus or its node gone. ``silent``: it does not answer."""

Policy = Literal["pack", "spread"]


class DeviceView(Reply, frozen=True, kw_only=True):
    """A device: what it is, how it does, and who holds what of it. Every reading may be unknown (``None``).

    Attributes:
        device: Its UUID; ``cpu-NODE`` for a node's processors and memory.
        milli: Compute there is to lend; of a GPU 1000.
        memory_mib: Memory there is to lend.
        free_milli: Of that, not granted.
        free_memory_mib: Not granted, and not used by foreign processes.
        foreign_mib: Memory that processes hold which no lease explains.
        joules: Energy since the node started, and ``joules_from``: counter, integrated, declared or none.
        token: The highest token that was granted.
        health: See ``Health``, with ``trouble`` in words.
        draining: Nothing new is lent: it was told so, or an ended holder still has its memory.
        seen_at: When its node told of it last.
    """

    device: str
    node: str
    kind: Kind
    model: str
    milli: Milli
    memory_mib: Mib
    free_milli: Milli
    free_memory_mib: Mib
    foreign_mib: Mib
    grants: list[Grant]
    holders: list[str]
    utilization: float | None
    memory_used_mib: int | None
    temperature_c: float | None
    power_w: float | None
    joules: float | None
    joules_from: str
    token: Count
    health: Health
    trouble: str
    draining: bool
    seen_at: float


class BrokerStatus(Reply, frozen=True, kw_only=True):
    """Every device of every node. Without a GPU there are only nodes' processors."""

    devices: list[DeviceView]
    nodes: Count
    gpus: Count
    utilization: float | None
    allocated: Share
    fragmentation: Share
    waiting: Count


class GetBrokerStatus(Request[BrokerStatus], frozen=True, kw_only=True):
    """Devices by node and kind."""

    node: MaybeToken = ""
    kind: Literal["", "gpu", "cpu"] = ""


class BrokerHealth(Reply, frozen=True, kw_only=True):
    """How the layer does; ``checks`` names what is wrong."""

    status: Literal["pass", "warn", "fail"]
    node: str
    version: str
    uptime_s: float
    sweeps: bool
    nodes: Count
    gpus: Count
    leases: Count
    waiting: Count
    checks: dict[str, str]


class CheckBrokerHealth(Request[BrokerHealth], frozen=True, kw_only=True):
    """Status, what is lent, and what is wrong."""


class Holder(Reply, frozen=True, kw_only=True):
    """Who uses what now: one row per layer, tenant and agent."""

    layer: str
    tenant: str
    agent: str
    leases: Count
    gpu_milli: Milli
    cpu_milli: Milli
    memory_mib: Mib
    share: Share
    quota: Share | None
    oldest_s: float


class Active(Reply, frozen=True, kw_only=True):
    """What is in use now, and how much of everything that is."""

    holders: list[Holder]
    gpu_milli: Milli
    gpu_milli_used: Milli
    cpu_milli: Milli
    cpu_milli_used: Milli
    waiting: Count


class GetActive(Request[Active], frozen=True, kw_only=True):
    """Resources in use, by layer, tenant and agent."""


class UsageHour(Reply, frozen=True, kw_only=True):
    """One hour: device-hours lent and idle, and the busiest moment."""

    begins_at: float
    gpu_hours: float
    gpu_idle_hours: float
    cpu_hours: float
    most_gpu_milli: Milli
    utilization: float | None


class Usage(Reply, frozen=True, kw_only=True):
    """How resources were used: per hour, by hour of the day, and the shapes that are asked for most."""

    hours: list[UsageHour]
    by_hour_of_day: list[float]
    shapes: list[tuple[str, float]]
    words: list[str]


class GetUsage(Request[Usage], frozen=True, kw_only=True):
    """Usage patterns over a time."""

    hours: Annotated[int, Meta(ge=1, le=2160)] = 168


class DrainView(Reply, frozen=True, kw_only=True):
    """What was set, and which leases still hold what."""

    devices: list[str]
    draining: bool
    leases: list[str]


class Drain(Request[DrainView], frozen=True, kw_only=True):
    """Lend nothing more of a device or a node, or lend again (``on`` false). Present leases stay, or get notice."""

    node: MaybeToken = ""
    device: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,64}$(?!\n)")] = ""
    on: bool = True
    notice_s: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    note: Text = ""


class Quota(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant's fair share of the GPUs by weight, how much is guaranteed, and what it may never exceed (``most``)."""

    tenant: Token
    weight: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    guaranteed: Share = 0.0
    most: Share = 1.0


class BrokerConfig(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How devices are shared.

    Attributes:
        policy: ``pack`` keeps devices free for large requests; ``spread`` keeps heat and neighbours apart.
        quotas: Tenants that are not named have weight 1 and nothing guaranteed.
        idle_s: A GPU lease whose device did nothing for so long is given notice; 0 = never.
        notice_s: Time between notice and revocation.
        most_ttl_s: Longest time to live.
        aging_s: Waiting so long raises a request's priority by one.
    """

    policy: Policy = "pack"
    quotas: Annotated[list[Quota], Meta(max_length=1000)] = []
    idle_s: Seconds = 0.0
    notice_s: Annotated[float, Meta(ge=0, le=86_400)] = 30.0
    most_ttl_s: Annotated[float, Meta(ge=1, le=86_400)] = 3600.0
    aging_s: Annotated[float, Meta(gt=0, le=86_400)] = 10.0


class ConfigureBroker(Request[BrokerConfig], frozen=True, kw_only=True):
    """Set how devices are shared; what is not named stays."""

    policy: Policy | None = None
    quotas: Annotated[list[Quota], Meta(max_length=1000)] | None = None
    idle_s: Seconds | None = None
    notice_s: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    most_ttl_s: Annotated[float, Meta(ge=1, le=86_400)] | None = None
    aging_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None


class DeviceChanged(Event, frozen=True, kw_only=True):
    """A device came, went, fell ill or recovered."""

    device: str
    node: str
    health: Health
    at: float
    reason: str = ""


HEALTH = Operation(
    "gpu_broker", "health", CheckBrokerHealth, BrokerHealth, Port.RESOURCES, "Status of the resources layer", safe=True,
)  # fmt: skip
STATUS = Operation(
    "gpu_broker", "status", GetBrokerStatus, BrokerStatus, Port.RESOURCES, "Every device: readings, grants, health",
    http=(Http("GET", "/api/gpu/status"),), safe=True,
)  # fmt: skip
ACTIVE = Operation(
    "gpu_broker", "active", GetActive, Active, Port.RESOURCES, "What is in use, by layer, tenant and agent",
    http=(Http("GET", "/api/resources/active"),), safe=True,
)  # fmt: skip
USAGE = Operation(
    "gpu_broker", "usage", GetUsage, Usage, Port.RESOURCES, "How resources were used over a time",
    http=(Http("GET", "/api/resources/patterns"),), safe=True, timeout_s=15.0,
)  # fmt: skip
DRAIN = Operation(
    "gpu_broker", "drain", Drain, DrainView, Port.RESOURCES, "Lend nothing more of a device or node, or lend again",
    http=(Http("POST", "/api/gpu/drain"),), errors=("no-device",), example={"node": "n1"},
)  # fmt: skip
CONFIGURE = Operation(
    "gpu_broker", "configure", ConfigureBroker, BrokerConfig, Port.RESOURCES, "Policy, quotas, idle time, notice",
    http=(Http("POST", "/api/config/resources"),), example={"policy": "pack"},
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (HEALTH, STATUS, ACTIVE, USAGE, DRAIN, CONFIGURE)
EVENTS: tuple[EventType, ...] = (
    EventType(DeviceChanged, "chimera.event.gpu_broker.device", "a device came, went, fell ill or recovered"),
)  # fmt: skip
