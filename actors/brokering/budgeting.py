"""Budgets at admission: a request that its tenant's budget does not cover is refused, and what runs over has notice."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from actors.costing.budget import Budget, Standing, unknown, view, words
from actors.costing.prices import Sort
from chimera.errors import ChimeraError, OverBudgetError
from subjects.cost import BudgetList, GetBudget
from subjects.lease import Allocate, Need

from .accounts import Accounts, gpus_of
from .changes import memory_of
from .core import Core
from .desk import Desk
from .standings import LEAST_S, Standings
from .treasury import Treasury
from .want import could

WATCH_S = 5.0
"""Between looks for tenants whose budget is used up."""


class Budgeting:
    """Holds requests against budgets.

    Args:
        core: What the parts share.
        desk: Gives notice.
        treasury: Budgets and prices.
        accounts: What was used.
    """

    def __init__(self, core: Core, desk: Desk, treasury: Treasury, accounts: Accounts) -> None:
        self._core, self._desk, self._treasury = core, desk, treasury
        self._standings = Standings(core, treasury, accounts, self._looking)
        self._costs: dict[bytes, float] = {}
        self._asked: dict[str, tuple[str, float]] = {}
        self._granted: list[str] = []

    def changed(self) -> None:
        """Prices or budgets changed."""
        self._standings.changed()
        self._costs.clear()

    def _looking(self) -> Callable[[], None]:
        """Live leases are being read: what was granted until now needs no reservation once they are added up."""
        granted = list(self._granted)

        def done() -> None:
            for lease in granted:
                self._asked.pop(lease, None)
            self._granted = self._granted[len(granted) :]
            self._costs.clear()

        return done

    # -- requests ------------------------------------------------------------------------------------------------------

    async def admit(self, lease: str, message: Allocate) -> None:
        """Let a request pass if its tenant's budget covers all of its first time to live, at the dearest device.

        Raises:
            OverBudgetError: If it does not; it says the budget, what is used of it, and when it renews.
            UnavailableError: If what was used is not known yet.
        """
        tenant, now = message.tenant, self._core.clock.time()
        if tenant not in self._treasury.value.budgets:
            return
        at = await self._standings.fresh(tenant, now)
        if at is not None and self._lacks(message, at, now):  # what was reserved may have been given back since
            at = await self._standings.fresh(tenant, now, LEAST_S)
        budget = self._treasury.value.budgets.get(tenant)
        if at is None or budget is None:
            return
        if self._lacks(message, at, now):
            raise self._refusal(message, budget, at, now)
        self._asked[lease] = (tenant, self._cost(budget, message, at, now))

    def settle(self, lease: str, *, granted: bool) -> None:
        """A request was answered. Until budgets are added up anew a grant counts as what was reserved for it."""
        if not granted:
            self._asked.pop(lease, None)
        elif lease in self._asked:
            self._granted.append(lease)

    def _lacks(self, message: Allocate, at: Standing, now: float) -> bool:
        """Whether a budget does not cover a request."""
        budget = self._treasury.value.budgets.get(message.tenant)
        return budget is not None and self._cost(budget, message, at, now) > self._left(budget, message.tenant, at)

    def _left(self, budget: Budget, tenant: str, at: Standing) -> float:
        asked = sum(more for other, more in self._asked.values() if other == tenant)
        return budget.amount - at.used - at.committed - asked

    def _refusal(self, message: Allocate, budget: Budget, at: Standing, now: float) -> OverBudgetError:
        renews_at = at.begins_at + budget.period_s
        cost, left = self._cost(budget, message, at, now), max(0.0, self._left(budget, message.tenant, at))
        return OverBudgetError(
            f"{words(message.tenant, budget, at, self._treasury.tariff.now.currency)}; {left:.4g} are left, and this "
            f"needs up to {cost:.4g}",
            hint="ask for less, for a shorter time or a cheaper model; see: chimera gpu budget",
            retry_after_s=renews_at - now,
            data={"used": at.used, "committed": at.committed, "left": left, "needs": cost, "renews_at": renews_at},
        )  # fmt: skip

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
                rate = self._standings.rates.per_s(budget.unit, sort)
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
        watts = self._standings.rates.watts
        used = [(watts((one.kind, one.model)) or 0.0) * one.share(need.cpu_milli, need.main_memory_mib) for one in cpus]
        return max(used, default=0.0)

    # -- how budgets stand, and what runs over -------------------------------------------------------------------------

    async def views(self, message: GetBudget) -> BudgetList:
        """Budgets as they stand now.

        Raises:
            UnavailableError: If what was used is not known yet.
        """
        await self._standings.look()
        now, of = self._core.clock.time(), self._standings.of
        return BudgetList(budgets=[
            view(tenant, budget, of[tenant], now)
            for tenant, budget in sorted(self._treasury.value.budgets.items())
            if message.tenant in {"", tenant} and tenant in of
        ])  # fmt: skip

    async def watch(self) -> None:
        """Give notice to the leases of tenants whose budget is used up, for ever."""
        while True:
            await self._core.clock.sleep(WATCH_S)
            if self._treasury.value.budgets:
                try:
                    await self.end_overspending()
                except ChimeraError as error:
                    self._core.report("resource-optimization", f"budgets: {error.detail}", level="warning")

    async def end_overspending(self) -> None:
        """Give notice to what uses a budget that is used up.

        Raises:
            UnavailableError: If what was used is not known yet.
        """
        await self._standings.look()
        core, now = self._core, self._core.clock.time()
        for tenant, budget in list(self._treasury.value.budgets.items()):
            at = self._standings.of.get(tenant)
            if at is None or at.used < budget.amount:
                continue
            reason = words(tenant, budget, at, self._treasury.tariff.now.currency)
            for lease in self._spenders(tenant, budget):
                if await self._desk.give_notice(lease, now + core.rules.notice_s, reason):
                    core.report("resource-optimization", f"lease {lease} has notice: {reason}", lease=lease)

    def _spenders(self, tenant: str, budget: Budget) -> list[str]:
        """Live leases of a tenant that use something of its budget."""
        found: dict[str, None] = {}
        for one in self._standings.live:
            share = one.share
            if one.expires_at and share.who.tenant == tenant and self._standings.rates.per_s(budget.unit, share.sort):
                found[share.lease] = None
        return list(found)
