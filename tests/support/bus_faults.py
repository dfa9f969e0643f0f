"""Killing the server under a bus."""

from __future__ import annotations

import anyio

from chimera.bus.nats import NatsBus
from tests.support.nats_server import NatsServer
from tests.support.waiting import until


async def restart(server: NatsServer, bus: NatsBus, down_s: float = 0.2) -> None:
    """Kill the server as a crash would, and start it again."""
    await anyio.to_thread.run_sync(server.kill)
    await until(lambda: bus.statistics().state == "disconnected")
    await anyio.sleep(down_s)
    await anyio.to_thread.run_sync(server.start)
