"""How much will be needed: a forecast of demand with an interval, what such forecasts were worth, and what to do."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ._message import Reply, Request
from ._operation import Http, Operation, Port
from ._types import Count


class CapacityPoint(Reply, frozen=True, kw_only=True):
    """An hour to come: devices' worth of demand, with the interval."""

    at: float
    expected: float
    low: float
    high: float


class Capacity(Reply, frozen=True, kw_only=True):
    """How much will be needed, how well such forecasts did on the recorded past, and what to do.

    Attributes:
        kind: What is forecast.
        unit: ``GPUs`` or ``processors``.
        now: In use now, of ``there``.
        points: The forecast, hour by hour.
        error: Mean absolute error of the same forecast back-tested on the past; ``None`` while there is too little.
        naive_error: That of "as in the hour before".
        coverage: Share of back-tested hours within the interval, of ``confidence`` wanted.
        recommendation: In words, with the figure it rests on.
    """

    kind: Literal["gpu", "cpu"]
    unit: str
    now: float
    there: float
    confidence: float
    points: list[CapacityPoint]
    error: float | None
    naive_error: float | None
    coverage: float | None
    hours_of_history: Count
    recommendation: str


class CapacityPlan(Reply, frozen=True, kw_only=True):
    """Forecasts for each kind of device that there is."""

    kinds: list[Capacity]


class PlanCapacity(Request[CapacityPlan], frozen=True, kw_only=True):
    """Forecast demand, and say what to do."""

    hours: Annotated[int, Meta(ge=1, le=336)] = 24


CAPACITY = Operation(
    "gpu_broker", "capacity", PlanCapacity, CapacityPlan, Port.RESOURCES, "Forecast demand with an interval",
    http=(Http("GET", "/api/capacity/plan"),), safe=True, timeout_s=30.0,
)  # fmt: skip

OPERATIONS: tuple[Operation[Any, Any], ...] = (CAPACITY,)
