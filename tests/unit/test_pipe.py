"""The pipe between a streaming handler and its reader."""

from __future__ import annotations

import anyio
import pytest

from chimera.errors import ConflictError
from chimera.pipe import WINDOW, Pipe
from chimera.testing import settle

pytestmark = pytest.mark.anyio


async def test_the_writer_is_held_back_a_window_ahead():
    """It goes on one for one as the reader reads."""
    pipe, sent = Pipe(), 0

    async def write() -> None:
        nonlocal sent
        for number in range(1000):
            await pipe.chunk(number)
            sent += 1
        await pipe.end()

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        await settle()
        assert sent == WINDOW
        assert await anext(pipe) == 0
        await settle()
        assert sent == WINDOW + 1
        assert [item async for item in pipe] == list(range(1, 1000))


async def test_what_came_before_a_failure_is_read_before_it():
    """Then the failure; nothing is taken in afterwards."""
    pipe = Pipe()
    await pipe.chunk(1)
    await pipe.error(ConflictError("no"))
    await pipe.chunk(2)
    assert await anext(pipe) == 1
    with pytest.raises(ConflictError):
        await anext(pipe)
