"""One life of one nats-py client. Everything that leans on that library's inner workings is in this file.

A client is used until its connection ends and is then thrown away: ``allow_reconnect`` is off, because the library's
own reconnect waits for the old socket to drain (for ever, if the server hangs), sends requests whose callers have
given up, and never comes back after most ``-ERR``. The supervisor in ``_connection`` makes the next client.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error, SlowConsumerError

from .contract import Delivery

OUTBOUND_BYTES = 256 * 1024 * 1024
"""Out of reach: beyond it nats-py would wait *inside* publish and swallow the caller's cancellation."""

_log = logging.getLogger("chimera.bus")
_DENIED = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"')


class _Arrived(Delivery):
    """What nats-py makes of a message: our own ``Delivery`` at once, without its ``Msg`` in between."""

    __slots__ = ()

    def __init__(  # the parameters' names are nats-py's
        self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None, _client: object, _sid: int
    ) -> None:
        self.subject = subject
        self.data = data
        self.reply = reply
        self.headers = headers


class WireClient(Client):
    """nats-py's client, delivering ``Delivery`` objects."""

    msg_class: type[Any] = _Arrived

    async def _process_pong(self) -> None:
        """Take the answer to a ping that was given up: nats-py would set the cancelled future's result, and stop."""
        pongs = cast("list[asyncio.Future[bool]]", self._pongs)  # pyright: ignore[reportUnknownMemberType] - nats-py's
        if pongs and pongs[0].done():
            pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()


@dataclass
class Link:
    """A client and what has become of it. ``lost`` is set once, by whoever notices first."""

    url: str
    on_denied: Callable[[str, str], None]
    on_error: Callable[[BaseException], None]
    on_dropped: Callable[[], None]
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

    async def stop_intake(self, subscription: Subscription) -> None:
        """Tell the server to send no more, and go on handling what comes.

        The library's own ``drain`` pings *past* the buffered UNSUB: it forgets subscriptions that still get messages.
        """
        sid: int = subscription._id  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - no public one
        await self.client._send_unsubscribe(sid)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - see above

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
            if isinstance(error, SlowConsumerError):
                self.on_dropped()
            elif denied := _DENIED.search(str(error).lower()):
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
