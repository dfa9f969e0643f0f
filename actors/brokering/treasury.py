"""Prices and budgets in force: kept in the stream of records, so that every broker follows them, over restarts too."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from actors.costing.buckets import MINUTE
from actors.costing.budget import MOST_BUDGETS, Budget, whole_period
from actors.costing.prices import Table, Tariff
from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.errors import BadMessageError, ConflictError
from subjects.cost import PriceList, SetBudget, SetPrices

from .page import Page
from .streams import MONEY


class Money(msgspec.Struct, frozen=True, array_like=True):
    """Price tables of all times, in order, and budgets by tenant."""

    tables: tuple[Table, ...] = ()
    budgets: dict[str, Budget] = {}


class Treasury(Page[Money]):
    """Reads and changes prices and budgets.

    Args:
        bus: Where they are.
        clock: For when prices begin.
        put: Takes what is in force from now on.
        make_id: Makes message ids.
    """

    def __init__(
        self, bus: Bus, clock: Clock, put: Callable[[Money], None], make_id: Callable[[], str]
    ) -> None:  # fmt: skip
        self._clock, self._told = clock, put
        self.tariff = Tariff()
        super().__init__(bus, MONEY, Money(), self._use, make_id)

    def _use(self, money: Money) -> None:
        self.tariff = Tariff(money.tables)
        self._told(money)

    async def set_prices(self, message: SetPrices) -> PriceList:
        """Put another price table in force from the next whole minute on; what was used before keeps its price.

        Raises:
            FencedError: If others change it all the time.
        """
        since = math.ceil(self._clock.time() / MINUTE) * float(MINUTE)
        table = Table(since, message.currency, tuple(message.prices), message.watts)
        await self.change(lambda old: msgspec.structs.replace(old, tables=Tariff(old.tables).followed_by(table)))
        return self.prices()

    def prices(self) -> PriceList:
        """The price table in force."""
        now = self.tariff.now
        return PriceList(currency=now.currency, prices=list(now.prices), watts=now.watts)

    async def set_budget(self, message: SetBudget) -> None:
        """Give a tenant a budget, or take it away.

        Raises:
            ConflictError: If there are no prices that it could be held against.
            BadMessageError: If there are too many budgets.
            FencedError: If others change them all the time.
        """
        if message.amount and message.unit == "money" and not self.tariff.now.prices:
            raise ConflictError(
                "there are no prices that a budget of money could be held against", hint="set them: chimera gpu prices"
            )
        await self.change(lambda old: _with(old, message))


def _with(money: Money, message: SetBudget) -> Money:
    budgets = {name: budget for name, budget in money.budgets.items() if name != message.tenant}
    if message.amount:
        budgets[message.tenant] = Budget(message.unit, message.amount, whole_period(message.period_s))
    if len(budgets) > MOST_BUDGETS:
        raise BadMessageError(f"there are {MOST_BUDGETS} budgets already", hint="take one away: amount 0")
    return msgspec.structs.replace(money, budgets=budgets)
