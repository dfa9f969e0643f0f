"""Three real nats-servers that share streams, on loopback; each is killed, paused and started again by itself."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.nats_server import NatsServer

_SIZE = 3
_CLUSTER = """
server_name: "{name}"
cluster {{
  name: chimera
  listen: "127.0.0.1:{own}"
  routes: [{others}]
}}
{extra}
"""


class NatsCluster:
    """Three servers.

    Args:
        folder: One folder inside for each.
        extra: More lines of configuration, the same for all.
        jetstream: More of JetStream's configuration.
    """

    def __init__(self, folder: Path, extra: str = "", *, jetstream: str = "") -> None:
        ports = _free_ports(_SIZE)
        self.servers: list[NatsServer] = []
        for number, own in enumerate(ports):
            others = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports if port != own)
            lines = _CLUSTER.format(name=f"n{number}", own=own, others=others, extra=extra)
            self.servers.append(NatsServer(folder / f"n{number}", lines, jetstream=jetstream))

    @property
    def url(self) -> str:
        """Where clients connect: all of them."""
        return ",".join(server.url for server in self.servers)

    def start(self) -> None:
        """Start all; they need one another to be ready."""
        self._each(NatsServer.start)

    def kill(self) -> None:
        """End all that run."""
        self._each(NatsServer.kill)

    def _each(self, act: Callable[[NatsServer], None]) -> None:
        with ThreadPoolExecutor(_SIZE) as pool:
            list(pool.map(act, self.servers))


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; held together, so that no two are the same."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
