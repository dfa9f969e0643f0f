"""Money and joules: what resources cost, what would cost less, and budgets. Unix seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Reply, Request
from ._operation import Http, Operation, Port
from ._types import Count
from .task import MaybeToken, Word

Unit = Literal["money", "joules"]
Basis = Literal["measured", "modelled"]


class Price(Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an hour of a node with these devices costs; ``model`` as in a device's name, empty = a node without GPU.

    The price of a node with GPUs is divided over them; the processors beside them cost nothing more.
    """

    model: Word = ""
    per_hour: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    gpus: Annotated[int, Meta(ge=0, le=64)] = 1
    processors: Annotated[int, Meta(ge=0, le=4096)] = 0
    memory_mib: Annotated[int, Meta(ge=0, le=1 << 30)] = 0
    spot: bool = False


class CostLine(Reply, frozen=True, kw_only=True):
    """What one layer, tenant and agent used: the sum of its lease intervals, times the share of each device.

    Attributes:
        cost: ``None`` if a part of it has no price.
        joules: The device's mean energy by share; ``None`` if nothing tells it.
        joules_from: Where they come from, worst first: ``counter``, ``integrated``, ``declared`` or ``none``; and for
            which part of the time, if not for all.
        idle: What was there and was not lent: a line of its own.
    """

    layer: str
    tenant: str
    agent: str
    leases: Count
    gpu_hours: float
    cpu_hours: float
    cost: float | None
    joules: float | None
    joules_from: str
    idle: bool = False


class Costs(Reply, frozen=True, kw_only=True):
    """The ledger of a time, by who used what; ``since`` is the whole minute, hour or day in which the time began.

    Attributes:
        cost: The sum of the lines that have a price, the idle one included; ``None`` = none has.
        joules: Likewise, of what was measured.
        gpu_hours: Of lent GPUs.
        idle_share: The part of the GPUs, or without any of the processors, that was not lent.
    """

    since: float
    until: float
    currency: str
    lines: list[CostLine]
    cost: float | None
    joules: float | None
    gpu_hours: float
    idle_share: float | None


class GetCosts(Request[Costs], frozen=True, kw_only=True):
    """What was used, by layer, tenant and agent."""

    hours: Annotated[float, Meta(gt=0, le=8760)] = 24.0
    tenant: MaybeToken = ""


class Saving(Reply, frozen=True, kw_only=True):
    """Something that can be done, and what it saves per day; ``how`` is the command or setting."""

    kind: Literal["node-mix", "idle-release", "batching", "consolidation"]
    words: str
    how: str
    saves: float
    unit: Unit
    basis: Basis
    figures: dict[str, float | str]


class CostPlan(Reply, frozen=True, kw_only=True):
    """What would cost less, most first, and on what demand that is based."""

    savings: list[Saving]
    hours: float
    words: list[str]


class GetCostPlan(Request[CostPlan], frozen=True, kw_only=True):
    """Concrete ways to spend less, from the recorded demand."""

    hours: Annotated[float, Meta(gt=0, le=8760)] = 168.0
    latency_slack_ms: Annotated[float, Meta(ge=0, le=60_000)] = 50.0


class TenantBudget(Reply, frozen=True, kw_only=True):
    """A tenant's budget of the present period, what was used of it, and what is committed by live leases.

    ``runs_out_at`` is when it will be used up at the present rate; a request that it does not cover is refused.
    """

    tenant: str
    unit: Unit
    amount: float
    period_s: float
    used: float
    committed: float
    left: float
    begins_at: float
    runs_out_at: float | None


class BudgetList(Reply, frozen=True, kw_only=True):
    """Budgets of all tenants that have one."""

    budgets: list[TenantBudget]


class GetBudget(Request[BudgetList], frozen=True, kw_only=True):
    """Budgets with what was used of them."""

    tenant: MaybeToken = ""


class SetBudget(Request[BudgetList], frozen=True, kw_only=True):
    """Give a tenant a budget of money or joules per period; amount 0 takes it away.

    Periods are counted from the beginning of Unix time, and rounded up to whole minutes, above a day to hours, above a
    month to days. A request must be covered for its whole first time to live, on the dearest device that suits it.
    Once a budget is used up, the tenant's leases that use something of it are given the notice of the rules.
    """

    tenant: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)")]
    unit: Unit = "money"
    amount: Annotated[float, Meta(ge=0, le=1e12)] = 0.0
    period_s: Annotated[float, Meta(ge=60, le=31_536_000)] = 86_400.0


class PriceList(Reply, frozen=True, kw_only=True):
    """Prices in force."""

    currency: str
    prices: list[Price]
    watts: float | None


class GetPrices(Request[PriceList], frozen=True, kw_only=True):
    """Prices in force."""


class SetPrices(Request[PriceList], frozen=True, kw_only=True):
    """Set the price table, in force from the next whole minute on: what was used before keeps its price.

    The first table of all holds for the past, too. ``watts`` is what an idle node of this box is declared to take where
    nothing measures it.
    """

    currency: Word = "EUR"
    prices: Annotated[list[Price], Meta(max_length=1000)] = []
    watts: Annotated[float, Meta(gt=0, le=1e6)] | None = None


COSTS = Operation(
    "gpu_broker", "costs", GetCosts, Costs, Port.RESOURCES, "What was used, by layer, tenant and agent",
    http=(Http("GET", "/api/costs/metrics"),), safe=True, timeout_s=15.0,
)  # fmt: skip
COST_PLAN = Operation(
    "gpu_broker", "cost_plan", GetCostPlan, CostPlan, Port.RESOURCES, "Concrete ways to spend less",
    http=(Http("GET", "/api/costs/optimization"),), safe=True, timeout_s=30.0,
)  # fmt: skip
BUDGET = Operation(
    "gpu_broker", "budget", GetBudget, BudgetList, Port.RESOURCES, "Budgets and what was used of them",
    http=(Http("GET", "/api/costs/budget"),), safe=True,
)  # fmt: skip
SET_BUDGET = Operation(
    "gpu_broker", "set_budget", SetBudget, BudgetList, Port.RESOURCES, "Give a tenant a budget",
    http=(Http("POST", "/api/costs/budget"),), example={"tenant": "default", "amount": 10.0},
)  # fmt: skip
PRICES = Operation(
    "gpu_broker", "prices", GetPrices, PriceList, Port.RESOURCES, "Prices in force",
    http=(Http("GET", "/api/costs/prices"),), safe=True,
)  # fmt: skip
SET_PRICES = Operation(
    "gpu_broker", "set_prices", SetPrices, PriceList, Port.RESOURCES, "Set the price table",
    http=(Http("POST", "/api/costs/prices"),), example={"prices": [{"model": "A100", "per_hour": 2.5}]},
)  # fmt: skip
OPERATIONS: tuple[Operation[Any, Any], ...] = (COSTS, COST_PLAN, BUDGET, SET_BUDGET, PRICES, SET_PRICES)
