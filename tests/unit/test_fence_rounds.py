"""A node's rounds on a clock that a test moves."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors.brokering.record import Record
from actors.fencing.fence import Fence
from actors.fencing.rounds import UTILIZATION_S, Rounds
from chimera.devices.binding import Sample
from chimera.devices.memory_backend import MemoryBackend
from chimera.devices.reading import Reading
from chimera.testing import ManualClock
from subjects.device import NodeReported

pytestmark = pytest.mark.anyio
GPU = Sample(uuid="GPU-1", model="A100", memory_mib=40_000, memory_used_mib=0, utilization=0.5, processes={})


@dataclass
class Stage:
    """Rounds, and what they told."""

    clock: ManualClock
    backend: MemoryBackend
    rounds: Rounds
    reports: list[NodeReported]
    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list[tuple[str, str, dict[str, Any]]])

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let threads do their part while the clock moves on, hundredth by hundredth."""
        with anyio.fail_after(10):
            while not condition():
                await self.clock.advance(0.01)

    def say(self, name: str, text: str = "", **fields: Any) -> None:
        """A line of the event log."""
        self.lines.append((name, text, fields))


class Stuck:
    """A backend whose reading does not come back until it is let go."""

    trouble = ""

    def __init__(self) -> None:
        self.let_go = anyio.Event()

    async def read(self) -> list[Reading]:
        """Nothing, later."""
        await self.let_go.wait()
        return []

    async def close(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def stage(folder: Path, *more: Stuck) -> AsyncGenerator[Stage]:
    """A node with one GPU in memory."""
    clock = ManualClock()
    backend = MemoryBackend(clock, [GPU])
    fence = Fence("box", folder / "tokens.json", clock, clock.monotonic)
    reports: list[NodeReported] = []
    made = Stage(clock, backend, Rounds(fence, [backend], clock, reports.append, lambda *_: None), reports)
    made.rounds.report = made.say
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.rounds.run)
        await made.until(lambda: bool(reports))
        made.rounds.backends = [backend, *more]
        yield made
        tasks.cancel_scope.cancel()


async def test_reports_go_on_while_a_device_does_not_answer(tmp_path: Path):
    """A node whose driver hangs is not taken for dead: it goes on telling what it read last."""
    stuck = Stuck()
    async with stage(tmp_path, stuck) as made:
        for _ in range(5):
            before = len(made.reports)
            await made.clock.advance(2.5)
            await made.until(lambda before=before: len(made.reports) > before)
        assert [told.id for told in made.reports[-1].devices] == ["GPU-1"]
        stuck.let_go.set()


async def test_nothing_is_said_of_a_record_before_the_processes_were_looked_through(tmp_path: Path):
    """After a start, ``seen`` stays 0 until a census was taken with the record known: holders may live on."""
    async with stage(tmp_path) as made:
        assert made.reports[-1].devices[0].seen == 0
        made.rounds.fence.see(Record("box", "GPU-1", version=4, memory_mib=40_000))
        assert made.rounds.told().devices[0].seen == 0
        made.rounds.ring()
        await made.clock.advance(0.1)
        await made.until(lambda: made.reports[-1].devices[0].seen == 4)


async def test_a_bell_is_a_report_at_once(tmp_path: Path):
    """What happens between two intervals is told without waiting for the next."""
    async with stage(tmp_path) as made:
        await made.until(lambda: len(made.reports) > 1)
        began, before = made.clock.monotonic(), len(made.reports)
        made.rounds.ring()
        await made.until(lambda: len(made.reports) > before)
        assert made.clock.monotonic() - began < made.rounds.interval_s / 2


async def test_what_people_are_told(tmp_path: Path):
    """A fault and its end are told once each, and how busy a GPU is at a bounded rate."""
    async with stage(tmp_path) as made:
        began = made.clock.monotonic() - 0.1
        made.backend.change("GPU-1", replace(GPU, ecc_errors=1))
        await made.clock.advance(2.5)
        await made.until(lambda: any("may not be used" in text for _, text, _ in made.lines))
        made.backend.change("GPU-1", GPU)
        await made.clock.advance(2.5)
        await made.until(lambda: any("is well again" in text for _, text, _ in made.lines))

        def busy() -> list[dict[str, Any]]:
            return [fields for _, _, fields in made.lines if "utilization" in fields]

        await made.clock.advance(UTILIZATION_S)
        await made.until(lambda: len(busy()) == 2)
        assert made.clock.monotonic() - began >= UTILIZATION_S
        assert busy()[0]["utilization"] == 0.5


async def test_a_record_that_went_back_is_an_alarm_once(tmp_path: Path):
    """A store that knows less than the fence is told of loudly, and not at every round."""
    async with stage(tmp_path) as made:
        await made.rounds.fence.tokens.raise_to("GPU-1", 9)
        made.rounds.fence.see(Record("box", "GPU-1", version=1, token=8))
        await made.until(lambda: any(name == "store-regressed" for name, _, _ in made.lines))
        before = len(made.reports)
        await made.until(lambda: len(made.reports) > before + 2)
        assert [name for name, _, _ in made.lines].count("store-regressed") == 1
