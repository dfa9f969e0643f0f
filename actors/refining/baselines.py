"""The baseline: the figures that later ones are compared with, kept for every node and across restarts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import msgspec

from actors.insight.baseline import Summary, compare_summaries
from chimera.bus.contract import Bus
from chimera.clock import Clock
from subjects.insight import UPDATE_BASELINE, Baseline, Comparison, PreviewBaseline, UpdateBaseline

from .keeping import Kept
from .windows import Windows

NEXT = f"{UPDATE_BASELINE.http[0].method} {UPDATE_BASELINE.http[0].path}"


class StoredBaseline(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept: when, of how long a window, why, and each agent's figures with their errors."""

    stored_at: float
    window_s: float
    note: str
    summaries: list[Summary]


class Baselines:
    """Previews and updates the baseline.

    Args:
        bus: Keeps it.
        windows: Reads what was recorded.
        clock: Time.
        report: Writes an event.
    """

    def __init__(self, *, bus: Bus, windows: Windows, clock: Clock, report: Callable[..., Any]) -> None:
        self._kept = Kept(bus, "baseline", StoredBaseline)
        self._windows, self._clock, self._report = windows, clock, report
        self._turn = anyio.Lock()

    async def preview(self, message: PreviewBaseline) -> Baseline:
        """The stored baseline beside the figures of the last ``window_s``; changes nothing.

        Raises:
            UnavailableError: If the bus or the store can't be reached.
        """
        stored, now = await self._kept.read(), await self._now(message.window_s)
        return _beside(stored, now, updated=False, following=NEXT)

    async def update(self, message: UpdateBaseline) -> Baseline:
        """Store the figures of the last ``window_s``. The answer's ``baseline`` is the one that was replaced.

        A window without a task replaces nothing: ``updated`` is false then, and ``next`` says what is missing.
        """
        async with self._turn:
            stored, now = await self._kept.read(), await self._now(message.window_s)
            if not now:
                missing = f"no task ended in the last {message.window_s:g} s, so nothing was stored; run some first"
                return _beside(stored, now, updated=False, following=missing)
            fresh = StoredBaseline(
                stored_at=self._clock.time(), window_s=message.window_s, note=message.note, summaries=list(now.values())
            )
            await self._kept.write(fresh)
        tasks = sum(summary.figures.tasks for summary in now.values())
        self._report(
            "optimization-time", f"the baseline is now that of {tasks} tasks of {len(now)} agents", tasks=tasks
        )
        answer = _beside(stored, now, updated=True, following="")
        return msgspec.structs.replace(answer, stored_at=fresh.stored_at)

    async def compare(self, now: Mapping[str, Summary]) -> list[Comparison]:
        """The stored baseline against given figures; empty without a baseline."""
        stored = await self._kept.read()
        return _comparison(stored, now)

    async def _now(self, window_s: float) -> dict[str, Summary]:
        until = self._clock.time()
        return await self._windows.summaries(until - window_s, until)


def _beside(
    stored: StoredBaseline | None, now: Mapping[str, Summary], *, updated: bool, following: str
) -> Baseline:  # fmt: skip
    return Baseline(
        stored_at=stored.stored_at if stored else None,
        baseline=[summary.figures for summary in stored.summaries] if stored else [],
        now=[summary.figures for summary in now.values()],
        comparison=_comparison(stored, now), updated=updated, next=following,
    )  # fmt: skip


def _comparison(stored: StoredBaseline | None, now: Mapping[str, Summary]) -> list[Comparison]:
    before = {summary.figures.agent: summary for summary in stored.summaries} if stored else {}
    return [
        comparison
        for agent, summary in before.items()
        if agent in now
        for comparison in compare_summaries(summary, now[agent])
    ]
