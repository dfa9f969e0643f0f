"""The optimizer's parts that need no leader: what they are made of, and their life beside the actor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from chimera.audit import AuditLog
from chimera.bus.contract import Bus
from chimera.config import Settings
from chimera.context import Context
from chimera.errors import ChimeraError, UnavailableError
from chimera.metrics import Metrics
from chimera.store.contract import Store
from subjects.agent import ConfigureBatching
from subjects.experiment import ExperimentList, Experiments
from subjects.optimizer import GetStatus, OptimizationStatus

from .attention import Attention
from .baselines import Baselines
from .benchmarks import Benchmarks
from .broods import Broods
from .clerk import Clerk
from .compliance import ComplianceDesk
from .integration import Integration
from .models_shelf import ModelShelf
from .monitor import LayerMonitor
from .observatory import Observatory
from .probation import Probation
from .reporter import Reporter, Sources
from .spending import Spending
from .windows import Windows

if TYPE_CHECKING:
    from chimera.node.parts import Parts

_KEEP_S = 2.0


@dataclass(frozen=True, slots=True)
class Materials:
    """What a node gives the parts."""

    store: Store
    settings: Settings
    sources: Mapping[str, str]
    metrics: Metrics
    audit: AuditLog | None

    @classmethod
    def of(cls, parts: Parts) -> Materials:
        """A node's."""
        return cls(parts.need("store"), parts.settings, parts.sources, parts.metrics, parts.audit)


class Room:
    """Baselines, benchmarks, the ways between layers, reports, compliance, patterns and anomalies.

    Args:
        bus: Where everything is.
        made_of: What the node gives.
        ctx: The actor's context.
        experiments: Lists experiments.
        tunes: Lists auto-tunes.
    """

    def __init__(
        self, bus: Bus, made_of: Materials, ctx: Context, *,
        experiments: Callable[[Experiments], Awaitable[ExperimentList]],
        tunes: Callable[[GetStatus], Awaitable[OptimizationStatus]],
    ) -> None:  # fmt: skip
        clock, report, store, settings = ctx.clock, ctx.event, made_of.store, made_of.settings
        own = settings.agent
        shipped = ConfigureBatching(batch_size=own.batch_size, batch_timeout_ms=own.batch_timeout_ms)
        windows = Windows(store)
        level: Any = settings.log.level
        self._ctx, self._audit = ctx, made_of.audit
        self.observatory = Observatory(bus=bus, clock=clock, report=report)
        self.models = ModelShelf(bus=bus, clock=clock, report=report, observatory=self.observatory)
        self.baselines = Baselines(bus=bus, windows=windows, clock=clock, report=report)
        self.benchmarks = Benchmarks(bus=bus, evaluate=ctx.ask, clock=clock, node=ctx.node, report=report)
        self.monitor = LayerMonitor(bus=bus, clock=clock)
        self.probation = Probation(
            monitor=self.monitor, bus=bus, store=store, ask=ctx.ask, clock=clock, report=report
        )  # fmt: skip
        self.integration = Integration(
            monitor=self.monitor,
            store=store,
            ask=ctx.ask,
            batching=shipped,
            clock=clock,
            report=report,
            probation=self.probation,
        )
        self.attention = Attention(
            bus=bus, node=ctx.node, clock=clock, usual=level, samplers=(self.monitor,), report=report
        )
        self.reporter = Reporter(
            windows=windows, baselines=self.baselines, clock=clock, node=ctx.node,
            sources=Sources(
                experiments=experiments, tunes=tunes, patterns=self.observatory.patterns,
                anomalies=self.observatory.anomalies, health=ctx.ask, loads=self.models.loads,
                evolution=Broods(ctx.ask).figures, cost=Spending(ctx.ask, clock).figures,
            ),
        )  # fmt: skip
        self._desk = None if made_of.audit is None else ComplianceDesk(
            log=made_of.audit, bus=bus, store=store, settings=settings, sources=made_of.sources,
            metrics=made_of.metrics, clock=clock,
        )  # fmt: skip

    async def open(self) -> None:
        """Take up what was kept, and begin to measure."""
        await self.monitor.restore()
        await self.probation.restore()
        await self.attention.restore()
        for work in (
            self.monitor.run, self.probation.run, self.attention.run, self.observatory.run, self.models.run,
        ):  # fmt: skip
            self._ctx.spawn(work)

    async def close(self) -> None:
        """Leave the log's level as it was, and keep a picture of the series, so that a start reads nothing again."""
        self.attention.close()
        with anyio.move_on_after(_KEEP_S), suppress(ChimeraError):
            await self.observatory.keep()

    @property
    def clerk(self) -> Clerk:
        """Shows the audit log.

        Raises:
            UnavailableError: If this node keeps none.
        """
        if self._audit is None:
            raise UnavailableError("this node keeps no audit log", hint="put the service 'audit' into its tree")
        return Clerk(self._audit)

    @property
    def compliance(self) -> ComplianceDesk:
        """Makes the compliance report.

        Raises:
            UnavailableError: If this node keeps no audit log.
        """
        if self._desk is None:
            raise UnavailableError("this node keeps no audit log", hint="put the service 'audit' into its tree")
        return self._desk
