"""Budgets at admission: a request that its tenant's budget does not cover is refused, and what runs over has notice."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from actors.costing.buckets import HOUR
from actors.costing.budget import Budget, Live, Rates, Standing, begins, longest, standing, unknown, view, words
from actors.costing.prices import Sort
from chimera.errors import ChimeraError, OverBudgetError
from subjects.cost import BudgetList, GetBudget
from subjects.lease import Allocate, Need

from .accounts import Accounts, gpus_of
from .changes import memory_of
from .core import Core
from .desk import Desk
from .treasury import Treasury
from .want import could

LOOK_S = 5.0
"""For so long the standing of budgets is carried on from what live leases use a second, before it is added up anew."""

LEAST_S = 0.25
"""Nobody is refused by figures that are older."""


class Budgeting:
    """Holds requests against budgets.

    Args:
        core: What the parts share.
        desk: Gives notice.
        treasury: Budgets and prices.
        accounts: What was used.
    """

    def __init__(self, core: Core, desk: Desk, treasury: Treasury, accounts: Accounts) -> None:
        self._core, self._desk, self._treasury, self._accounts = core, desk, treasury, accounts
        self._at: dict[str, Standing] = {}
        self._looked = float("-inf")
        self._rates = Rates(treasury.tariff, ())
        self._live: list[Live] = []
        self._costs: dict[bytes, float] = {}
        self._asked: dict[str, tuple[str, float]] = {}
        self._granted: list[str] = []

    # -- requests ------------------------------------------------------------------------------------------------------

    async def admit(self, lease: str, message: Allocate) -> None:
        """Let a request pass if its tenant's budget covers all of its first time to live, at the dearest device.

        Raises:
            OverBudgetError: If it does not; it says the budget, what is used of it, and when it renews.
            UnavailableError: If what was used is not known yet.
        """
        budget = self._treasury.value.budgets.get(message.tenant)
        if budget is None:
            return
        await self._accounts.wait()
        now = self._core.clock.time()
        cost, left = self._weigh(budget, message, now)
        if cost > left and self._core.clock.monotonic() - self._looked >= LEAST_S:
            self.look(now)  # what was reserved may have been given back since
            cost, left = self._weigh(budget, message, now)
        if cost > left:
            raise self._refusal(message.tenant, budget, cost, left, now)
        self._asked[lease] = (message.tenant, cost)

    def _weigh(self, budget: Budget, message: Allocate, now: float) -> tuple[float, float]:
        """What a request needs, and what is left."""
        at = self._standing(message.tenant, budget, now)
        asked = sum(more for tenant, more in self._asked.values() if tenant == message.tenant)
        return self._cost(budget, message, at, now), budget.amount - at.used - at.committed - asked

    def _refusal(self, tenant: str, budget: Budget, cost: float, left: float, now: float) -> OverBudgetError:
        at, left = self._at[tenant], max(0.0, left)
        renews_at = at.begins_at + budget.period_s
        return OverBudgetError(
            f"{words(tenant, budget, at, self._treasury.tariff.now.currency)}; {left:.4g} are left, and this needs up "
            f"to {cost:.4g}",
            hint="ask for less, for a shorter time or a cheaper model; see: chimera gpu budget",
            retry_after_s=renews_at - now,
            data={
                "used": at.used, "committed": at.committed, "left": left, "needs": cost, "renews_at": renews_at
            },
        )  # fmt: skip

    def settle(self, lease: str, *, granted: bool) -> None:
        """A request was answered. Until budgets are added up anew a grant counts as what was reserved for it."""
        if not granted:
            self._asked.pop(lease, None)
        elif lease in self._asked:
            self._granted.append(lease)

    def _cost(self, budget: Budget, message: Allocate, at: Standing, now: float) -> float:
        key = msgspec.msgpack.encode((budget.unit, message.need))
        per_s = self._costs.get(key)
        if per_s is None:
            per_s = self._costs[key] = self._dearest(budget, message)
        return per_s * max(0.0, min(message.ttl_s, at.begins_at + budget.period_s - now))

    def _dearest(self, budget: Budget, message: Allocate) -> float:
        """What a second of it uses at most, on the devices that suit it."""
        core, need, most = self._core, message.need, 0.0
        gpus, known = gpus_of(core), dict[Sort, float]()
        for record in core.registry.records():
            if not could(need, record):
                continue
            sort = Sort(record.kind, record.model, record.milli, gpus.get(record.node, 0))
            if sort not in known:
                rate = self._rates.per_s(budget.unit, sort)
                if rate is None:
                    raise OverBudgetError(
                        f"tenant {message.tenant} has a budget of {budget.unit}, and {unknown(budget.unit, sort.model)}"
                    )
                known[sort] = rate
            share = record.share(need.milli, memory_of(record, need.milli, need.memory_mib))
            most = max(most, known[sort] * share)
        return most * need.devices + self._beside(budget, need, gpus)

    def _beside(self, budget: Budget, need: Need, gpus: dict[str, int]) -> float:
        """Processors beside GPUs cost no money, but joules."""
        if need.kind == "cpu" or budget.unit == "money" or not need.cpu_milli:
            return 0.0
        cpus = [one for one in self._core.registry.records() if one.kind == "cpu" and one.node in gpus]
        rates = [
            (self._rates.watts((one.kind, one.model)) or 0.0) * one.share(need.cpu_milli, need.main_memory_mib)
            for one in cpus
        ]
        return max(rates, default=0.0)

    # -- how budgets stand ---------------------------------------------------------------------------------------------

    def _standing(self, tenant: str, budget: Budget, now: float) -> Standing:
        if self._core.clock.monotonic() - self._looked >= LOOK_S or tenant not in self._at:
            self.look(now)
        at = self._at[tenant]
        if at.begins_at != begins(budget, now):
            self.look(now)
        return self._at[tenant]

    def look(self, now: float) -> None:
        """Add up all budgets from the ledger and the live leases."""
        budgets, accounts = self._treasury.value.budgets, self._accounts
        since = min(longest(budgets, now), now - HOUR)
        buckets = accounts.timeline.view(since)
        self._live = accounts.live(now)
        self._rates = Rates(self._treasury.tariff, [one for one in buckets if one.start >= now - HOUR])
        mine = _by_tenant(self._live, budgets)
        self._at = {
            tenant: standing(tenant, budget, buckets, mine[tenant], rates=self._rates, now=now)
            for tenant, budget in budgets.items()
        }
        for lease in self._granted:
            self._asked.pop(lease, None)
        self._granted.clear()
        self._costs.clear()
        self._looked = self._core.clock.monotonic()

    def changed(self) -> None:
        """Prices or budgets changed: add up anew before the next request."""
        self._looked = float("-inf")
        self._at.clear()

    async def views(self, message: GetBudget) -> BudgetList:
        """Budgets as they stand now.

        Raises:
            UnavailableError: If what was used is not known yet.
        """
        await self._accounts.wait()
        now = self._core.clock.time()
        self.look(now)
        return BudgetList(budgets=[
            view(tenant, budget, self._at[tenant], now)
            for tenant, budget in sorted(self._treasury.value.budgets.items())
            if message.tenant in {"", tenant}
        ])  # fmt: skip

    # -- what runs over ------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Give notice to the leases of tenants whose budget is used up, for ever."""
        while True:
            await self._core.clock.sleep(LOOK_S)
            if self._treasury.value.budgets and self._accounts.ready.is_set():
                try:
                    await self.end_overspending()
                except ChimeraError as error:
                    self._core.report("resource-optimization", f"budgets: {error.detail}", level="warning")

    async def end_overspending(self) -> None:
        """Give notice to what uses a budget that is used up."""
        core, now = self._core, self._core.clock.time()
        self.look(now)
        for tenant, budget in self._treasury.value.budgets.items():
            at = self._at[tenant]
            if at.used < budget.amount:
                continue
            reason = words(tenant, budget, at, self._treasury.tariff.now.currency)
            for lease in self._spenders(tenant, budget):
                if await self._desk.give_notice(lease, now + core.rules.notice_s, reason):
                    core.report("resource-optimization", f"lease {lease} has notice: {reason}", lease=lease)

    def _spenders(self, tenant: str, budget: Budget) -> list[str]:
        """Live leases of a tenant that use something of its budget."""
        found: dict[str, None] = {}
        for one in self._live:
            share = one.share
            if one.expires_at and share.who.tenant == tenant and self._rates.per_s(budget.unit, share.sort):
                found[share.lease] = None
        return list(found)


def _by_tenant(live: Iterable[Live], tenants: Iterable[str]) -> dict[str, list[Live]]:
    found: dict[str, list[Live]] = {tenant: [] for tenant in tenants}
    for one in live:
        if one.share.who.tenant in found:
            found[one.share.who.tenant].append(one)
    return found
