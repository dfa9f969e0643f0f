"""Closer monitoring: raised for a bounded time, back by itself, also across a restart or a crash."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from actors.refining.attention import Attention
from chimera.bus.memory import MemoryBus, MemoryHub
from chimera.logs import Level, current_level, set_level
from chimera.logs.level import FOREIGN, OURS
from chimera.testing import ManualClock
from subjects.insight import EnhanceMonitoring

pytestmark = pytest.mark.anyio


class Sampler:
    """Measures now and then."""

    period_s = 10.0


class Node:
    """What one process has: a log level and a sampler."""

    def __init__(self, usual: Level = "info") -> None:
        self.level: Level = usual
        self.sampler = Sampler()
        self.events: list[str] = []

    def attention(self, bus: MemoryBus, clock: ManualClock, usual: Level = "info") -> Attention:
        """The part under test."""

        def put(level: Level) -> None:
            self.level = level

        def report(_name: str, message: str, **_: Any) -> None:
            self.events.append(message)

        return Attention(
            bus=bus, node="n", clock=clock, usual=usual, samplers=(self.sampler,), report=report,
            levels=(lambda: self.level, put),
        )  # fmt: skip


async def test_it_is_raised_and_falls_back_by_itself():
    """For a minute more is logged and sampled; then all is as before, without anybody asking."""
    clock, node = ManualClock(), Node()
    async with MemoryBus(MemoryHub()) as bus, anyio.create_task_group() as group:
        attention = node.attention(bus, clock)
        group.start_soon(attention.run)
        answer = await attention.enhance(EnhanceMonitoring(seconds=60))
        assert (answer.log_level, answer.previous_log_level) == ("DEBUG", "INFO")
        assert (answer.sample_s, answer.previous_sample_s, answer.until) == (1.0, 10.0, clock.time() + 60)
        await clock.advance(58)
        assert (node.level, node.sampler.period_s) == ("debug", 1.0)
        await clock.advance(4)
        assert (node.level, node.sampler.period_s) == ("info", 10.0)
        assert "by itself" in node.events[-1]
        group.cancel_scope.cancel()


async def test_zero_seconds_end_it_now():
    """A person may end it early; nothing is left to restore."""
    clock, node, hub = ManualClock(), Node(), MemoryHub()
    async with MemoryBus(hub) as bus:
        attention = node.attention(bus, clock)
        await attention.enhance(EnhanceMonitoring(seconds=600))
        answer = await attention.enhance(EnhanceMonitoring(seconds=0))
        assert (answer.log_level, answer.previous_log_level, node.sampler.period_s) == ("INFO", "DEBUG", 10.0)
        after = Node()
        await after.attention(bus, clock).restore()
        assert after.level == "info"


async def test_raising_twice_extends_it_and_still_falls_back_to_the_settings():
    """A second raise does not take the raised values for the usual ones."""
    clock, node = ManualClock(), Node()
    async with MemoryBus(MemoryHub()) as bus, anyio.create_task_group() as group:
        attention = node.attention(bus, clock)
        group.start_soon(attention.run)
        await attention.enhance(EnhanceMonitoring(seconds=60))
        await clock.advance(30)
        await attention.enhance(EnhanceMonitoring(seconds=60))
        await clock.advance(45)
        assert node.level == "debug"
        await clock.advance(30)
        assert (node.level, node.sampler.period_s) == ("info", 10.0)
        group.cancel_scope.cancel()


async def test_a_restart_goes_on_with_it_for_the_rest_of_the_time():
    """A new process raises again, and ends it when it was to end."""
    clock, hub = ManualClock(), MemoryHub()
    async with MemoryBus(hub) as bus:
        await Node().attention(bus, clock).enhance(EnhanceMonitoring(seconds=60))
        await clock.advance(20)
        node = Node()
        attention = node.attention(bus, clock)
        await attention.restore()
        assert (node.level, node.sampler.period_s) == ("debug", 1.0)
        async with anyio.create_task_group() as group:
            group.start_soon(attention.run)
            await clock.advance(42)
            assert (node.level, node.sampler.period_s) == ("info", 10.0)
            group.cancel_scope.cancel()


async def test_an_actor_that_crashed_and_came_back_too_late_ends_it():
    """The level is the process's: a new actor in the same process finds it raised and puts it back."""
    clock, node = ManualClock(), Node()
    async with MemoryBus(MemoryHub()) as bus:
        await node.attention(bus, clock).enhance(EnhanceMonitoring(seconds=10))
        await clock.advance(11)
        await node.attention(bus, clock).restore()
        assert node.level == "info"


async def test_raising_never_logs_less():
    """A node that logs everything anyway goes on doing so."""
    clock, node = ManualClock(), Node("debug")
    async with MemoryBus(MemoryHub()) as bus:
        answer = await node.attention(bus, clock, "debug").enhance(EnhanceMonitoring(seconds=10, log_level="INFO"))
    assert (answer.log_level, node.level) == ("DEBUG", "debug")


async def test_stopping_takes_it_back():
    """What is left when the actor stops is the level of the settings."""
    clock, node = ManualClock(), Node()
    async with MemoryBus(MemoryHub()) as bus:
        attention = node.attention(bus, clock)
        await attention.enhance(EnhanceMonitoring(seconds=10))
        attention.close()
    assert node.level == "info"


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_the_level_that_was_set_is_the_one_in_force(level: Level):
    """Setting a level and asking for it agree."""
    before = {name: logging.getLogger(name).level for name in (*OURS, *FOREIGN)}
    try:
        set_level(level)
        assert current_level() == level
    finally:
        for name, number in before.items():
            logging.getLogger(name).setLevel(number)
