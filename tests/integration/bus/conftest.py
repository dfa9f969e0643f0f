"""A nats-server of each test's own, and a bus on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from chimera.bus.nats import NatsBus
from tests.support.nats_server import NatsServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server of this test's own."""
    server = NatsServer(tmp_path / "one")
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[NatsBus]:
    """A bus on it."""
    async with NatsBus(server.url, name="test") as bus:
        yield bus


@pytest.fixture
def run() -> Callable[..., Any]:
    """Runs a blocking step of a server in a thread."""
    return anyio.to_thread.run_sync
