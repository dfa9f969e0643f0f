"""Our own table of subscriptions, which outlives every client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nats.aio.subscription import Subscription as NatsSubscription
from nats.errors import Error

from ._client import Link

PENDING_MESSAGES = 65_536
PENDING_BYTES = 64 * 1024 * 1024
"""What one subscription may have waiting before messages are dropped (and counted)."""


@dataclass(eq=False)
class Interest:
    """One subscription: as it was asked for, and as it lives on the present client."""

    subject: str
    queue: str
    deliver: Callable[[Any], Any]
    live: NatsSubscription | None = None
    link: Link | None = None


class Table:
    """All subscriptions of a bus."""

    def __init__(self) -> None:
        self._rows: list[Interest] = []

    def __len__(self) -> int:
        return len(self._rows)

    async def add(self, row: Interest, link: Link | None) -> Interest:
        """A new row, subscribed at once if there is a connection."""
        self._rows.append(row)
        if link is not None:
            with contextlib.suppress(Error):  # a client that has just closed: the next one subscribes
                await _subscribe(row, link)
        return row

    async def remove(self, row: Interest, link: Link | None) -> None:
        """Take a row away; deliveries still queued for it are not made."""
        with contextlib.suppress(ValueError):
            self._rows.remove(row)
        live, row.live = row.live, None
        if live is not None and row.link is link:
            with contextlib.suppress(Error):
                await live.unsubscribe()

    async def move(self, link: Link) -> None:
        """Subscribe everything on a new client, also what is added meanwhile.

        Raises:
            nats.errors.Error: If the client is closed while we do.
        """
        while rows := [row for row in self._rows if row.link is not link]:
            for row in rows:
                await _subscribe(row, link)

    async def stop_intake(self, link: Link) -> None:
        """Tell the server to send no more; what is on its way is still handled."""
        for row in self._rows:
            if row.live is not None and row.link is link:
                with contextlib.suppress(Error, OSError):
                    await link.stop_intake(row.live)

    def waiting(self) -> int:
        """Messages that have arrived and not been handled."""
        return sum(row.live.pending_msgs for row in self._rows if row.live is not None)


async def _subscribe(row: Interest, link: Link) -> None:
    row.link = link
    row.live = await link.client.subscribe(  # pyright: ignore[reportUnknownMemberType] - a bare Future in nats-py
        row.subject, queue=row.queue, cb=row.deliver,
        pending_msgs_limit=PENDING_MESSAGES, pending_bytes_limit=PENDING_BYTES,
    )  # fmt: skip
