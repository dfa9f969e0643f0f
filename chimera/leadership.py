"""Who leads, where one of many instances does: it is written in the log that the leader alone may write.

Every append names the sequence it follows, so a leader that was replaced while it slept writes no more. The others
watch the leader's node, pass on what they are asked, and one takes over when it goes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from subjects import Request

from .bus.contract import Bus
from .context import Context
from .errors import ChimeraError, RestartingError
from .journal import Journal, LogKind

E = TypeVar("E")
R = TypeVar("R")
_RETRY_S = 0.5


class Lead(Protocol):
    """The entry by which a node takes the lead."""

    @property
    def epoch(self) -> int:
        """Counts the leaders."""
        ...

    @property
    def node(self) -> str:
        """Who."""
        ...


class Leadership(Generic[E]):
    """One instance's part in leading an actor.

    Args:
        ctx: The actor's context.
        bus: Where the log is.
        kind: What log it is; ``kind.writer`` is the actor's name.
        lead: Makes the entry from the epoch, the node and the time.
    """

    def __init__(self, ctx: Context, bus: Bus, kind: LogKind[E], lead: Callable[[int, str, float], E]) -> None:
        self._ctx, self._bus, self._kind, self._lead = ctx, bus, kind, lead
        self._journal: Journal[E] | None = None
        self.leader = ""
        self.epoch = 0

    @property
    def journal(self) -> Journal[E]:
        """The log.

        Raises:
            RestartingError: If it was not opened yet.
        """
        if self._journal is None:
            raise RestartingError(retry_after_s=_RETRY_S)
        return self._journal

    @property
    def leads(self) -> bool:
        """Whether this instance leads, as far as it knows."""
        return self.leader == self._ctx.node

    async def open(
        self, fresh: Callable[[Journal[E]], Callable[[E], None]], is_lead: Callable[[E], Lead | None], *,
        ours: bool = False, gone: int = -1,
    ) -> bool:  # fmt: skip
        """Read the log and take the lead, unless it has a leader that is not the epoch ``gone``; true if we lead now.

        Args:
            fresh: Makes the state anew; gives what takes the entries.
            is_lead: The entry as one by which a node took the lead, if it is one.
            ours: This node's own word from before counts for nothing: it has just started.
            gone: The epoch that is known to be over.
        """
        free = {"", self._ctx.node if ours else ""}
        while True:
            journal = self._journal = Journal(self._bus, self._ctx.clock, self._kind)
            apply = fresh(journal)
            leader, self.epoch = "", 0
            async for entry in journal.replay():
                led = is_lead(entry)
                if led is None:
                    apply(entry)
                else:
                    leader, self.epoch = led.node, led.epoch
            if leader not in free and self.epoch != gone:
                self.leader = leader
                await self._ctx.watch(self._ctx.ref(self._kind.writer, node=leader))
                return False
            if await journal.take_lead(self._lead(self.epoch + 1, self._ctx.node, self._ctx.clock.time())):
                self.leader, self.epoch = self._ctx.node, self.epoch + 1
                return True

    async def speaks(self) -> bool:
        """True if this instance leads, and has made sure of it just now or a moment ago.

        Raises:
            RestartingError: If it led until just now.
        """
        if self.leads:
            await self.journal.confirm()
        return self.leads

    async def pass_on(self, message: Request[R], timeout_s: float = 10.0) -> R:
        """Ask the leader.

        Raises:
            RestartingError: If there is none just now; nothing was done.
        """
        if not self.leader or self.leads:
            raise RestartingError(retry_after_s=_RETRY_S)
        try:
            return await self._ctx.ref(self._kind.writer, node=self.leader).ask(message, timeout_s=timeout_s)
        except ChimeraError as error:
            if error.code == "not-running":
                raise RestartingError(f"the {self._kind.writer} changes its leader", retry_after_s=_RETRY_S) from error
            raise


class LogWriter(Generic[E]):
    """Writes entries in order, each stored before the next step is taken.

    Args:
        journal: The log.
        kind: How an entry becomes bytes.
        late: Takes entries whose writer was cancelled while it waited: they are stored all the same.
    """

    def __init__(self, journal: Journal[E], kind: LogKind[E], late: Callable[[E], Any]) -> None:
        self._journal, self._kind, self._late = journal, kind, late

    async def write(self, *entries: E) -> None:
        """Store entries, one after the other; returns once all are durable.

        Raises:
            TooLargeError: If no message can hold one of them; nothing was written then.
            RestartingError: If another node leads now.
        """
        packed = [self._kind.pack(entry) for entry in entries]
        for one in packed:
            self._journal.check(one)
        waiting = deque((entry, self._journal.write(one)) for entry, one in zip(entries, packed, strict=True))
        try:
            while waiting:
                await waiting[0][1].wait()
                waiting.popleft()
        except asyncio.CancelledError:
            for entry, group in waiting:
                if group.stored.is_set():
                    self._late(entry)
                else:
                    group.then.append(partial(self._late, entry))
            raise
