"""What every endpoint of one port shares, and the few notes that travel in a request's scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.types import Scope, Send

from chimera.clock import Clock
from chimera.events import EventSink
from chimera.metrics import Metrics
from subjects import Port

from .auth import Door
from .contract import Caller, Probe
from .idempotency import Memory
from .problems import Headers, send_answer
from .settings import BridgeSettings

if TYPE_CHECKING:
    from .streaming import Streams

HEADERS, OPERATION, STATUS, HANG_UP = "chimera.headers", "chimera.operation", "chimera.status", "chimera.hang_up"
"""Notes in the scope: its headers as a dict, which operation answers, what was answered, how to stop it."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts that endpoints work with."""

    port: Port
    caller: Caller
    probe: Probe
    settings: BridgeSettings
    door: Door
    memory: Memory
    metrics: Metrics
    clock: Clock
    events: EventSink
    streams: Streams


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The request's headers by lower-case name."""
    noted: Mapping[bytes, bytes] = scope[HEADERS]
    return noted


async def answer(scope: Scope, send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send one whole answer and note its status."""
    scope[STATUS] = status
    await send_answer(send, status, headers, body)


def path_of(scope: Scope) -> str:
    """The request's path."""
    path: Any = scope["path"]
    return str(path)
