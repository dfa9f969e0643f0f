"""What the optimizer learns from: every outcome and judgement, in stream order, from a given place on, for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio.lowlevel import checkpoint

from chimera.bus.contract import Bus, Stored
from chimera.clock import Clock
from chimera.errors import BadMessageError, ChimeraError
from chimera.wire import decode
from subjects.event import TaskJudged, TaskProcessed

KPI, EVENTS = "KPI", "EVENTS"
JUDGED = "chimera.event.agent.judged"
SLICE = 100
"""Records taken before the event loop gets its turn: a backlog must not stall anybody else."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LOOK_S = 0.1, 5.0, 1.0
T = TypeVar("T", TaskProcessed, TaskJudged)
Take = Callable[[int, T, int], None]
"""Is given a record's stream sequence, the record, and its size in bytes. Must not raise, and must be quick."""


class Feed:
    """Reads both streams in order; what can't be read is counted by its reason and passed over.

    Each record is given once: after an outage reading goes on behind the last one that was given.

    Args:
        bus: Where the streams are.
        clock: For pauses.
        outcome: Takes each outcome.
        judgement: Takes each judgement.
    """

    def __init__(self, bus: Bus, clock: Clock, outcome: Take[TaskProcessed], judgement: Take[TaskJudged]) -> None:
        self._bus, self._clock = bus, clock
        self._outcome, self._judgement = outcome, judgement
        self.position = {KPI: 0, EVENTS: 0}
        self.end = {KPI: 0, EVENTS: 0}
        self.ingested = 0
        self.rejected: Counter[str] = Counter()
        self.newest_at = 0.0

    @property
    def lag_messages(self) -> int:
        """Outcomes in the stream that were not given yet, as of the last look."""
        return max(0, self.end[KPI] - self.position[KPI])

    async def begin(self, tail: int, kpi: int | None = None, events: int | None = None) -> None:
        """Decide where to begin: behind the given sequences, but at most ``tail`` outcomes back.

        Args:
            tail: Most outcomes read again; of judgements the same number.
            kpi: Last outcome that was used up already; ``None`` = none was.
            events: Last judgement that was used up already.
        """
        for stream, after in ((KPI, kpi), (EVENTS, events)):
            first, last, _ = await self._bus.stream_state(stream)
            oldest = max(first - 1, last - tail, 0)
            self.position[stream] = oldest if after is None else min(max(after, oldest), last)
            self.end[stream] = last

    async def run(self) -> None:
        """Give every record from there on, until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._follow, KPI, "", TaskProcessed, self._outcome)
            group.start_soon(self._follow, EVENTS, JUDGED, TaskJudged, self._judgement)
            group.start_soon(self._look)

    async def _follow(self, stream: str, subject: str, kind: type[T], take: Take[T]) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                async with self._bus.read(
                    stream, start_seq=self.position[stream] + 1, subject=subject, follow=True
                ) as messages:
                    async for message in messages:
                        self._give(stream, message, kind, take)
                        pause = _FIRST_PAUSE_S
                        if message.seq % SLICE == 0:
                            await checkpoint()
            except ChimeraError:
                await self._clock.sleep(pause)
                pause = min(_LONGEST_PAUSE_S, 2 * pause)

    def _give(self, stream: str, message: Stored, kind: type[T], take: Take[T]) -> None:
        if message.seq <= self.position[stream]:
            return
        self.position[stream] = message.seq
        self.end[stream] = max(self.end[stream], message.seq)
        self.newest_at = max(self.newest_at, message.time)
        try:
            record = decode(message.data, kind)
        except BadMessageError as error:
            self.rejected[error.detail.split(":")[0][:100]] += 1
            return
        self.ingested += 1
        take(message.seq, record, len(message.data))

    async def _look(self) -> None:
        """See now and then how far behind we are; while the bus is away the last figure stands."""
        while True:
            for stream in (KPI, EVENTS):
                try:
                    _, self.end[stream], _ = await self._bus.stream_state(stream)
                except ChimeraError:
                    continue
            await self._clock.sleep(_LOOK_S)
