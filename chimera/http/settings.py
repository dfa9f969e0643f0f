"""Everything about the bridge that can be set."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from chimera.errors import BadSettingError
from chimera.pages import PAGES
from subjects import MAX_BODY_BYTES, Port

TokenMode = Literal["auto", "always", "never"]

LAYERS: dict[Port, str] = {
    Port.AGENT: "execution",
    Port.SCHEDULER: "scheduler",
    Port.REFINEMENT: "refinement",
    Port.EVOLUTION: "evolution",
    Port.RESOURCES: "resources",
}
"""The layer behind each port, as logs and documents name it."""


def is_loopback(host: str) -> bool:
    """True if only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """How the bridge listens, whom it lets in, and what it takes.

    Attributes:
        host: Address to listen on.
        ports: Number per role; 0 = any free one. A role that is missing is not served.
        token: When a change needs the bearer token: ``auto`` = unless ``host`` is loopback, ``always`` = there too
            (except for running tasks), ``never``.
        data: Data folder; the token lives in ``secrets/http-token`` below it.
        allowed_hosts: Names that the Host header may carry besides the loopback ones. Empty on another address = any.
        allowed_origins: Origins, as ``https://example.org``, whose pages may send unsafe requests.
        max_body_bytes: Largest body; operations that take a module take its bound on top.
        body_timeout_s: How long a body may take to arrive.
        header_timeout_s: How long a request's headers may take, also how long an idle connection is kept.
        header_bytes: Most bytes before a request's headers are complete.
        connections: Most open connections of all ports together.
        connections_per_address: Most open connections of one address; raise it behind a reverse proxy.
        drain_s: How long running requests get at the end.
        margin_s: What the bridge waits beyond the deadline that it gave to the ask.
        slow_s: Answers that took longer are logged as ``response-time``.
        idempotency_keep_s: How long answers to an Idempotency-Key are kept.
        pages: Operation to ``module:function`` that turns its reply into HTML, for GETs that prefer that to JSON.
        parser: ``httptools``, or ``h11`` where that wheel is missing.
    """

    host: str = "127.0.0.1"
    ports: Mapping[Port, int] = field(default_factory=lambda: {port: int(port) for port in Port})
    token: TokenMode = "auto"  # noqa: S105 - a mode, not a secret
    data: Path = Path("data")
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = MAX_BODY_BYTES
    body_timeout_s: float = 15.0
    header_timeout_s: float = 5.0
    header_bytes: int = 32_768
    connections: int = 1000
    connections_per_address: int = 64
    drain_s: float = 10.0
    margin_s: float = 0.5
    slow_s: float = 0.5
    idempotency_keep_s: float = 86_400.0
    pages: Mapping[str, str] = field(default_factory=lambda: PAGES)
    parser: Literal["httptools", "h11"] = "httptools"

    def __post_init__(self) -> None:
        """Check what would only fail later.

        Raises:
            BadSettingError: The detail names the setting.
        """
        for name in ("max_body_bytes", "body_timeout_s", "header_timeout_s", "header_bytes", "connections", "drain_s"):
            if getattr(self, name) <= 0:
                raise BadSettingError(f"http.{name} must be above 0, not {getattr(self, name)}")
        for port, number in self.ports.items():
            if not 0 <= number <= 65_535:  # noqa: PLR2004 - the range of TCP ports
                raise BadSettingError(f"http.ports.{port.name.lower()} must be 0 to 65535, not {number}")

    @property
    def on_loopback(self) -> bool:
        """True if only this machine can reach the bridge."""
        return is_loopback(self.host)
