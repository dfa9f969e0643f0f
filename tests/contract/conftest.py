"""Nodes on the in-memory bus and on a real server, for suites that hold both to one contract."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import cast

import pytest

from chimera.bus import Bus, MemoryBus, MemoryHub
from chimera.bus.nats import NatsBus
from tests.support.nats_server import NatsServer
from tests.support.postgres import postgres

__all__ = ["postgres"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One server for the whole session; tests use subjects and streams of their own."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def unique() -> str:
    """A token no other test uses."""
    return f"t{next(_numbers)}"


class Nodes:
    """Makes buses that can talk to each other."""

    def __init__(self, stack: AsyncExitStack, url: str) -> None:
        self._stack, self._url, self._hub = stack, url, MemoryHub()

    async def join(self) -> Bus:
        """Another node."""
        name = f"n{next(_numbers)}"
        bus = NatsBus(self._url, name=name) if self._url else MemoryBus(self._hub, name=name)
        return await self._stack.enter_async_context(cast("MemoryBus", bus))


@pytest.fixture(params=["memory", "nats"])
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[Nodes]:
    """A factory of nodes of one kind."""
    url = request.getfixturevalue("nats_server").url if request.param == "nats" else ""
    async with AsyncExitStack() as stack:
        yield Nodes(stack, url)


@pytest.fixture
async def bus(nodes: Nodes) -> Bus:
    """One node."""
    return await nodes.join()
