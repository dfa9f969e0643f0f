"""The outbox of records."""

from __future__ import annotations

from typing import Any, cast

import anyio
import pytest

from actors.execution.outcomes import Outbox
from chimera.bus.contract import Bus
from chimera.errors import BusDownError, TooLargeError
from chimera.testing import ManualClock, settle
from chimera.wire import decode
from subjects.event import TaskProcessed

pytestmark = pytest.mark.anyio


def record(job: str, **more: Any) -> TaskProcessed:
    """A record."""
    return TaskProcessed(
        job_id=job, agent="a", release=1, task="predict", outcome="ok", at=0.0, queue_ms=0.0, run_ms=0.0, cpu_ms=0.0,
        memory_bytes=0, node="n", **more,
    )  # fmt: skip


class Wire:
    """A bus that takes groups, or raises what it is told to."""

    max_payload = 100_000

    def __init__(self) -> None:
        self.groups: list[list[tuple[str, bytes, str]]] = []
        self.error: Exception | None = None
        self.hang = False

    async def append_many(self, messages: list[tuple[str, bytes, str]]) -> None:
        """Take a group."""
        self.groups.append(list(messages))
        if self.hang:
            await anyio.sleep_forever()
        if self.error is not None:
            raise self.error


def make(limit: int = 100) -> tuple[Outbox, Wire, ManualClock, list[tuple[int, str]]]:
    """An outbox, its bus, its clock, and the losses it reported."""
    wire, clock = Wire(), ManualClock()
    losses: list[tuple[int, str]] = []

    def lost(count: int, why: str) -> None:
        losses.append((count, why))

    outbox = Outbox(cast("Bus", wire), prefix="n.1", limit=limit, sleep=clock.sleep, on_loss=lost)
    return outbox, wire, clock, losses


async def test_records_of_a_tick_go_together_with_unique_ids() -> None:
    """Nothing goes before the tick; then everything, in order, each with its own id."""
    outbox, wire, clock, _ = make()
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.run, 0.02)
        for job in "abc":
            outbox.add("s", record(job))
        await clock.advance(0.019)
        assert wire.groups == []
        await clock.advance(0.001)
        assert [(decode(data, TaskProcessed).job_id, key) for _, data, key in wire.groups[0]] == [
            ("a", "n.1.1"), ("b", "n.1.2"), ("c", "n.1.3"),
        ]  # fmt: skip
        assert (outbox.sent, len(outbox)) == (3, 0)
        group.cancel_scope.cancel()


async def test_a_failed_group_is_sent_again_with_the_same_ids() -> None:
    """After an outage the very same messages go first, so that the stream can tell repeats."""
    outbox, wire, clock, losses = make()
    wire.error = BusDownError()
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.run, 0.02)
        outbox.add("s", record("a"))
        await clock.advance(0.5)
        assert outbox.trouble
        wire.error = None
        await clock.advance(5.0)
        group.cancel_scope.cancel()
    assert len(wire.groups) >= 2
    assert all(group == wire.groups[0] for group in wire.groups)
    assert (outbox.sent, outbox.trouble, losses) == (1, "", [])


async def test_overflow_loses_the_oldest_and_says_so() -> None:
    """Two more than the limit: two are lost, counted and reported."""
    outbox, wire, _, losses = make(limit=3)
    for job in "abcde":
        outbox.add("s", record(job))
    assert await outbox.flush()
    assert [decode(data, TaskProcessed).job_id for _, data, _ in wire.groups[0]] == ["c", "d", "e"]
    assert (outbox.lost, [count for count, _ in losses]) == (2, [2])


async def test_what_the_bus_will_never_take_does_not_block_the_rest() -> None:
    """A refused group is lost and reported; the next goes."""
    outbox, wire, _, losses = make()
    wire.error = TooLargeError()
    outbox.add("s", record("a"))
    assert await outbox.flush()
    wire.error = None
    outbox.add("s", record("b"))
    assert await outbox.flush()
    assert (outbox.lost, outbox.sent, len(losses)) == (1, 1, 1)


async def test_a_record_too_large_goes_without_its_texts() -> None:
    """The record itself is kept, and says what was left out."""
    outbox, wire, _, _ = make()
    outbox.add("s", record("a", input={"text": "x" * 200_000}))
    assert await outbox.flush()
    kept = decode(wire.groups[0][0][1], TaskProcessed)
    assert (kept.job_id, kept.input, outbox.trimmed) == ("a", None, 1)
    assert "too large" in kept.detail


async def test_a_cancelled_send_is_sent_again_as_it_was() -> None:
    """A flush that is cut off in the middle keeps its group and its ids."""
    outbox, wire, _, _ = make()
    outbox.add("s", record("a"))
    wire.hang = True
    async with anyio.create_task_group() as group:
        group.start_soon(outbox.flush)
        await settle()
        group.cancel_scope.cancel()
    wire.hang = False
    assert await outbox.flush()
    assert wire.groups[0] == wire.groups[1]


async def test_stopping_is_bounded_and_counts_what_is_left() -> None:
    """A bus that hangs can't hold the stop; the rest is reported as lost."""
    outbox, wire, _, losses = make()
    outbox.add("s", record("a"))
    wire.hang = True
    with anyio.fail_after(5):
        await outbox.stop(0.01)
    assert (outbox.lost, losses[0][0]) == (1, 1)
