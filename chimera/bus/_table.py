"""Our own table of subscriptions, which outlives every client."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from nats.errors import Error

from ._client import Link
from .contract import Handler


@dataclass(eq=False)
class Interest:
    """One subscription: as it was asked for, and as it lives on the present client."""

    subject: str
    queue: str
    deliver: Handler
    sid: int | None = None
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
        """Take a row away; what is on its way to it is not delivered."""
        with contextlib.suppress(ValueError):
            self._rows.remove(row)
        sid, row.sid = row.sid, None
        if sid is not None and link is not None and row.link is link:
            with contextlib.suppress(Error):
                await link.client.unlisten(sid)

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
            if row.sid is not None and row.link is link:
                with contextlib.suppress(Error, OSError):
                    await link.client.unlisten(row.sid, forget=False)


async def _subscribe(row: Interest, link: Link) -> None:
    row.link = link
    row.sid = await link.client.listen(row.subject, row.queue, row.deliver)
