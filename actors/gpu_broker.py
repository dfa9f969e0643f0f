"""The GPU broker actor: leases of GPUs and processors, with fencing tokens. Thin: see ``brokering``.

Any number of instances decide at once. The truth is one record for each device in a stream, written by
compare-and-set; what an instance has in memory is a cache of it, so none leads and none is missed.
"""

from __future__ import annotations

import uuid
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from actors.brokering.accounts import Accounts
from actors.brokering.book import Book
from actors.brokering.budgeting import Budgeting
from actors.brokering.census import Census
from actors.brokering.clockwork import Clockwork
from actors.brokering.core import Core
from actors.brokering.desk import Desk
from actors.brokering.economy import Economy
from actors.brokering.figures import Figures, readings
from actors.brokering.figuring import active, health
from actors.brokering.floor import Floor
from actors.brokering.keeper import Keeper
from actors.brokering.patterns import Patterns
from actors.brokering.queue import Queue
from actors.brokering.registry import Registry
from actors.brokering.rulebook import Rulebook
from actors.brokering.streams import MONEY, RULES, device_spec, usage_spec
from actors.brokering.treasury import Money, Treasury
from actors.brokering.usage import Usage
from actors.brokering.views import device_view, lease_view, waiting_view
from actors.execution.layers import Layered
from chimera import handles
from chimera.bus.contract import Bus, Delivery
from chimera.errors import ChimeraError, NoLeaseError
from chimera.metrics import Metrics
from chimera.wire import decode, encode
from subjects.capacity import CapacityPlan, PlanCapacity
from subjects.cost import (
    BudgetList,
    CostPlan,
    Costs,
    GetBudget,
    GetCostPlan,
    GetCosts,
    GetPrices,
    PriceList,
    SetBudget,
    SetPrices,
)
from subjects.device import (
    NODE_REPORTED,
    DeviceChanged,
    Devices,
    Drain,
    Forget,
    GetDevices,
    NodeReported,
    Undrain,
)
from subjects.gpu_broker import (
    ActiveResources,
    BrokerHealth,
    CheckBroker,
    ConfigureBroker,
    GetActiveResources,
    GetRules,
    GetUsagePatterns,
    Rules,
    UsagePatterns,
)
from subjects.lease import Allocate, GetLease, GiveBack, Lease, Leases, ListLeases, Renew

if TYPE_CHECKING:
    from chimera.node.parts import Parts

_TELL_PAUSE_S = 0.01
_MOST_FACTS = 10_000
LEASED, CHANGED = "chimera.live.gpu_broker.leased", "chimera.event.gpu_broker.device"


class GpuBroker(Layered, name="gpu_broker", mailbox=4096, concurrency=1024, layer="resources"):
    """Lends devices.

    Args:
        bus: Where the records and the ledger are.
        metrics: Where measurements go.
        version: Shown in its health.
        replicas: Copies of the streams.
    """

    def __init__(
        self, *, bus: Bus, metrics: Metrics | None = None, version: str = "", replicas: int = 1
    ) -> None:  # fmt: skip
        self._bus, self._figures, self._version, self._replicas = bus, Figures(metrics), version, replicas

    @staticmethod
    def assemble(parts: Parts) -> dict[str, Any]:
        """The constructor's arguments on a node."""
        from chimera import __version__  # noqa: PLC0415 - only a node shows it

        return {"bus": parts.need("bus"), "metrics": parts.metrics, "version": __version__}

    async def on_start(self) -> None:
        """Read the records; from then on grant."""
        self._started = self.ctx.clock.monotonic()
        await self._bus.declare(device_spec(self._replicas))
        await self._bus.declare(usage_spec(self._replicas))
        self._make()
        core = self._core
        await core.book.load()
        self._nodes = await self._bus.subscribe(NODE_REPORTED, self._on_report)
        self._figures.show(readings(core, lambda: {(): float(len(self._queue))}))
        core.floor.learn()  # loads the placement, before anybody waits for it
        for work in (core.book.follow, self._clockwork.run, self._publish, self._accounts.run, self._budgeting.watch):
            self.ctx.spawn(work)
        devices, leases = sum(1 for _ in core.registry.records()), core.registry.live()
        self.ctx.event(
            "resource-optimization", f"{devices} devices, {leases} leases", devices=devices, leases=leases
        )  # fmt: skip

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - whatever the reason, the same is to do
        """Leases go on without a broker; what ended is left in the records for the next one."""
        self._figures.stop()
        if hasattr(self, "_nodes"):
            await self._nodes.unsubscribe()
            with suppress(ChimeraError):
                await self._usage.ship()

    def _make(self) -> None:
        ctx, clock, registry = self.ctx, self.ctx.clock, Registry()
        self._facts: deque[Any] = deque(maxlen=_MOST_FACTS)
        self._untold = anyio.Event()
        book = Book(self._bus, clock, registry, ctx.spawn, uuid.uuid4().hex[:12])
        census = Census(book, registry, clock, ctx.spawn, self._tell)
        floor = Floor(registry, census.usable)
        self._core = core = Core(
            bus=self._bus, clock=clock, rng=ctx.rng, registry=registry, book=book, floor=floor, census=census,
            spawn=ctx.spawn, report=ctx.event, tell=self._tell, node=ctx.node,
        )  # fmt: skip
        self._queue = Queue(core, self._figures)
        self._desk = Desk(core, self._queue)
        self._usage = Usage(core)
        self._keeper = Keeper(core, self._desk, self._usage)
        self._patterns = Patterns(self._bus)
        self._clockwork = Clockwork(core, self._desk, self._queue, self._usage, self._patterns)
        self._rulebook = Rulebook(self._bus, self._use, book.make_id)
        self._accounts = Accounts(core)
        self._treasury = Treasury(self._bus, clock, self._priced, book.make_id)
        self._budgeting = Budgeting(core, self._desk, self._treasury, self._accounts)
        self._economy = Economy(core, self._treasury, self._accounts)
        core.admission.append(self._budgeting)
        core.wanted = self._queue.wanted
        book.on_page.update({RULES: self._rulebook.take, MONEY: self._treasury.take})
        registry.on_change = self._changed
        census.on_node = self._node_moved

    # -- leases --------------------------------------------------------------------------------------------------------

    @handles
    async def allocate(self, message: Allocate) -> Lease:
        """Lease devices."""
        try:
            return await self._desk.allocate(message, self.ctx.deadline)
        except ChimeraError as error:
            self._figures.refused(error.code)
            raise

    @handles
    async def renew(self, message: Renew) -> Lease:
        """Extend a lease."""
        return await self._desk.renew(message)

    @handles
    async def release(self, message: GiveBack) -> Lease:
        """Give a lease back."""
        return await self._desk.release(message)

    @handles(interleave=True)
    async def lease(self, message: GetLease) -> Lease:
        """One lease."""
        held = self._core.registry.grants_of(message.id)
        if held:
            return lease_view(message.id, held)
        ticket = self._queue.find(message.id)
        if ticket is None:
            raise NoLeaseError(f"there is no lease {message.id}")
        return waiting_view(ticket.waiter, *self._queue.position(ticket))

    @handles(interleave=True)
    async def leases(self, message: ListLeases) -> Leases:
        """Leases and requests that wait."""
        registry = self._core.registry
        live = [lease_view(lease, registry.grants_of(lease)) for lease in list(registry.leases)]
        waiting = [waiting_view(one.waiter, place, None) for place, one in enumerate(self._queue.ordered(), 1)]
        fitting = [one for one in live if _fits(one, message)]
        fitting.sort(key=lambda one: (-(one.granted_at or 0.0), one.id))
        return Leases(
            leases=fitting[: message.limit], waiting=[one for one in waiting if _fits(one, message)][: message.limit],
            total=len(fitting),
        )  # fmt: skip

    # -- devices -------------------------------------------------------------------------------------------------------

    @handles(interleave=True)
    async def status(self, message: GetDevices) -> Devices:
        """Every device."""
        core = self._core
        shown = [
            record
            for record in core.registry.records()
            if message.node in {"", record.node} and message.kind in {"", record.kind}
        ]
        shown.sort(key=lambda one: (one.node, one.kind, one.id))
        return Devices(devices=[device_view(record, core.census) for record in shown], waiting=len(self._queue))

    @handles
    async def drain(self, message: Drain) -> Devices:
        """Lend nothing more of a device or a node."""
        return await self._keeper.drain(message)

    @handles
    async def undrain(self, message: Undrain) -> Devices:
        """Lend it again."""
        return await self._keeper.undrain(message)

    @handles
    async def forget(self, message: Forget) -> Devices:
        """Forget what will not come back."""
        return await self._keeper.forget(message)

    # -- rules, figures, health ----------------------------------------------------------------------------------------

    @handles(interleave=True)
    async def rules(self, _message: GetRules) -> Rules:
        """How it decides."""
        return self._core.rules

    @handles
    async def configure(self, message: ConfigureBroker) -> Rules:
        """Change how it decides."""
        return await self._rulebook.configure(message)

    @handles(interleave=True)
    async def active(self, message: GetActiveResources) -> ActiveResources:
        """What is lent now."""
        return active(self._core, self._queue, message.tenant)

    @handles(interleave=True)
    async def usage(self, message: GetUsagePatterns) -> UsagePatterns:
        """How use varies over the day."""
        return self._patterns.view(message.kind, self._core.floor.shapes(), self.ctx.clock.time())

    # -- money and joules ----------------------------------------------------------------------------------------------

    @handles(interleave=True)
    async def costs(self, message: GetCosts) -> Costs:
        """What was used."""
        return await self._economy.costs(message)

    @handles(interleave=True)
    async def cost_plan(self, message: GetCostPlan) -> CostPlan:
        """What would cost less."""
        return await self._economy.plan(message)

    @handles(interleave=True)
    async def budget(self, message: GetBudget) -> BudgetList:
        """Budgets as they stand."""
        return await self._budgeting.views(message)

    @handles
    async def set_budget(self, message: SetBudget) -> BudgetList:
        """Give a tenant a budget."""
        await self._treasury.set_budget(message)
        return await self._budgeting.views(GetBudget())

    @handles(interleave=True)
    async def prices(self, _message: GetPrices) -> PriceList:
        """Prices in force."""
        return self._treasury.prices()

    @handles
    async def set_prices(self, message: SetPrices) -> PriceList:
        """Set the price table."""
        return await self._treasury.set_prices(message)

    @handles(interleave=True)
    async def capacity(self, message: PlanCapacity) -> CapacityPlan:
        """How much will be needed."""
        return await self._economy.capacity(message)

    @handles(interleave=True)
    async def health(self, _message: CheckBroker) -> BrokerHealth:
        """How it does."""
        troubles = {
            "store": self._clockwork.trouble, "ledger": self._usage.trouble or self._accounts.trouble,
            "patterns": self._patterns.trouble,
        }  # fmt: skip
        uptime_s = self.ctx.clock.monotonic() - self._started
        return health(self._core, self._queue, version=self._version, uptime_s=uptime_s, troubles=troubles)

    # -- what comes from outside ---------------------------------------------------------------------------------------

    def _on_report(self, delivery: Delivery) -> None:
        with suppress(ChimeraError, msgspec.DecodeError):  # what can't be read is no report
            report = decode(delivery.data, NodeReported)
            self._core.census.take(report)
            self._usage.metered(report)

    def _changed(self, key: str) -> None:
        self._core.floor.changed(key)
        self._usage.changed(key)
        self._clockwork.ring()

    def _node_moved(self, node: str) -> None:
        for key in self._core.registry.nodes.get(node, set[str]()):
            self._changed(key)

    def _use(self, rules: Rules) -> None:
        self._core.rules = rules
        self._core.floor.pack_or_spread(rules.packing)
        self._clockwork.ring()

    def _priced(self, _money: Money) -> None:
        self._accounts.priced(self._treasury.tariff)
        self._budgeting.changed()

    def _tell(self, fact: Any) -> None:
        """The records hold it; the fact is for those who listen. What nobody can send in time is dropped."""
        self._facts.append(fact)
        self._untold.set()

    async def _publish(self) -> None:
        while True:
            await self._untold.wait()
            self._untold = anyio.Event()
            while self._facts:
                fact = self._facts.popleft()
                with suppress(ChimeraError):
                    await self._bus.publish(CHANGED if isinstance(fact, DeviceChanged) else LEASED, encode(fact))
            await self.ctx.clock.sleep(_TELL_PAUSE_S)  # together they cost one write


def _fits(lease: Lease, message: ListLeases) -> bool:
    wanted = (("layer", lease.layer), ("tenant", lease.tenant), ("agent", lease.agent))
    if any(getattr(message, name) not in {"", value} for name, value in wanted):
        return False
    return not message.node or any(grant.node == message.node for grant in lease.grants)
