"""Keeps a connection: first connect, liveness probe, rebuilding, subscriptions that outlive any one client."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
from nats.errors import Error

from chimera.clock import Clock
from chimera.errors import BusDownError, DeadlineError, DeniedError, flatten

from ._client import Link
from ._guard import guarded, log_failure
from ._hot import HotPath
from ._pinger import Pinger, written
from ._table import Interest, Table
from .contract import BusStatistics, Handler, State, StateListener

PROBE_S = 1.0
PATIENCE_S = 1.5
"""A ping each second; a server that leaves one unanswered for this long is left."""

ATTEMPT_S = 2.0
DRAIN_S = 2.0
WAIT_S = 0.2
LONGEST_WAIT_S = 5.0
_LOOK_S = 0.25

_log = logging.getLogger("chimera.bus")


class Connection:
    """The supervisor of the client under a ``HotPath``.

    Args:
        hot: Where to attach a client that works.
        servers: URLs; those a cluster tells of are added.
        options: Passed to nats-py: name and credentials.
        clock: For waits and probes.
        rng: For jitter and the order of servers.
    """

    def __init__(
        self, hot: HotPath, servers: Sequence[str], options: Mapping[str, Any], clock: Clock, rng: random.Random
    ) -> None:
        self._hot, self._servers, self._options, self._clock, self._rng = hot, list(servers), options, clock, rng
        self._table = Table()
        self._listeners: list[StateListener] = []
        self._losses: set[Callable[[], None]] = set()
        self._inboxes = 0
        self._link: Link | None = None
        self._up = anyio.Event()
        self._pinger = Pinger(clock)
        self._denied: set[str] = set()
        self._counts = dict.fromkeys(("sent", "received", "dropped", "errors", "reconnects", "rebuilt"), 0)
        self._bad_url = ""
        self.state: State = "closed"

    async def open(self, timeout_s: float) -> None:
        """The first connection, within ``timeout_s``.

        Raises:
            BusDownError: Naming the servers and the last cause.
            DeniedError: If the credentials may not subscribe to the own inbox.
        """
        await self.subscribe(self._hot.inbox + ".*", self._hot.replies.take)
        deadline = self._clock.monotonic() + timeout_s
        while True:
            left = deadline - self._clock.monotonic()
            try:
                self._attach(await self._establish(left))
                break
            except (Error, OSError, TimeoutError) as error:
                refused = "authorization" in str(error).lower()
                if refused or self._clock.monotonic() + WAIT_S >= deadline:
                    where = ", ".join(self._servers)
                    why = "it refuses the credentials" if refused else flatten(error)
                    raise BusDownError(f"no connection to NATS at {where}: {why}") from error
            await self._clock.sleep(WAIT_S * self._rng.uniform(0.5, 1.0))

    async def supervise(self) -> None:
        """Watch the connection and replace it whenever it ends; until cancelled."""
        short_lives = 0
        while self._link is not None:
            since = self._clock.monotonic()
            await self._watch(self._link)
            await self._detach(self._link)
            short_lives = short_lives + 1 if self._clock.monotonic() - since < PROBE_S else 0
            self._attach(await self._reestablish(short_lives))
            self._counts["reconnects"] += 1

    async def drain(self) -> None:
        """Stop intake, deliver what is on its way, flush; ``DRAIN_S`` at most. ``supervise`` must still be running."""
        if (link := self._link) is None:
            return
        with anyio.move_on_after(DRAIN_S) as scope:
            await self._table.stop_intake(link)
            await self._pinger.flush()
        if scope.cancelled_caught:
            link.abort()

    async def close(self) -> None:
        """Close for good, within a second; ``supervise`` must have ended."""
        link, self._link = self._link, None
        if link is not None:
            self._sum(link)
            await link.end()
        self._hot.detach()
        self._pinger.lose()
        self._tell("closed")

    async def wait_up(self, timeout_s: float) -> None:
        """Wait for a connection.

        Raises:
            BusDownError: If there is none within ``timeout_s``.
        """
        if self._hot.client is None:
            with anyio.move_on_after(timeout_s):
                await self._up.wait()
            if self._hot.client is None:
                raise BusDownError

    async def flush(self, timeout_s: float) -> None:
        """A round trip behind everything sent so far.

        Raises:
            BusDownError: If there is no connection, or it was lost.
            DeadlineError: If no answer came in time.
        """
        link = self._link
        if link is None or self._hot.client is None:
            raise BusDownError
        lost = False
        with anyio.move_on_after(timeout_s) as scope:
            lost = not await self._pinger.flush()
        if lost:
            raise BusDownError("the connection was lost while flushing")
        if scope.cancelled_caught:
            raise DeadlineError("the server has not answered a flush within the deadline")

    async def subscribe(self, subject: str, handler: Handler, queue: str = "") -> Interest:
        """Add a row to the table, and subscribe now if there is a connection."""
        return await self._table.add(Interest(subject, queue, guarded(handler, self._failed)), self._link)

    async def unsubscribe(self, row: Interest) -> None:
        """Take a row away; what is on its way to it is not delivered."""
        await self._table.remove(row, self._link)

    def new_inbox(self) -> str:
        """A fresh subject beside the reply inbox: a stream's messages keep their own, so tokens can't route them."""
        self._inboxes += 1
        return f"{self._hot.inbox}.pull.{self._inboxes}"

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever the connection is lost."""
        self._losses.add(callback)

    def off_loss(self, callback: Callable[[], None]) -> None:
        """Do not call it any more."""
        self._losses.discard(callback)

    def on_state(self, listener: StateListener) -> None:
        """Tell ``listener`` of changes."""
        self._listeners.append(listener)

    def statistics(self) -> BusStatistics:
        """Counters over all clients so far."""
        stats: Mapping[str, int] = self._link.client.stats if self._link is not None else {}
        counts = dict(self._counts)
        counts["sent"] += stats.get("out_msgs", 0)
        counts["received"] += stats.get("in_msgs", 0)
        return BusStatistics(
            state=self.state, **counts, pending=len(self._hot.replies), subscriptions=len(self._table),
            rtt_s=self._pinger.rtt_s if self._link is not None else None, url=self._link.url if self._link else "",
        )  # fmt: skip

    async def _establish(self, timeout_s: float) -> Link:
        error: Exception = TimeoutError("no time left")
        deadline = self._clock.monotonic() + timeout_s
        for url in self._candidates():
            left = deadline - self._clock.monotonic()
            if left <= 0:
                break
            link = Link(url, self._on_denied, self._failed)
            try:
                await link.connect(self._options, min(ATTEMPT_S, left))
                await self._resubscribe(link)
            except (Error, OSError, TimeoutError) as failure:
                error = failure
                link.abort()
                await link.end(0.2)
            except BaseException:
                link.abort()
                raise
            else:
                return link
        raise error

    async def _resubscribe(self, link: Link) -> None:
        await self._table.move(link)
        with anyio.fail_after(ATTEMPT_S):
            await written(link.client, self._clock)
            await link.client.rtt(timeout=60)
        if self._hot.inbox.lower() + ".*" in self._denied:
            await link.end()
            raise DeniedError(
                f"these credentials may not subscribe to the reply inbox {self._hot.inbox}.*",
                hint="set inbox_prefix to what the role may subscribe to",
            )

    async def _reestablish(self, short_lives: int) -> Link:
        wait = min(LONGEST_WAIT_S, WAIT_S * 2**short_lives)
        while True:
            await self._clock.sleep(wait * self._rng.uniform(0.25, 1.0))
            try:
                return await self._establish(60.0)
            except (Error, OSError, TimeoutError, DeniedError) as error:
                wait = WAIT_S if isinstance(error, OSError | TimeoutError) else min(LONGEST_WAIT_S, wait * 2)
                _log.debug("no connection yet: %s", flatten(error))

    async def _watch(self, link: Link) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._pinger.run, link.client, PROBE_S)
            while not link.lost.is_set() and not link.client.is_closed:
                with anyio.move_on_after(_LOOK_S):
                    await link.lost.wait()
                if self._pinger.overdue_s() > PATIENCE_S:
                    self._failed(TimeoutError(f"{link.url} has not answered a ping for {PATIENCE_S} s"))
                    self._counts["rebuilt"] += 1
                    break
            # only now is it safe to give up the ping: a late answer to a cancelled one stops nats-py's read loop
            self._hot.client = None
            link.abort()
            group.cancel_scope.cancel()

    async def _detach(self, link: Link) -> None:
        self._bad_url = link.url
        if link.refused:
            self._counts["rebuilt"] += 1
            self._failed(link.client.last_error or Error("closed by the server"))
        self._servers += [url for url in map(_text, link.client.discovered_servers) if url not in self._servers]
        self._link = None
        self._up = anyio.Event()
        self._sum(link)
        self._hot.detach()
        self._pinger.lose()
        for callback in list(self._losses):
            callback()
        self._tell("disconnected")
        await link.end()

    def _attach(self, link: Link) -> None:
        self._link = link
        self._hot.attach(link.client)
        self._up.set()
        self._tell("connected")

    def _candidates(self) -> list[str]:
        order = self._rng.sample(self._servers, len(self._servers))
        return sorted(order, key=lambda url: url == self._bad_url)

    def _sum(self, link: Link) -> None:
        self._counts["sent"] += link.client.stats["out_msgs"]
        self._counts["received"] += link.client.stats["in_msgs"]

    def _tell(self, state: State) -> None:
        if state == self.state:
            return
        self.state = state
        for listener in self._listeners:
            try:
                listener(state)
            except Exception:  # noqa: BLE001 - it must not raise, and shall not stop the others
                _log.exception("a state listener of the bus failed")

    def _failed(self, error: BaseException) -> None:
        self._counts["errors"] += 1
        log_failure(error)

    def _on_denied(self, kind: str, subject: str) -> None:
        self._counts["errors"] += 1
        _log.warning("the server does not permit a %s to %s", kind, subject)
        if kind == "publish":
            self._hot.replies.deny(subject)
        else:
            self._denied.add(subject)


def _text(url: Any) -> str:
    return url.geturl()
