"""The observatory: true figures of ingestion, patterns and anomalies, and a restart that counts nothing twice."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import numpy as np
import pytest

from actors.refining.album import BUCKET, Album, packed, unpacked
from actors.refining.aside import Aside, Stop
from actors.refining.feed import EVENTS, KPI
from actors.refining.observatory import KEEP_S, STEP_S, Observatory
from actors.refining.rate import Rate
from chimera.bus.contract import StreamSpec
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.errors import CorruptError
from chimera.testing import ManualClock
from chimera.wire import encode
from subjects.event import TaskJudged, TaskProcessed
from subjects.insight import GetAnomalies, GetPatterns
from subjects.optimizer import CheckKpi
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

EPOCH = 1_800_000_000.0


class World:
    """Streams on a bus, a clock that a test moves, and what was reported."""

    def __init__(self) -> None:
        self.clock = ManualClock(epoch=EPOCH)
        self.bus = MemoryBus(MemoryHub(self.clock))
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self._count = 0

    def report(self, name: str, words: str = "", **fields: Any) -> None:
        """Keep an event."""
        self.told.append((name, words, fields))

    def words(self, name: str) -> list[str]:
        """What was said under a name."""
        return [words for told, words, _ in self.told if told == name]

    async def serve(self, count: int = 1, *, at: float | None = None, run_ms: float = 2.0, **fields: Any) -> None:
        """Store outcomes."""
        for _ in range(count):
            self._count += 1
            record = TaskProcessed(
                job_id=f"j{self._count}", agent=fields.get("agent", "echo"), release=1, task="predict", outcome="ok",
                at=self.clock.time() if at is None else at, queue_ms=0.5, run_ms=run_ms, cpu_ms=1.0,
                memory_bytes=65536, node="n",
            )  # fmt: skip
            await self.bus.append("chimera.kpi.echo", encode(record), msg_id=record.job_id)

    async def minutes(self, values: list[float]) -> None:
        """One outcome a minute, of the past up to now."""
        for back, value in zip(range(len(values), 0, -1), values, strict=True):
            await self.serve(at=self.clock.time() - 60.0 * back, run_ms=value)

    def observatory(self, **fields: Any) -> Observatory:
        """A new one, as after a restart."""
        return Observatory(bus=self.bus, clock=self.clock, report=self.report, **fields)

    @asynccontextmanager
    async def running(self, **fields: Any) -> AsyncGenerator[Observatory]:
        """One that runs."""
        observatory = self.observatory(**fields)
        async with anyio.create_task_group() as group:
            group.start_soon(observatory.run)
            await self.caught_up(observatory)
            yield observatory
            group.cancel_scope.cancel()

    async def caught_up(self, observatory: Observatory) -> None:
        """Wait until all is ingested."""
        with anyio.fail_after(20):
            while (health := await observatory.kpi(CheckKpi())).lag_messages or health.status == "fail":
                await anyio.lowlevel.checkpoint()


@pytest.fixture
async def world() -> AsyncGenerator[World]:
    """Both streams, empty."""
    world = World()
    async with world.bus:
        await world.bus.declare(StreamSpec(KPI, ("chimera.kpi.>",)))
        await world.bus.declare(StreamSpec(EVENTS, ("chimera.event.>",)))
        yield world


async def test_ingestion_is_told_as_it_is(world: World):
    """Counts, series and position are those of what was stored; nothing is behind."""
    await world.serve(10)
    async with world.running() as observatory:
        health = await observatory.kpi(CheckKpi())
    assert (health.status, health.ingested, health.position, health.lag_messages, health.lag_s) == (
        "pass",
        10,
        10,
        0,
        0,
    )
    assert health.rate_per_s == pytest.approx(10.0)
    assert health.series == 5
    assert health.rejected == {}


async def test_what_is_refused_is_counted_by_its_reason(world: World):
    """A record that can't be read, an impossible figure, one from the future, a late one: one each, and a warning."""
    await world.serve()
    await world.bus.append("chimera.kpi.echo", b"{", msg_id="x")
    await world.serve(run_ms=-1.0)
    await world.serve(at=EPOCH + 3600)
    await world.serve(at=EPOCH - 3600)
    async with world.running() as observatory:
        health = await observatory.kpi(CheckKpi())
    assert (health.ingested, health.late, health.status) == (1, 1, "warn")
    assert health.rejected.pop("malformed") == 1
    assert health.rejected.pop("future") == 1
    assert list(health.rejected.values()) == [1]


async def test_series_beyond_the_limit_are_refused_once_per_record(world: World):
    """An agent whose figures don't fit is counted per record, not per figure."""
    from actors.insight.store import Size

    await world.serve()
    await world.serve(2, agent="other")
    async with world.running(size=Size(series=7)) as observatory:
        health = await observatory.kpi(CheckKpi())
    assert health.rejected == {"too-many-series": 2}
    assert health.status == "warn"


async def test_what_is_not_read_yet_is_lag_with_its_age(world: World):
    """Without a reader, lag is what lies in the stream and how old its first message is; that is no pass."""
    await world.serve(3)
    await world.clock.advance(50.0)
    health = await world.observatory().kpi(CheckKpi())
    assert (health.lag_messages, health.ingested, health.status) == (3, 0, "fail")
    assert health.lag_s == pytest.approx(50.0)


async def test_a_restart_counts_nothing_twice(world: World):
    """After a restart from a picture: all records of both lives, each once, the same means, and the rejected too."""
    await world.serve(40, run_ms=2.0)
    await world.bus.append("chimera.kpi.echo", b"{", msg_id="x")
    async with world.running() as observatory:
        await observatory.keep()
    await world.serve(10, run_ms=7.0)
    async with world.running() as again:
        health = await again.kpi(CheckKpi())
        again.flush()
        await world.clock.advance(300.0)
        again.store.advance(world.clock.time())
        counts = again.store.minutes("echo/run_ms", view="count")[1]
        means = again.store.minutes("echo/run_ms")[1]
    assert (health.ingested, health.position, sum(health.rejected.values())) == (50, 51, 1)
    assert np.nansum(counts) == 50
    assert np.nanmax(means) == pytest.approx((40 * 2.0 + 10 * 7.0) / 50)


async def test_a_restart_without_a_picture_reads_the_tail_again(world: World):
    """Nothing was kept: the last outcomes are read again, no more than the tail."""
    await world.serve(30)
    async with world.running():
        pass
    async with world.running(tail=20) as again:
        assert (await again.kpi(CheckKpi())).ingested == 20


async def test_a_corrupt_picture_is_told_and_the_one_before_it_is_used(world: World):
    """A flipped bit in the newest picture costs a minute, not the past."""
    await world.serve(5)
    async with world.running() as observatory:
        await observatory.keep()
        await world.serve(5)
        await world.clock.advance(1.0)
        await world.caught_up(observatory)
        await observatory.keep()
    bucket = await world.bus.objects(BUCKET)
    names = await bucket.names()
    data = bytearray(await bucket.get(names[-1]) or b"")
    data[40] ^= 1
    await bucket.delete(names[-1])
    await bucket.put(names[-1], bytes(data))
    async with world.running() as again:
        assert (await again.kpi(CheckKpi())).ingested == 10
    assert any("checksum" in words for words in world.words("model-loading"))


async def test_the_album_keeps_two(world: World):
    """However often a picture is kept, two stay."""
    async with world.running() as observatory:
        for _ in range(4):
            await world.serve()
            await world.clock.advance(KEEP_S / 10)
            await world.caught_up(observatory)
            await observatory.keep()
    assert len(await (await world.bus.objects(BUCKET)).names()) == 2


async def test_a_picture_of_other_settings_is_not_used(world: World):
    """After the settings changed the tail is read again, and that is told."""
    from actors.insight.store import Size

    await world.serve(5)
    async with world.running() as observatory:
        await observatory.keep()
    async with world.running(size=Size(hours=300)) as again:
        assert (await again.kpi(CheckKpi())).ingested == 5
    assert any("not used" in words for words in world.words("model-loading"))


async def test_an_anomaly_is_told_once_in_all_lives(world: World):
    """A spike is an event and an answer; after a restart it is still an answer and no second event."""
    rng = np.random.default_rng(5)
    values = np.exp(rng.normal(1, 0.05, 400)).tolist()
    values[-20] = 400.0
    await world.minutes(values)
    async with world.running() as observatory:
        await world.clock.advance(STEP_S)
        await until(lambda: world.words("anomaly-detected"))
        await observatory.keep()
        first = (await observatory.anomalies(GetAnomalies(agent="echo"))).anomalies
    told = len(world.words("anomaly-detected"))
    assert max(anomaly.value for anomaly in first) == pytest.approx(400.0)
    await world.serve()
    async with world.running() as again:
        await world.clock.advance(STEP_S)
        await until(lambda: again.watched >= 300)
        assert (await again.anomalies(GetAnomalies(agent="echo"))).anomalies == first
    assert (await again.anomalies(GetAnomalies(agent="other"))).anomalies == []
    assert len(world.words("anomaly-detected")) == told


async def test_patterns_come_from_what_was_ingested(world: World):
    """A change of level is told for its series; another agent and another kind have none; the limit holds."""
    rng = np.random.default_rng(6)
    values = [*rng.normal(5, 0.1, 150), *rng.normal(9, 0.1, 150)]
    await world.minutes([float(value) for value in values])
    async with world.running() as observatory:
        found = await observatory.patterns(GetPatterns(kind="change-point"))
        assert any(pattern.series == "echo/run_ms" for pattern in found.patterns)
        assert len((await observatory.patterns(GetPatterns(limit=1))).patterns) == 1
        assert (await observatory.patterns(GetPatterns(agent="other"))).patterns == []
    assert found.series == 6
    assert found.accuracy is None


async def test_a_caller_that_leaves_stops_nobody(world: World):
    """A cancelled question is over at once, and the next one is answered."""
    await world.minutes([float(value) for value in np.random.default_rng(7).normal(5, 0.1, 200)])
    async with world.running() as observatory:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await observatory.patterns(GetPatterns())
        assert (await observatory.patterns(GetPatterns())).series == 6


async def test_judgements_make_a_series(world: World):
    """Whether answers were right is a rate of its own; one without a label is none."""
    judged = TaskJudged(job_id="j1", agent="echo", release=1, at=EPOCH, correct=True)
    for number, correct in enumerate((True, False, None)):
        record = TaskJudged(job_id=judged.job_id, agent="echo", release=1, at=EPOCH, correct=correct)
        await world.bus.append("chimera.event.agent.judged", encode(record), msg_id=str(number))
    async with world.running() as observatory:
        await until(lambda: "echo/correct" in observatory.store.names)
        await until(lambda: observatory.positions[EVENTS] == 3)
        observatory.flush()
        await world.clock.advance(300.0)
        observatory.store.advance(world.clock.time())
        means = observatory.store.minutes("echo/correct")[1]
    assert np.nanmax(means) == pytest.approx(0.5)


async def test_the_self_check_is_measured_and_told(world: World):
    """The figure comes from injections, is told as an event, and stands beside the answers, after a restart too."""
    await world.serve()
    async with world.running() as observatory:
        found = await observatory.self_check(rounds=1)
        assert (await observatory.anomalies(GetAnomalies())).accuracy == found
        await observatory.keep()
    assert found.injections > 0
    assert world.words("pattern-accuracy")
    async with world.running() as again:
        assert (await again.patterns(GetPatterns())).accuracy == found


async def test_a_picture_is_verified(world: World):
    """What is no picture is refused by name, and never read as one."""
    data = packed(world.observatory().store.image(), world.observatory().facts())
    assert unpacked(data).ingested == 0
    for broken in (b"", data[:-1], data[:50] + bytes([data[50] ^ 1]) + data[51:]):
        with pytest.raises(CorruptError):
            unpacked(broken)
    assert await Album(world.bus, world.report).newest() is None


def test_a_rate_forgets_after_a_minute():
    """The last minute counts, and a young rate is over the time it has lived."""
    rate = Rate(100.0)
    rate.add(100.5, 30)
    assert rate.per_s(110.0) == pytest.approx(3.0)
    assert rate.per_s(150.0) == pytest.approx(0.6)
    assert rate.per_s(161.0) == 0.0


async def test_work_ends_when_nobody_waits_for_it():
    """A caller that is cancelled goes at once, the thread is told to stop, and the lane is free for the next."""
    began, ended = threading.Event(), threading.Event()

    def work(stop: Stop) -> None:
        began.set()
        while not stop():
            ended.wait(0.001)
        ended.set()

    aside = Aside()
    async with anyio.create_task_group() as group:
        group.start_soon(aside.run, work)
        await until(began.is_set)
        group.cancel_scope.cancel()
    await until(ended.is_set)
    assert await aside.run(lambda _stop: 7) == 7
