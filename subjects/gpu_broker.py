"""Port 8004, ``chimera.gpu_broker.*``: the broker itself, its rules, and what is used.

Leases stand in ``lease``, devices in ``device``, money and joules in ``cost``, forecasts in ``capacity``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Reply, Request
from ._operation import Http, Operation, Port
from ._types import Count
from .device import Kind
from .task import MaybeToken, Seconds, Word

Packing = Literal["pack", "spread"]
"""``pack`` keeps fragmentation low and empties nodes; ``spread`` takes the emptiest, for heat and for fault domains."""


class TenantRule(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one tenant may have, in whole GPUs (milli / 1000) and processors.

    Attributes:
        weight: Its part of what is left, beside the other tenants that want something.
        gpus: Its quota: GPUs that it gets back from those who have more than theirs. 0 = none.
        most_gpus: Most GPUs it may have at once; ``None`` = no limit.
        cpus: Quota of processors.
        most_cpus: Most processors.
    """

    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    gpus: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    most_gpus: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    cpus: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    most_cpus: Annotated[float, Meta(ge=0, le=1e6)] | None = None


Tenants = Annotated[dict[Word, TenantRule], Meta(max_length=1000)]


class Rules(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the broker decides.

    Attributes:
        packing: See ``Packing``.
        tenants: Rules by tenant; one that is not named has a weight of 1 and no quota.
        patience_s: After waiting so long a request has nothing placed before it that would use what it needs.
        notice_s: Between notice and taking back.
        idle_s: A lease that was not busy for so long is given notice; 0 = never.
        reclaim: Give notice to tenants that have more than their quota when one below its own waits.
        preempt: Give notice to preemptible leases of lower priority when that makes room for a whole request.
    """

    packing: Packing = "pack"
    tenants: Tenants = {}
    patience_s: Seconds = 30.0
    notice_s: Seconds = 30.0
    idle_s: Seconds = 0.0
    reclaim: bool = True
    preempt: bool = True


class GetRules(Request[Rules], frozen=True, kw_only=True):
    """How the broker decides."""


class ConfigureBroker(Request[Rules], frozen=True, kw_only=True):
    """Change how the broker decides; what is not given stays. Applied at once, and kept across restarts.

    ``tenants`` are added to those there are; ``drop`` takes tenants out.
    """

    packing: Packing | None = None
    tenants: Tenants = {}
    drop: Annotated[list[Word], Meta(max_length=1000)] = []
    patience_s: Seconds | None = None
    notice_s: Seconds | None = None
    idle_s: Seconds | None = None
    reclaim: bool | None = None
    preempt: bool | None = None


class Usage(Reply, frozen=True, kw_only=True):
    """What one kind of device is used for now. Counts are in whole devices (milli / 1000).

    ``busy`` is the mean utilisation that the devices tell; ``None`` = none tells it. ``fragmented`` is the idle compute
    that typical requests can't use; ``None`` while too few requests are known.
    """

    kind: Kind
    devices: Count
    total: float
    lent: float
    free: float
    unusable: float
    busy: float | None
    fragmented: float | None
    memory_mib: int
    memory_lent_mib: int


class Holder(Reply, frozen=True, kw_only=True):
    """What one layer of one tenant has: leases, GPUs and processors (milli / 1000), and its dominant share of all."""

    tenant: str
    layer: str
    leases: Count
    gpus: float
    cpus: float
    share: float
    waiting: Count


class ActiveResources(Reply, frozen=True, kw_only=True):
    """What is lent now, by kind and by holder."""

    kinds: list[Usage]
    holders: list[Holder]
    leases: Count
    waiting: Count
    nodes: Count


class GetActiveResources(Request[ActiveResources], frozen=True, kw_only=True):
    """What is lent now, and to whom."""

    tenant: MaybeToken = ""


class UsageHour(Reply, frozen=True, kw_only=True):
    """Of one hour of the day (UTC): devices lent and busy, on average and at most; ``samples`` it is made of."""

    hour: Annotated[int, Meta(ge=0, le=23)]
    samples: Count
    lent_mean: float
    lent_most: float
    busy_mean: float | None
    waiting_mean: float


class UsagePatterns(Reply, frozen=True, kw_only=True):
    """How use varies over the day, from samples taken each minute since ``since``.

    ``idle_share`` is the part of lent device time in which devices told that they were idle: lent and not used.
    """

    kind: Kind
    since: float
    samples: Count
    hours: list[UsageHour]
    busiest_hour: int | None
    idle_share: float | None
    shapes: dict[str, float]


class GetUsagePatterns(Request[UsagePatterns], frozen=True, kw_only=True):
    """How use varies over the day; which shapes are asked for, as shares of requests."""

    kind: Kind = "gpu"


class BrokerHealth(Reply, frozen=True, kw_only=True):
    """How the broker does. Any number of instances decide at once.

    ``refused_devices`` are those whose record could not be read or whose fence saw a newer token than the record has:
    nothing is lent of them until a person looks.
    """

    status: Literal["pass", "warn", "fail"]
    node: str
    version: str
    uptime_s: float
    nodes: Count
    devices: Count
    ill: Count
    leases: Count
    waiting: Count
    grants_per_s: float
    grant_p50_ms: float | None
    grant_p99_ms: float | None
    conflicts: Count
    refused_devices: list[str]
    checks: dict[str, str]


class CheckBroker(Request[BrokerHealth], frozen=True, kw_only=True):
    """How the broker does."""


_P = Port.RESOURCES

HEALTH = Operation("gpu_broker", "health", CheckBroker, BrokerHealth, _P, "How the broker does", safe=True)
RULES = Operation(
    "gpu_broker", "rules", GetRules, Rules, _P, "How the broker decides",
    http=(Http("GET", "/api/config/resources"),), safe=True,
)  # fmt: skip
CONFIGURE = Operation(
    "gpu_broker", "configure", ConfigureBroker, Rules, _P, "Packing, quotas, weights, windows",
    http=(Http("POST", "/api/config/resources"),), example={"packing": "pack", "idle_s": 600},
)  # fmt: skip
ACTIVE = Operation(
    "gpu_broker", "active", GetActiveResources, ActiveResources, _P, "What is lent now, and to whom",
    http=(Http("GET", "/api/resources/active"),), safe=True,
)  # fmt: skip
USAGE = Operation(
    "gpu_broker", "usage", GetUsagePatterns, UsagePatterns, _P, "How use varies over the day",
    http=(Http("GET", "/api/resources/patterns"),), safe=True,
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (HEALTH, RULES, CONFIGURE, ACTIVE, USAGE)
