"""uvicorn's connections with what it has no option for: a deadline and a size for headers, and a limit per address.

Middleware comes too late for all three: it runs once the headers are complete. ``limit_concurrency`` makes slow headers
worse, because they use it up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from chimera.clock import Clock, Timer
from chimera.errors import BadMessageError, ChimeraError, OverloadedError, SlowBodyError, TooLargeError

from .desk import HANG_UP
from .ledger import Ledger
from .problems import render_raw
from .settings import BridgeSettings

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:  # pragma: no cover - platforms without its wheel
    HttpToolsProtocol = None

if TYPE_CHECKING:
    _Base = H11Protocol
else:
    _Base = object


class GuardedConfig(Config):
    """uvicorn's configuration of one port, carrying what its connections need."""

    def __init__(self, app: Any, settings: BridgeSettings, *, ledger: Ledger, clock: Clock) -> None:
        self.guard = settings
        self.ledger = ledger
        self.clock = clock
        super().__init__(
            app,
            http=protocol_of(settings.parser),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(1, round(settings.header_timeout_s)),
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
            h11_max_incomplete_event_size=settings.header_bytes,
        )


class Guarded(_Base):
    """Mixed into both of uvicorn's parsers. One timer per connection; a request only notes the time."""

    config: GuardedConfig

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] - as uvicorn has it
        """Count the connection and start its timer; refuse it if it is one too many."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._waits_since = self.config.clock.monotonic()
        self._header_bytes = 0
        self._timer: Timer | None = None
        if not self.config.ledger.enter(self._address):
            self._refuse(OverloadedError("too many connections", retry_after_s=1.0), "too-many")
            return
        self._timer = self.config.clock.call_later(self.config.guard.header_timeout_s, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out, and stop what runs for a client that went away."""
        self.config.ledger.leave(self._address)
        if self._timer is not None:
            self._timer.cancel()
        cycle = self.cycle
        super().connection_lost(exc)
        if self._serves(cycle):
            hang_up = cycle.scope.get(HANG_UP)
            if hang_up is not None:
                hang_up()

    def data_received(self, data: bytes) -> None:
        """Parse; refuse headers that grow without end."""
        super().data_received(data)
        if self._serves(self.cycle):
            self._header_bytes = 0
            return
        self._header_bytes += len(data)
        if self._header_bytes > self.config.guard.header_bytes and not self.transport.is_closing():
            detail = f"headers of more than {self.config.guard.header_bytes} bytes"
            self._refuse(TooLargeError(detail, hint="send fewer headers"), "malformed")

    def on_response_complete(self) -> None:
        """Note when the wait for the next request began."""
        self._waits_since = self.config.clock.monotonic()
        self._header_bytes = 0
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What does not parse as HTTP is answered with a problem, too."""
        self._refuse(BadMessageError(msg, hint="send HTTP/1.1"), "malformed")

    def _check(self) -> None:
        limit = self.config.guard.header_timeout_s
        waited = 0.0 if self._serves(self.cycle) else self.config.clock.monotonic() - self._waits_since
        if waited < limit:
            self._timer = self.config.clock.call_later(limit - waited, self._check)
        elif self.transport.get_write_buffer_size():
            self.transport.abort()  # it does not read its last answer either
        elif self._header_bytes:
            self._refuse(SlowBodyError(f"the headers were not complete after {limit:g} s", hint="send faster"), "slow")
        else:
            self.transport.close()

    def _refuse(self, error: ChimeraError, reason: str) -> None:
        self.config.ledger.refused(reason)
        if not self.transport.is_closing():
            self.transport.write(render_raw(error))
            self.transport.close()

    @staticmethod
    def _serves(cycle: Any) -> bool:
        return cycle is not None and not cycle.response_complete


class GuardedH11(Guarded, H11Protocol):
    """The pure-Python parser, guarded."""


if HttpToolsProtocol is not None:

    class GuardedHttpTools(Guarded, HttpToolsProtocol):  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride] - the two parsers share their shape, not a base
        """The C parser, guarded."""


def protocol_of(parser: str) -> type[asyncio.Protocol]:
    """The guarded connection for a parser; ``httptools`` falls back to ``h11`` where its wheel is missing."""
    if parser == "httptools" and HttpToolsProtocol is not None:
        return GuardedHttpTools
    return GuardedH11
