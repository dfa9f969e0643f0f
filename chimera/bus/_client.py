"""One life of one nats-py client. Its hot paths are in ``_wire``.

A client is used until its connection ends and is then thrown away: ``allow_reconnect`` is off, because the library's
own reconnect waits for the old socket to drain (for ever, if the server hangs), sends requests whose callers have
given up, and never comes back after most ``-ERR``. The supervisor in ``_connection`` makes the next client.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
from nats.errors import Error

from ._wire import WireClient

OUTBOUND_BYTES = 256 * 1024 * 1024
"""Out of reach: beyond it nats-py would wait *inside* publish and swallow the caller's cancellation."""

_log = logging.getLogger("chimera.bus")
_DENIED = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"')


@dataclass
class Link:
    """A client and what has become of it. ``lost`` is set once, by whoever notices first."""

    url: str
    on_denied: Callable[[str, str], None]
    on_error: Callable[[BaseException], None]
    client: WireClient = field(default_factory=WireClient)
    lost: anyio.Event = field(default_factory=anyio.Event)
    closed: anyio.Event = field(default_factory=anyio.Event)

    async def connect(self, options: Mapping[str, Any], timeout_s: float) -> None:
        """Connect within ``timeout_s``, or leave nothing behind.

        Raises:
            nats.errors.Error, OSError, TimeoutError: If it can't.
        """
        try:
            with anyio.fail_after(timeout_s):
                await self.client.connect(
                    self.url, **options, error_cb=self._error, disconnected_cb=self._gone, closed_cb=self._closed,
                    allow_reconnect=False, max_reconnect_attempts=1, reconnect_time_wait=0,
                    connect_timeout=max(1, int(timeout_s)), ping_interval=60, pending_size=OUTBOUND_BYTES,
                    skip_subject_validation=True,  # ours has been stricter by then
                )  # fmt: skip
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Cut the socket now. ``close`` alone would wait until a hung server has read what is unsent."""
        transport = getattr(self.client, "_transport", None)
        writer = getattr(transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def end(self, timeout_s: float = 1.0) -> None:
        """Close within ``timeout_s`` whatever state the client is in; never raises for it."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(timeout_s) as scope:
            with contextlib.suppress(Error, OSError, RuntimeError):
                await self.client.close()
            await self.closed.wait()
        if scope.cancelled_caught:
            self.abort()

    @property
    def refused(self) -> bool:
        """True if the server ended it with an ``-ERR`` (too large, too many subscriptions, credentials expired)."""
        error = self.client.last_error
        return error is not None and type(error) is Error and "permissions violation" not in str(error).lower()

    async def _error(self, error: Exception) -> None:
        # awaited inside the library's read loop: an exception from here would leave the connection open and deaf
        try:
            if denied := _DENIED.search(str(error).lower()):
                self.on_denied(denied[1], denied[2])
            elif not isinstance(error, OSError):
                self.on_error(error)
        except Exception:  # noqa: BLE001 - the last line of defence
            _log.exception("the bus's error callback failed")

    async def _gone(self) -> None:
        self.lost.set()

    async def _closed(self) -> None:
        self.lost.set()
        self.closed.set()
