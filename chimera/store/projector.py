"""From streams into the store: every task's outcome once, every feedback, and an alarm when a stream has gone back."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import anyio

from chimera.bus.contract import Bus, Claim, Stored
from chimera.clock import Clock, SystemClock
from chimera.errors import BadMessageError, ChimeraError, DeadlineError, NotFoundError, UnavailableError
from chimera.logs import EventName, Layer, event
from chimera.wire import decode
from subjects.event import TaskJudged, TaskProcessed

from . import statements
from .contract import Store, Write
from .rebuild import StreamPart

KPI_STREAM = "KPI"
EVENT_STREAM = "EVENTS"
JUDGED_SUBJECT = "chimera.event.agent.judged"

T = TypeVar("T")
Save = Callable[[Sequence[Stored]], Awaitable[None]]

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class Regress:
    """A stream that ends before what was once acknowledged: records up to ``high_water`` are lost on the bus."""

    stream: str
    last_seq: int
    high_water: int


@dataclass(slots=True)
class ProjectorStatistics:
    """Counters since the start: records saved, repeats ignored, records refused, retries, streams found gone back."""

    saved: int = 0
    repeated: int = 0
    rejected: int = 0
    retries: int = 0
    regresses: list[Regress] = field(default_factory=list[Regress])


@dataclass(slots=True)
class Projector:
    """Brings the store up to the streams, then follows them for ever.

    1. Compare the high-water marks with the streams; one that has gone back is stated as ``store-regressed``.
    2. Replay from the store's own position, which is what a new or restored store needs.
    3. Follow with a durable consumer per stream; repeats are ignored by their sequence, so each record counts once.
    4. After every reconnect compare the marks again: a server that came back may have lost its tail.

    While the store is unavailable it tries again, with growing pauses, and holds on to what it has taken.
    """

    bus: Bus
    store: Store
    name: str = "projector"
    stream: str = KPI_STREAM
    events: str = EVENT_STREAM
    batch: int = 200
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)
    statistics: ProjectorStatistics = field(default_factory=ProjectorStatistics)

    async def run(self) -> None:
        """Run until cancelled."""
        reconnected = [anyio.Event()]
        self.bus.on_state(lambda state: reconnected[0].set() if state == "connected" else None)
        await self._patiently(self.compare)
        for part in self.parts():
            await self._patiently(part.resume)
        await self._patiently(self.catch_up)
        async with anyio.create_task_group() as group:
            group.start_soon(self._follow, self.stream, "", self._save_outcomes)
            group.start_soon(self._follow, self.events, JUDGED_SUBJECT, self._save_judgements)
            while True:
                await reconnected[0].wait()
                reconnected[0] = anyio.Event()
                await self._patiently(self.compare)

    def parts(self) -> list[StreamPart]:
        """How ``chimera rebuild`` makes the projections again. Feedback is written over, each by itself."""
        return [
            StreamPart("outcomes", self.bus, self.store, self.stream, self._save_outcomes, self._clearing),
            StreamPart(
                "judgements", self.bus, self.store, self.events, self._save_judgements, lambda _first, _last: [],
                subject=JUDGED_SUBJECT,
            ),
        ]  # fmt: skip

    def _clearing(self, first: int, last: int) -> list[Write]:
        return [Write(statements.CLEAR_OUTCOMES, [{"stream": self.stream, "first": first, "last": last}])]

    async def compare(self) -> list[Regress]:
        """The streams that end before their high-water mark; each is stated, and counted anew from where it ends."""
        found: list[Regress] = []
        for stream in (self.stream, self.events):
            high_water = await self.store.high_water(stream)  # first: it grows while the stream is asked
            _, last, _ = await self.bus.stream_state(stream)
            if last < high_water:
                found.append(Regress(stream, last, high_water))
                await self.store.mark(stream, last, generation=f"{self.clock.time():.6f}")
                state_regress(found[-1])
        self.statistics.regresses += found
        return found

    async def catch_up(self) -> None:
        """Replay what the store has not seen yet, in bounded batches."""
        await self._replay(self.stream, "", await self.store.position(self.stream), self._save_outcomes)
        await self._replay(self.events, JUDGED_SUBJECT, await self.store.high_water(self.events), self._save_judgements)

    async def _replay(self, stream: str, subject: str, after: int, save: Save) -> None:
        async with self.bus.read(stream, start_seq=after + 1, subject=subject) as messages:
            batch: list[Stored] = []
            async for message in messages:
                batch.append(message)
                if len(batch) >= self.batch:
                    await save(batch)
                    batch = []
            if batch:
                await save(batch)

    async def _follow(self, stream: str, subject: str, save: Save) -> None:
        async def handle(claims: list[Claim]) -> None:
            async def attempt() -> None:
                await save([claim.message for claim in claims])

            await self._patiently(attempt, claims)
            with suppress(ChimeraError):  # what is not acknowledged comes again, and is known then
                for claim in claims:
                    await claim.ack()

        durable = f"{self.name}-{stream.lower()}"
        await self.bus.consume(stream, durable, handle, subject=subject, batch=self.batch)

    async def _save_outcomes(self, messages: Sequence[Stored]) -> None:
        decoded = [(message, _decode(message, TaskProcessed)) for message in messages]
        outcomes = [(message.seq, outcome) for message, outcome in decoded if isinstance(outcome, TaskProcessed)]
        new = await self.store.save_outcomes(outcomes, stream=self.stream)
        if len(outcomes) < len(decoded):
            await self.store.mark(self.stream, max(message.seq for message in messages))
        self.statistics.saved += new
        self.statistics.repeated += len(outcomes) - new
        self._reject(decoded)

    async def _save_judgements(self, messages: Sequence[Stored]) -> None:
        decoded = [(message, _decode(message, TaskJudged)) for message in messages]
        judged = [one for _, one in decoded if isinstance(one, TaskJudged)]
        await self._save_each(judged)
        await self.store.mark(self.events, max(message.seq for message in messages))
        self.statistics.saved += len(judged)
        self._reject(decoded)

    async def _save_each(self, judged: Sequence[TaskJudged]) -> None:
        """All at once, so that the store commits them together."""
        failures: list[ChimeraError] = []

        async def save(one: TaskJudged) -> None:
            try:
                await self.store.save_judgement(one)
            except ChimeraError as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            for one in judged:
                group.start_soon(save, one)
        if failures:
            raise failures[0]

    def _reject(self, decoded: Sequence[tuple[Stored, object]]) -> None:
        for message, found in decoded:
            if isinstance(found, BadMessageError):
                self.statistics.rejected += 1
                event(
                    EventName.RECORD_REJECTED, Layer.STORE, found.detail, level="warning",
                    stream=message.stream, seq=message.seq, subject=message.subject,
                )  # fmt: skip

    async def _patiently(self, step: Callable[[], Awaitable[object]], claims: Sequence[Claim] = ()) -> None:
        """Do ``step`` until it works, with growing pauses; what it works on stays ours meanwhile."""
        wait = _FIRST_WAIT_S
        while True:
            try:
                await step()
            except (UnavailableError, DeadlineError, NotFoundError) as error:
                self.statistics.retries += 1
                event(EventName.DATABASE_CONNECTION, Layer.STORE, error.detail, level="warning", retry_in_s=wait)
            else:
                return
            await self.clock.sleep(wait * (1.0 - 0.2 * self.rng.random()))
            wait = min(wait * 2, _LONGEST_WAIT_S)
            with suppress(ChimeraError):
                for claim in claims:
                    await claim.working()


async def project(
    bus: Bus, store: Store, *, name: str = "projector", stream: str = KPI_STREAM, events: str = EVENT_STREAM,
    batch: int = 200, clock: Clock | None = None, rng: random.Random | None = None,
) -> None:  # fmt: skip
    """Bring the store up to the streams and follow them until cancelled: see ``Projector``.

    Args:
        bus: Where the streams are.
        store: Where their records go; open.
        name: Prefix of the durable consumers' names; one per store.
        stream: The stream of task records.
        events: The stream of facts, read for feedback.
        batch: Most records of one transaction.
        clock: Time for pauses.
        rng: Randomness for pauses.
    """
    projector = Projector(
        bus, store, name, stream, events, batch, clock or SystemClock(), rng or random.Random()  # noqa: S311 - jitter
    )  # fmt: skip
    await projector.run()


def _decode(message: Stored, kind: type[T]) -> T | BadMessageError:
    try:
        return decode(message.data, kind)
    except BadMessageError as error:
        return error


def state_regress(found: Regress) -> None:
    """Write it to the event log."""
    event(
        EventName.STORE_REGRESSED, Layer.STORE,
        f"stream {found.stream} ends at {found.last_seq}, but {found.high_water} was acknowledged: records are lost",
        level="error", stream=found.stream, last_seq=found.last_seq, high_water=found.high_water,
    )  # fmt: skip
