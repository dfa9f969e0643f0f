"""Sets what lies between the layers from what was measured there, and says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from chimera.clock import Clock
from chimera.errors import ChimeraError
from chimera.store.contract import MeasureFilter, Store
from subjects.agent import ConfigureBatching
from subjects.insight import Change, IntegrationOptimized, OptimizeIntegration

from .advice import (
    Advice,
    advise_batch_size,
    advise_batch_timeout,
    advise_failures,
    advise_timeout,
    is_better,
)
from .link import LinkSettings
from .monitor import LayerMonitor
from .probation import BATCHING, MOST_TASKS, Ask, Probation, totals

WINDOW_S = 3600.0


class Integration:
    """Computes and applies settings.

    Args:
        monitor: Has the round trips, and applies what concerns them.
        store: Has the tasks' figures, and the batching in force.
        ask: Asks the agent actor.
        batching: What is in force if nobody ever changed it.
        probation: Takes back what does not hold.
        clock: Time.
        report: Writes an event.
    """

    def __init__(
        self, *, monitor: LayerMonitor, store: Store, ask: Ask, batching: ConfigureBatching, clock: Clock,
        probation: Probation, report: Callable[..., Any],
    ) -> None:  # fmt: skip
        self._monitor, self._store, self._ask = monitor, store, ask
        self._shipped, self._clock, self._report = batching, clock, report
        self._probation = probation

    async def optimize(self, message: OptimizeIntegration) -> IntegrationOptimized:
        """Show or apply what the measurements ask for. A setting with too little measured is not named at all.

        Raises:
            UnavailableError: If the store or the bus can't be reached.
        """
        await self._monitor.measure()
        changes = await self._links(apply=message.apply) + await self._batching(apply=message.apply)
        done = [change for change in changes if change.applied]
        if done:
            words = "; ".join(f"{one.setting} {one.before:g} -> {one.after:g}" for one in done)
            self._report("resource-optimization", words, changes=len(done))
        return IntegrationOptimized(
            changes=changes, monitor=self._monitor.view(), on_trial=sorted(self._probation.under_way),
            verified=self._probation.ended,
        )  # fmt: skip

    async def _links(self, *, apply: bool) -> list[Change]:
        changes: list[Change] = []
        wanted: dict[str, LinkSettings] = {}
        for name, link in self._monitor.own.items():
            now, free = link.settings, apply and name not in self._probation.under_way
            timeout = advise_timeout(link.latencies_ms)
            failures = advise_failures(link.checks, link.failures, self._monitor.period_s)
            rows = [
                *_row(f"integration.{name}.timeout_s", now.timeout_s, timeout, apply=free),
                *_row(f"integration.{name}.breaker_failures", float(now.failures), failures, apply=free),
            ]
            changes += rows
            values = {row.setting.rpartition(".")[2]: row.after for row in rows if row.applied}
            if values:
                await self._probation.begin_link(link, [row for row in rows if row.applied])
                wanted[name] = LinkSettings(
                    timeout_s=values.get("timeout_s", now.timeout_s),
                    failures=int(values.get("breaker_failures", now.failures)),
                )
        if wanted:
            await self._monitor.configure(wanted)
        return changes

    async def _batching(self, *, apply: bool) -> list[Change]:
        until = self._clock.time()
        where = MeasureFilter(since=until - WINDOW_S, until=until, limit=MOST_TASKS)
        found = await self._store.measured(where)
        tasks = [task for task in found if task.ok]
        if not tasks:
            return []
        now = await self._in_force()
        rate = len(tasks) / max(1.0, tasks[-1].at - tasks[0].at)
        size = advise_batch_size(rate, [task.queue_ms + task.run_ms for task in tasks])
        timeout = advise_batch_timeout([task.run_ms for task in tasks])
        free = apply and BATCHING not in self._probation.under_way
        rows = [
            *_row("agent.batch_size", float(now.batch_size), size, apply=free),
            *_row("agent.batch_timeout_ms", now.batch_timeout_ms, timeout, apply=free),
        ]
        done = [row for row in rows if row.applied]
        if not done:
            return rows
        await self._probation.begin_batching(now, done, totals(found))
        return await self._tell(rows, now, {row.setting: row.after for row in done})

    async def _tell(self, rows: list[Change], now: ConfigureBatching, values: dict[str, float]) -> list[Change]:
        wanted = ConfigureBatching(
            batch_size=int(values.get("agent.batch_size", now.batch_size)),
            batch_timeout_ms=values.get("agent.batch_timeout_ms", now.batch_timeout_ms),
        )
        try:
            await self._ask(wanted)
        except ChimeraError as error:
            await self._probation.drop(BATCHING)
            refused = f"; refused: {error.detail}"
            return [msgspec.structs.replace(row, applied=False, because=row.because + refused) for row in rows]
        return rows

    async def _in_force(self) -> ConfigureBatching:
        kept = await self._store.setting(BATCHING)
        try:
            return self._shipped if kept is None else msgspec.convert(kept, ConfigureBatching)
        except msgspec.ValidationError:
            return self._shipped


def _row(setting: str, before: float, advice: Advice | None, *, apply: bool) -> list[Change]:
    if advice is None:
        return []
    better = is_better(before, advice)
    after = advice.value if better else before
    return [
        Change(setting=setting, before=before, after=after, because=advice.because, applied=apply and better)
    ]  # fmt: skip
