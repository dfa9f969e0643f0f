"""What the embedded server is told, and where its files lie."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chimera.errors import BadSettingError

Durability = Literal["power", "process", "wear"]
"""What an acknowledged write survives: a power cut, a crash, or a power cut but for the last second."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Settings of the embedded server.

    Attributes:
        data_dir: The node's data folder.
        host: A loopback address.
        port: TCP port; 0 = any free one.
        server: Path of the nats-server program; empty = look for it.
        durability: The fsync profile.
        max_file_bytes: Most disk that JetStream uses.
        max_memory_bytes: Most memory that streams in memory use.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 4222
    server: str = ""
    durability: Durability = "power"
    max_file_bytes: int = 8 << 30
    max_memory_bytes: int = 256 << 20

    def check(self) -> None:
        """Refuse what can't work.

        Raises:
            BadSettingError: If ``host`` is not loopback or ``port`` no port.
        """
        if not _is_loopback(self.host):
            raise BadSettingError(
                f"nats.host: the embedded server listens on loopback only, not on {self.host!r}",
                hint="for a network, run a nats-server with TLS yourself and say where with nats.url",
            )
        if not 0 <= self.port <= 65_535:  # noqa: PLR2004 - the range of TCP ports
            raise BadSettingError(
                f"nats.port: {self.port} is no TCP port", hint="use 1 to 65535, or 0 for any free one"
            )


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """Where the files of one data folder lie. All of it is private: folders 0700, files 0600."""

    data_dir: Path

    @property
    def secrets(self) -> Path:
        """Seeds, one file per role."""
        return self.data_dir / "secrets"

    @property
    def nats(self) -> Path:
        """Everything that belongs to the server alone."""
        return self.data_dir / "nats"

    @property
    def config(self) -> Path:
        """The generated configuration."""
        return self.nats / "server.conf"

    @property
    def lock(self) -> Path:
        """Locked as long as a server of this folder lives; its text says which."""
        return self.nats / "server.lock"

    @property
    def ports(self) -> Path:
        """Folder where the server writes down which port it got."""
        return self.nats / "ports"

    @property
    def jetstream(self) -> Path:
        """Streams, key-value buckets and objects."""
        return self.nats / "jetstream"

    @property
    def log(self) -> Path:
        """The server's log, rotated by itself."""
        return self.data_dir / "logs" / "nats-server.log"

    @property
    def stderr(self) -> Path:
        """What one run wrote outside its log: a refused configuration, a panic."""
        return self.data_dir / "logs" / "nats-server.err"

    @property
    def cli(self) -> Path:
        """A configuration home for the ``nats`` command."""
        return self.data_dir / "cli"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
