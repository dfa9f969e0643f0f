"""How budgets stand: added up from the ledger and the live leases, in a thread, and carried on for a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import anyio
import anyio.to_thread

from actors.costing.buckets import HOUR, Bucket
from actors.costing.budget import Budget, Live, Rates, Standing, begins, by_tenant, longest, standing
from actors.costing.statement import Curves
from chimera.errors import UnavailableError

from .accounts import Accounts
from .core import Core
from .treasury import Treasury

LOOK_S = 5.0
"""For so long what was added up stands; what is granted meanwhile is reserved, what is live was committed already."""

LEAST_S = 0.25
"""Nobody is refused by figures that are older."""

_TRIES = 5


class Standings:
    """Adds budgets up.

    Args:
        core: What the parts share.
        treasury: Budgets and prices.
        accounts: What was used.
        on_look: Called as the leases that are live are read, and gives what to call when they have been added up.
    """

    def __init__(
        self, core: Core, treasury: Treasury, accounts: Accounts, on_look: Callable[[], Callable[[], None]]
    ) -> None:  # fmt: skip
        self._core, self._treasury, self._accounts, self._on_look = core, treasury, accounts, on_look
        self._lock = anyio.Lock()
        self._changes = 0
        self._looked = float("-inf")
        self.of: dict[str, Standing] = {}
        self.rates = Rates(treasury.tariff, ())
        self.live: list[Live] = []

    def changed(self) -> None:
        """Prices or budgets changed: add up anew before the next request."""
        self._changes += 1
        self._looked = float("-inf")

    async def fresh(self, tenant: str, now: float, age_s: float | None = None) -> Standing | None:
        """How a tenant's budget stands, no older than ``age_s`` (``LOOK_S``); ``None`` if it has none.

        Raises:
            UnavailableError: If what was used is not known yet, or budgets are changed all the time.
        """
        for _ in range(_TRIES):
            budget = self._treasury.value.budgets.get(tenant)
            if budget is None:
                return None
            at, age = self.of.get(tenant), self._core.clock.monotonic() - self._looked
            if at is not None and age < (LOOK_S if age_s is None else age_s) and at.begins_at == begins(budget, now):
                return at
            await self.look()
            now = self._core.clock.time()
        raise UnavailableError("budgets are changed by others all the time", retry_after_s=1.0)

    async def look(self) -> None:
        """Add up all budgets; who comes while somebody does waits for that one.

        Raises:
            UnavailableError: If what was used is not known yet.
        """
        await self._accounts.wait()
        asked = self._core.clock.monotonic()
        async with self._lock:
            if self._looked < asked or self._looked == float("-inf"):
                await self._look()

    async def _look(self) -> None:
        now, began, changes = self._core.clock.time(), self._core.clock.monotonic(), self._changes
        budgets, tariff = self._treasury.value.budgets, self._treasury.tariff
        buckets = self._accounts.timeline.view(min(longest(budgets, now), now - HOUR))
        live, done = self._accounts.live(now), self._on_look()
        rates = Rates(tariff, [one for one in buckets if one.start >= now - HOUR])
        found = await anyio.to_thread.run_sync(added_up, budgets, buckets, live, rates, now)
        if changes == self._changes:
            self.of, self.rates, self.live, self._looked = found, rates, live, began
            done()


def added_up(
    budgets: Mapping[str, Budget], buckets: Sequence[Bucket], live: Iterable[Live], rates: Rates, now: float
) -> dict[str, Standing]:  # fmt: skip
    """How each budget stands."""
    used, curves = by_tenant(buckets, budgets), Curves(buckets, rates.tariff)
    mine: dict[str, list[Live]] = {tenant: [] for tenant in budgets}
    for one in live:
        if one.share.who.tenant in mine:
            mine[one.share.who.tenant].append(one)
    return {
        tenant: standing(budget, used.get(tenant, ()), mine[tenant], curves=curves, rates=rates, now=now)
        for tenant, budget in budgets.items()
    }
