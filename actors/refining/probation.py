"""Changed settings on probation: each is looked at again when enough was measured, and taken back unless it held."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.errors import ChimeraError
from chimera.store.contract import Measured, MeasureFilter, Store
from subjects.agent import ConfigureBatching
from subjects.insight import Change, Verified

from .advice import LEAST_CHECKS, LEAST_TASKS
from .benchmarks import quantiles
from .keeping import Kept
from .link import Link, LinkSettings
from .monitor import LayerMonitor
from .verifying import OnTrial, Sample, Verdict, judge, slow_sample, words

BATCHING = "agent.batching"
"""Where the agent actor keeps what it was told last; here also the name of that change."""

MOST_TASKS = 20_000
MOST_KEPT = 20
"""Ended probations that are shown."""

_LOOK_S = 5.0
Ask = Callable[[Any], Awaitable[Any]]


class Probation:
    """What is on trial, kept beside the settings themselves, so that a restart forgets no way back.

    Args:
        monitor: Measures the ways between layers, and applies what concerns them.
        bus: Where the open ones are kept.
        store: Has the tasks' figures, and the batching in force.
        ask: Asks the agent actor.
        clock: Time.
        report: Writes an event.
    """

    def __init__(
        self, *, monitor: LayerMonitor, bus: Bus, store: Store, ask: Ask, clock: Clock, report: Callable[..., Any]
    ) -> None:  # fmt: skip
        self._monitor, self._store, self._ask = monitor, store, ask
        self._clock, self._report = clock, report
        self._kept = Kept(bus, "probation", list[OnTrial])
        self._open: dict[str, OnTrial] = {}
        self._marks: dict[str, tuple[int, int]] = {}
        self.ended: list[Verified] = []

    @property
    def under_way(self) -> set[str]:
        """What is on trial now: it is not changed meanwhile."""
        return set(self._open)

    async def restore(self) -> None:
        """Take up what was on trial; checks are counted anew."""
        with suppress(ChimeraError):
            self._open = {trial.what: trial for trial in await self._kept.read() or []}

    async def begin_link(self, link: Link, changes: list[Change]) -> None:
        """Note the way back of a link's change, before it is made."""
        before = Sample(count=link.checks, bad=link.failures)
        self._marks[link.target] = (link.taken, link.lost)
        await self._begin(OnTrial(
            what=link.target, changes=changes, since=self._clock.time(), least=LEAST_CHECKS, before=before,
            link=link.settings,
        ))  # fmt: skip

    async def begin_batching(
        self, before: ConfigureBatching, changes: list[Change], total_ms: list[float | None]
    ) -> None:
        """The same for the batching; ``total_ms`` is what the latest tasks took in all, ``None`` if they failed."""
        _, slow_ms, _ = quantiles([passed for passed in total_ms if passed is not None])
        await self._begin(OnTrial(
            what=BATCHING, changes=changes, since=self._clock.time(), least=LEAST_TASKS,
            before=slow_sample(total_ms, slow_ms), slow_ms=slow_ms, batching=before,
        ))  # fmt: skip

    async def drop(self, what: str) -> None:
        """Forget a change that was refused."""
        if self._open.pop(what, None) is not None:
            await self._kept.write(list(self._open.values()))

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            with suppress(ChimeraError):  # the bus, the store or the agent is away: what is open stays open
                await self.look()
            await self._clock.sleep(_LOOK_S)

    async def look(self) -> None:
        """Verify what is on trial, as far as enough was measured."""
        for trial in list(self._open.values()):
            after = await self._after(trial)
            verdict = judge(trial, after, self._clock.time())
            if verdict:
                await self._end(trial, after, verdict)

    async def _after(self, trial: OnTrial) -> Sample:
        if trial.link is not None:
            link, (taken, lost) = self._monitor.own[trial.what], self._marks.get(trial.what, (0, 0))
            return Sample(count=link.taken - taken, bad=link.lost - lost)
        where = MeasureFilter(since=trial.since, until=self._clock.time(), limit=MOST_TASKS)
        tasks = await self._store.measured(where)
        return slow_sample(totals(tasks), trial.slow_ms)

    async def _begin(self, trial: OnTrial) -> None:
        self._open[trial.what] = trial
        await self._kept.write(list(self._open.values()))

    async def _end(self, trial: OnTrial, after: Sample, verdict: Verdict) -> None:
        back = verdict != "kept" and await self._take_back(trial)
        evidence = words(trial, after, verdict)
        if verdict != "kept" and not back:
            evidence += "; somebody else has changed it since, so that it was left alone"
        del self._open[trial.what]
        self._marks.pop(trial.what, None)
        await self._kept.write(list(self._open.values()))
        found = Verified(
            at=self._clock.time(), changes=trial.changes, verdict="kept" if not back else verdict, evidence=evidence
        )
        self.ended = [found, *self.ended][:MOST_KEPT]
        self._report(
            "resource-optimization", evidence, level="info" if verdict == "kept" else "warning", what=trial.what,
            verdict=verdict, taken_back=back, before=[trial.before.bad, trial.before.count],
            after=[after.bad, after.count],
        )  # fmt: skip

    async def _take_back(self, trial: OnTrial) -> bool:
        """Put in force what was before; false if what is in force now is not what was put on trial."""
        wanted = {change.setting.rpartition(".")[2]: change.after for change in trial.changes}
        if trial.link is not None:
            now = self._monitor.own[trial.what].settings
            if any(value != _shown(now, name) for name, value in wanted.items()):
                return False
            await self._monitor.configure({trial.what: trial.link})
            return True
        kept: dict[str, Any] = await self._store.setting(BATCHING) or {}
        if trial.batching is None or any(value != kept.get(name) for name, value in wanted.items()):
            return False
        await self._ask(trial.batching)
        return True


def totals(tasks: list[Measured]) -> list[float | None]:
    """What tasks took in all, in ms; ``None`` for those that failed."""
    return [task.queue_ms + task.run_ms if task.ok else None for task in tasks]


def _shown(now: LinkSettings, name: str) -> float:
    return now.timeout_s if name == "timeout_s" else float(now.failures)
