"""The follower of a stream: wherever it is cut off, nothing of it stays open."""

from __future__ import annotations

import gc
import random
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import anyio
import pytest

from chimera.bus.contract import Bus, StateListener, Stored
from chimera.clock import SystemClock
from chimera.store import Store
from chimera.store.follower import Follower, Projection

pytestmark = pytest.mark.anyio


class EndlessBus:
    """A stream of one message, and then more for as long as somebody follows."""

    def on_state(self, listener: StateListener) -> None:
        """The connection never changes."""

    async def stream_state(self, _stream: str) -> tuple[int, int, int]:
        await anyio.lowlevel.checkpoint()
        return 1, 1, 1

    @asynccontextmanager
    async def read(
        self, stream: str, *, start_seq: int = 1, follow: bool = False
    ) -> AsyncGenerator[AsyncIterator[Stored]]:
        async def messages() -> AsyncGenerator[Stored]:
            for seq in range(start_seq, 10_000 if follow else 2):
                await anyio.lowlevel.checkpoint()
                yield Stored(stream, seq, "chimera.kpi.a", b"", 0.0)

        found = messages()
        try:
            yield found
        finally:
            await found.aclose()


class HastyClock(SystemClock):
    """Every pause lasts one turn of the loop."""

    async def sleep(self, delay: float) -> None:
        assert delay >= 0.0
        await anyio.lowlevel.checkpoint()


class Place:
    """A store that answers after a few turns of the loop, and what is projected into it."""

    stream = "KPI"

    def __init__(self) -> None:
        self.seq = 0

    async def high_water(self, _stream: str) -> int:
        return self.seq

    async def position(self, _stream: str) -> int:
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        return self.seq

    async def save(self, messages: Sequence[Stored]) -> None:
        self.seq = messages[-1].seq

    async def went_back(self, _found: object, _generation: str) -> None:
        raise AssertionError("it never goes back")

    async def caught_up(self, first: int) -> None:
        """Nothing to clean."""


@pytest.mark.parametrize("steps", range(60))
async def test_a_follower_that_is_cut_off_leaves_nothing_open(steps: int) -> None:
    """After any number of the loop's turns, also while it asks where to begin."""
    place = Place()
    rng = random.Random(1)  # noqa: S311 - jitter
    follower = Follower(cast("Bus", EndlessBus()), cast("Store", place), cast("Projection", place), HastyClock(), rng)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        async with anyio.create_task_group() as group:
            group.start_soon(follower.run)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        gc.collect()
    assert [str(one.message) for one in told] == []
