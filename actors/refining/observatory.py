"""What the figures of all tasks say: KPI ingestion, patterns and anomalies, across restarts, beside the event loop."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import anyio
import msgspec

from actors.insight.intake import Intake
from actors.insight.store import SeriesStore, Size
from actors.insight.survey import snapshot, survey
from actors.insight.watch import Watch
from chimera.bus.contract import Bus
from chimera.clock import Clock
from chimera.errors import BusDownError, ChimeraError
from subjects.event import TaskJudged, TaskProcessed
from subjects.insight import Accuracy, Anomaly, AnomalyList, GetAnomalies, GetPatterns, Pattern, PatternList
from subjects.optimizer import CheckKpi, KpiHealth

from .album import Album, Picture, packed
from .aside import Aside, Stop
from .feed import EVENTS, KPI, Feed
from .rate import Rate
from .samples import Samples

TAIL = 200_000
"""Outcomes read again where there is no picture to go on from, or an older one than that."""

SIZE = Size()
STEP_S, KEEP_S, CHECK_S, FIRST_CHECK_S, CACHE_S = 2.0, 60.0, 86_400.0, 30.0, 10.0
SLOW_S, STUCK_S = 10.0, 120.0
"""Lag from which ingestion is said to be slow, and to be broken."""

_MOST_TOLD, _MINUTES, _MOST_SURVEYS, _MOST_REASONS = 20, 60, 16, 20
_LOOK_S = 1.0


class Observatory:
    """Follows the KPI stream and answers what it sees.

    A picture of all series, with the streams' positions at that moment, is kept every minute; a restart begins with it
    and reads on behind its positions, so each record counts once in all lives. The detectors are taught again from the
    minutes of the last day, without telling old anomalies again; of their time of day they keep that day.

    Nothing heavy runs in the event loop: detectors, surveys, the self-check and packing work on copies in threads.

    Args:
        bus: Where the streams and the bucket ``insight`` are.
        clock: Time.
        report: Writes an event.
        size: Of the series store; the same at every start, or the picture is of no use.
        tail: Most outcomes read again.
    """

    def __init__(
        self, *, bus: Bus, clock: Clock, report: Callable[..., Any], size: Size = SIZE, tail: int = TAIL
    ) -> None:
        self._bus, self._clock, self._report, self._tail = bus, clock, report, tail
        self.store = SeriesStore(size)
        self.samples = Samples()
        self._intake = Intake(self.store)
        self._watch = Watch(self.store)
        self._feed = Feed(bus, clock, self._outcome, self._judgement)
        self._album = Album(bus, report)
        self._watching, self._asked = Aside(), Aside()
        self._surveys: OrderedDict[str, tuple[float, list[Pattern], int]] = OrderedDict()
        self._surveying = anyio.Lock()
        self._accuracy: Accuracy | None = None
        self._ingested, self._told_until, self._kept_at = 0, 0.0, (-1, -1)
        self._before: Counter[str] = Counter()
        self._rate, self._refused = Rate(clock.monotonic()), Rate(clock.monotonic())
        self._noted, self._running = 0, False

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ingest, watch, keep pictures and check ourselves, until cancelled."""
        await self._begin()
        self._running = True
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._feed.run)
                group.start_soon(self._watch_on)
                group.start_soon(self._keep_on)
                group.start_soon(self._check_on)
        finally:
            self._running = False

    async def keep(self) -> None:
        """Keep a picture now, unless nothing came since the last one.

        Raises:
            UnavailableError: If the bucket can't be written.
        """
        at = (self._feed.position[KPI], self._feed.position[EVENTS])
        if at == self._kept_at:
            return
        self.flush()
        image, facts = self.store.image(), self.facts()
        data = await anyio.to_thread.run_sync(packed, image, facts)
        await self._album.add(facts["taken_at"], data)
        self._kept_at = at

    def flush(self) -> None:
        """Bring all that was ingested into the series; call it before reading ``store``."""
        self._intake.flush()

    @property
    def positions(self) -> dict[str, int]:
        """The last sequence ingested, per stream."""
        return dict(self._feed.position)

    @property
    def watched(self) -> int:
        """Minutes that the detectors have seen in this life."""
        return self._watch.minutes

    # -- what is asked -------------------------------------------------------------------------------------------------

    async def patterns(self, message: GetPatterns) -> PatternList:
        """Patterns of all series or of one agent's, surveyed now or at most 10 s ago."""
        patterns, series = await self._survey(message.agent)
        wanted = [pattern for pattern in patterns if message.kind in {"", pattern.kind}]
        return PatternList(patterns=wanted[: message.limit], series=series, accuracy=self._accuracy)

    async def anomalies(self, message: GetAnomalies) -> AnomalyList:
        """The last anomalies, newest first."""
        found = self._watch.anomalies(agent=message.agent, since=message.since, limit=message.limit)
        return AnomalyList(anomalies=found, accuracy=self._accuracy)

    async def kpi(self, _message: CheckKpi) -> KpiHealth:
        """How ingestion does, asked of the stream now. Counts are of all lives; the rate is this one's."""
        reachable = await self._look()
        now, lag = self._clock.monotonic(), self._feed.lag_messages
        lag_s = await self._lag_s() if lag else 0.0
        rejected = self._rejected()
        late = rejected.pop("late", 0)
        return KpiHealth(
            status=self._status(lag_s, reachable=reachable), ingested=self._ingested, rate_per_s=self._rate.per_s(now),
            lag_messages=lag, lag_s=lag_s, late=late, duplicates=self._intake.repeated + self._intake.forgotten,
            rejected=rejected, series=len(self.store.names), series_limit=self.store.size.series,
            position=self._feed.position[KPI],
        )  # fmt: skip

    async def self_check(self, rounds: int = 4) -> Accuracy:
        """Measure the detectors on injected patterns, in a thread, and tell it as ``pattern-accuracy``."""
        at = self._clock.time()

        def work(stop: Stop) -> Accuracy:
            from actors.insight.selfcheck import self_check  # noqa: PLC0415 - river is heavy: only in a thread

            return self_check(rounds=rounds, measured_at=at, stop=stop)

        self._accuracy = found = await self._watching.run(work)
        self._report(
            "pattern-accuracy",
            f"{found.recall:.0%} of {found.injections} injected patterns found, {found.precision:.0%} of alarms right",
            **msgspec.structs.asdict(found),
        )
        return found

    # -- ingestion -----------------------------------------------------------------------------------------------------

    def _outcome(self, seq: int, record: TaskProcessed, _size: int) -> None:
        now = self._clock.monotonic()
        if self._intake.task(KPI, seq, record, now=self._clock.time()):
            self._ingested += 1
            self._rate.add(now)
            self.samples.take(record)
        else:
            self._refused.add(now)

    def _judgement(self, seq: int, judged: TaskJudged, _size: int) -> None:
        self._intake.judgement(EVENTS, seq, judged, now=self._clock.time())

    async def _begin(self) -> None:
        """Go on from the last picture. Tried until the bus answers: without its streams there is nothing to see."""
        pause = 0.1
        while True:
            try:
                picture = self._usable(await self._album.newest())
                positions = picture.positions if picture else {}
                await self._feed.begin(self._tail, positions.get(KPI), positions.get(EVENTS))
                break
            except ChimeraError:
                await self._clock.sleep(pause)
                pause = min(5.0, 2 * pause)
        self._intake = Intake(self.store, start=dict(self._feed.position))
        if picture is not None:
            self._restore(picture)

    def _usable(self, picture: Picture | None) -> Picture | None:
        """The picture, if it fits this store."""
        size = (self.store.size.minutes, self.store.size.hours)
        if picture is None or picture.steps == size:
            return picture
        self._report(
            "model-loading", f"a picture of {picture.steps} minutes and hours is not used: now {size}", level="warning"
        )
        return None

    def _restore(self, picture: Picture) -> None:
        self.store.restore(picture.image())
        self._ingested, self._accuracy = picture.ingested, picture.accuracy
        self._intake.repeated, self._told_until = picture.repeated, picture.told_until
        self._before = Counter(picture.unreadable)
        self._watch.keep(picture.anomalies)
        series, position = len(picture.names), picture.positions.get(KPI, 0)
        self._report(
            "model-loading", f"{series} series go on behind outcome {position}", series=series, position=position
        )

    # -- background ----------------------------------------------------------------------------------------------------

    async def _watch_on(self) -> None:
        while True:
            read_all = await self._look() and not self._feed.lag_messages
            self.flush()
            if read_all:  # silence may only be told from an outage by asking
                self.store.advance(self._clock.time())
            due, until = self._watch.due(_MINUTES), self.store.given_until
            if due:
                found = await self._watching.run(lambda _stop, due=due: self._watch.look(due))
                self._tell([anomaly for anomaly in found if anomaly.at >= self._told_until])
                self._told_until = max(self._told_until, until)
            self._note_unreadable()
            if len(due) < _MINUTES:
                await self._clock.sleep(STEP_S)

    def _tell(self, found: list[Anomaly]) -> None:
        self._watch.keep(found)
        for anomaly in found[:_MOST_TOLD]:
            self._report(
                "anomaly-detected", anomaly.words, level="warning", series=anomaly.series, agent=anomaly.agent,
                anomaly=anomaly.kind, at=anomaly.at, value=anomaly.value, expected=anomaly.expected,
                confidence=anomaly.confidence,
            )  # fmt: skip
        if len(found) > _MOST_TOLD:
            more = len(found) - _MOST_TOLD
            self._report("anomaly-detected", f"and {more} anomalies more at the same time", level="warning", more=more)

    async def _keep_on(self) -> None:
        while True:
            await self._clock.sleep(KEEP_S)
            with suppress(ChimeraError):  # the next try comes; until then more would be read again
                await self.keep()

    async def _check_on(self) -> None:
        await self._clock.sleep(FIRST_CHECK_S)
        while True:
            measured = self._accuracy.measured_at if self._accuracy else 0.0
            wait = measured + CHECK_S - self._clock.time()
            if wait > 0:
                await self._clock.sleep(wait)
            await self.self_check()

    def facts(self) -> dict[str, Any]:
        """What a picture holds beside the series."""
        return {
            "taken_at": self._clock.time(),
            "positions": dict(self._feed.position),
            "told_until": self._told_until,
            "ingested": self._ingested,
            "repeated": self._intake.repeated + self._intake.forgotten,
            "unreadable": dict(self._unreadable()),
            "anomalies": self._watch.anomalies(limit=2000)[::-1],
            "accuracy": self._accuracy,
        }

    # -- answers -------------------------------------------------------------------------------------------------------

    async def _survey(self, agent: str) -> tuple[list[Pattern], int]:
        """Patterns, and how many series were looked at; one survey at a time, and one for all who ask at once."""
        async with self._surveying:
            cached = self._surveys.get(agent)
            if cached is None or self._clock.monotonic() - cached[0] > CACHE_S:
                self.flush()
                taken = snapshot(self.store, agent=agent)
                found = await self._asked.run(lambda stop: survey(taken, stop=stop))
                cached = self._surveys[agent] = (self._clock.monotonic(), found, len(taken.names))
                self._surveys.move_to_end(agent)
                while len(self._surveys) > _MOST_SURVEYS:
                    self._surveys.popitem(last=False)
            return cached[1], cached[2]

    def _unreadable(self) -> Counter[str]:
        """Records that could not be decoded, by reason; beyond 20 reasons the rarest are ``other``."""
        every = self._before + self._feed.rejected
        told = Counter(dict(every.most_common(_MOST_REASONS)))
        rest = every.total() - told.total()
        return told + Counter({"other": rest}) if rest else told

    def _note_unreadable(self) -> None:
        """Let what could not be decoded count among the refused of the last minute."""
        count = self._feed.rejected.total()
        if count > self._noted:
            self._refused.add(self._clock.monotonic(), count - self._noted)
            self._noted = count

    def _rejected(self) -> dict[str, int]:
        every = self._unreadable() + Counter({str(reason): count for reason, count in self.store.rejected.items()})
        return dict(every)

    async def _look(self) -> bool:
        """See where the stream ends; False if nobody can say."""
        try:
            with anyio.fail_after(_LOOK_S):
                _, self._feed.end[KPI], _ = await self._bus.stream_state(KPI)
        except (ChimeraError, TimeoutError):
            return False
        return True

    async def _lag_s(self) -> float:
        """Age of the oldest outcome not ingested; where it can't be read, that of the newest which was (older)."""
        at = self._feed.newest_at or self._clock.time()
        with anyio.move_on_after(_LOOK_S), suppress(BusDownError):
            async with self._bus.read(KPI, start_seq=self._feed.position[KPI] + 1) as messages:
                async for message in messages:
                    at = message.time
                    break
        return max(0.0, self._clock.time() - at)

    def _status(self, lag_s: float, *, reachable: bool) -> Literal["pass", "warn", "fail"]:
        if not reachable or not self._running or lag_s > STUCK_S:
            return "fail"
        self._note_unreadable()
        crowded = len(self.store.names) >= self.store.size.series
        return "warn" if lag_s > SLOW_S or crowded or self._refused.count(self._clock.monotonic()) else "pass"
