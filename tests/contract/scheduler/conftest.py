"""The stage that the scheduler's tests play on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import anyio
import pytest

from tests.support.scheduler_stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A stage whose clock runs on at the end."""
    async with anyio.create_task_group() as group:
        async with AsyncExitStack() as stack:
            made = Stage(stack)
            yield made
            group.start_soon(made.run_on)  # whoever stops may wait for something that never ends
        group.cancel_scope.cancel()
