"""Costs, ways to spend less, and capacity: gathers what is known on the loop, and works it out in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
import msgspec

from actors.costing import idleness
from actors.costing.batching import Ended
from actors.costing.buckets import DAY, HOUR, Bucket
from actors.costing.budget import Rates
from actors.costing.idleness import Idle
from actors.costing.mix import Site
from actors.costing.prices import Sort
from actors.costing.statement import statement
from actors.costing.timeline import HOURS_FOR
from chimera.errors import ChimeraError, DeadlineError
from chimera.wire import decode
from subjects.capacity import CapacityPlan, PlanCapacity
from subjects.cost import CostPlan, Costs, GetCostPlan, GetCosts

from .accounts import Accounts, gpus_of
from .core import Core
from .planning import Known, plan
from .record import WHOLE, Grant, Record
from .treasury import Treasury

T = TypeVar("T")
COSTS_S, PLAN_S = 10.0, 20.0
"""Longest that a question is worked on."""

KPI = "KPI"
MOST_TASKS = 5_000
"""Tasks of the past that say how long batches take."""

_READ_S = 3.0


class Economy:
    """Answers what it costs.

    Args:
        core: What the parts share.
        treasury: Prices.
        accounts: What was used.
    """

    def __init__(self, core: Core, treasury: Treasury, accounts: Accounts) -> None:
        self._core, self._treasury, self._accounts = core, treasury, accounts
        self._lane = anyio.CapacityLimiter(1)

    async def costs(self, message: GetCosts) -> Costs:
        """What was used since the whole minute, hour or day in which the time that is asked for began.

        Raises:
            UnavailableError: If the ledger is not read yet.
        """
        await self._accounts.wait()
        now, timeline = self._core.clock.time(), self._accounts.timeline
        since = timeline.floor(now - message.hours * HOUR)
        buckets, fleet = timeline.view(since), self._accounts.fleet()
        opens, tariff = [one.share for one in self._accounts.live(now)], self._treasury.tariff
        window = (float(since), now)
        return await self._aside(
            lambda _stop: statement(buckets, opens, window, tariff, fleet=fleet, tenant=message.tenant), COSTS_S
        )

    async def plan(self, message: GetCostPlan) -> CostPlan:
        """Ways to spend less, from what was recorded.

        Raises:
            UnavailableError: If the ledger is not read yet.
        """
        await self._accounts.wait()
        now, timeline = self._core.clock.time(), self._accounts.timeline
        buckets = timeline.view(timeline.floor(now - message.hours * HOUR))
        records = [one for one in self._core.registry.records() if not one.trouble and self._core.census.usable(one)]
        known = Known(
            now=now, buckets=buckets, records=records, sites=self._sites(), tariff=self._treasury.tariff,
            packing=self._core.rules.packing, idle=self._idle(buckets, now), spot=_preemptible(records),
            tasks=await self._tasks(), slack_s=message.latency_slack_ms / 1e3,
        )  # fmt: skip
        found = await self._aside(lambda stop: plan(known, stop), PLAN_S)
        for one in found.savings:
            self._core.report("resource-optimization", one.words, saves=one.saves, unit=one.unit, basis=one.basis)
        return found

    async def capacity(self, message: PlanCapacity) -> CapacityPlan:
        """Forecasts of demand.

        Raises:
            UnavailableError: If the ledger is not read yet.
        """
        await self._accounts.wait()
        core, now = self._core, self._core.clock.time()
        buckets = self._accounts.timeline.view(now - HOURS_FOR - DAY)
        there, lent = {"gpu": 0.0, "cpu": 0.0}, {"gpu": 0.0, "cpu": 0.0}
        for record in core.registry.records():
            if core.census.usable(record) and not record.trouble and not record.drained:
                there[record.kind] += record.milli / WHOLE
            lent[record.kind] += sum(grant.milli for grant in record.grants) / WHOLE
        found = await self._aside(lambda _stop: _outlooks(buckets, there, lent, message.hours, now), PLAN_S)
        for one in found.kinds:
            core.report("capacity-planning", one.recommendation, of=one.kind, hours=one.hours_of_history)
        return found

    async def _aside(self, work: Callable[[Callable[[], bool]], T], limit_s: float) -> T:
        """Work on copies in a thread, one at a time.

        Raises:
            DeadlineError: If it takes too long; then it ends by itself.
        """
        gone = threading.Event()
        try:
            with anyio.fail_after(limit_s):
                return await anyio.to_thread.run_sync(work, gone.is_set, abandon_on_cancel=True, limiter=self._lane)
        except TimeoutError as error:
            raise DeadlineError(f"it was not worked out within {limit_s:g} s") from error
        finally:
            gone.set()

    # -- what is known now ---------------------------------------------------------------------------------------------

    def _sites(self) -> list[Site]:
        registry = self._core.registry
        return [_site(node, registry.on_node(node)) for node in sorted(registry.nodes)]

    def _idle(self, buckets: list[Bucket], now: float) -> list[Idle]:
        """Live leases that nobody used for a while, by the same signs by which idle ones are given notice."""
        core, held = self._core, dict[str, list[tuple[Record, Grant]]]()
        busy_at: dict[str, float] = {}
        for record in core.registry.records():
            seen = core.census.busy_at.get(record.key, 0.0) if len(record.grants) == 1 else 0.0
            for grant in record.grants:
                if not grant.ended:
                    held.setdefault(grant.lease, []).append((record, grant))
                    busy_at[grant.lease] = max(busy_at.get(grant.lease, 0.0), grant.busy_at, seen)
        gpus = gpus_of(core)
        rates = Rates(self._treasury.tariff, [one for one in buckets if one.start >= now - HOUR])
        return [
            _idle_of(lease, pairs, now - busy_at[lease], gpus, rates)
            for lease, pairs in held.items()
            if now - busy_at[lease] >= idleness.IDLE_S
        ]

    async def _tasks(self) -> list[Ended]:
        """The last tasks that agents ran, if there are any."""
        found: list[Ended] = []
        try:
            with anyio.move_on_after(_READ_S):
                last = (await self._core.bus.stream_state(KPI))[1]
                async with self._core.bus.read(KPI, start_seq=max(1, last - MOST_TASKS + 1)) as source:
                    async for stored in source:
                        found += _ended(stored.data)
        except ChimeraError:
            pass  # no agents, no tasks
        return found


class _Timed(msgspec.Struct):
    agent: str
    node: str
    at: float
    run_ms: float
    outcome: str


def _ended(data: bytes) -> list[Ended]:
    try:
        one = decode(data, _Timed)
    except msgspec.DecodeError:
        return []
    return [Ended(one.agent, one.node, one.at, one.run_ms / 1e3)] if one.outcome == "ok" else []


def _idle_of(
    lease: str, pairs: list[tuple[Record, Grant]], idle_s: float, gpus: dict[str, int], rates: Rates
) -> Idle:  # fmt: skip
    money, watts = 0.0, 0.0
    for record, grant in pairs:
        share = record.share(grant.milli, grant.memory_mib)
        sort = Sort(record.kind, record.model, record.milli, gpus.get(record.node, 0))
        money += (rates.tariff.now.per_hour(sort) or 0.0) * share
        watts += (rates.watts((record.kind, record.model)) or 0.0) * share
    return Idle(lease, sum(grant.milli for _, grant in pairs) / WHOLE, idle_s, money or None, watts or None)


def _site(node: str, records: list[Record]) -> Site:
    gpus: dict[str, int] = {}
    for record in records:
        if record.kind == "gpu":
            gpus[record.model] = gpus.get(record.model, 0) + 1
    cpus = [record for record in records if record.kind == "cpu"]
    return Site(node, gpus, sum(one.milli for one in cpus) / WHOLE, sum(one.memory_mib for one in cpus))


def _preemptible(records: list[Record]) -> float:
    """The part of what is lent now that may be taken back at any time."""
    grants = [(one.share(grant.milli, grant.memory_mib), grant.preemptible) for one in records for grant in one.grants]
    total = sum(share for share, _ in grants)
    return sum(share for share, may in grants if may) / total if total else 0.0


def _outlooks(
    buckets: list[Bucket], there: dict[str, float], lent: dict[str, float], hours: int, now: float
) -> CapacityPlan:  # fmt: skip
    from actors.costing.outlook import hourly, outlook  # noqa: PLC0415 - numpy, only where it is used
    from actors.costing.timeline import KINDS  # noqa: PLC0415 - beside it

    found = [
        outlook(kind, *hourly(buckets, kind, now), there=there[kind], lent=lent[kind], hours=hours, now=now)
        for kind in KINDS
        if there[kind] or lent[kind]
    ]
    return CapacityPlan(kinds=found)
