"""Who gets the next worker: first come, first served; an agent that is slow to give back never holds them all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from chimera.errors import OverloadedError

W = TypeVar("W")

PROMPT_HOLD_S = 0.1
"""An agent that gives every worker back within this is prompt: others wait for it no longer than that."""

PROMPT_AFTER = 16
"""Holds in a row that must have been short before an agent counts as prompt."""


@dataclass(slots=True, eq=False)
class Ticket(Generic[W]):
    """A place in the queue. ``grant`` is offered a worker, and says whether it is still wanted."""

    agent: str
    order: int
    grant: Callable[[W], bool]


class Turnstile(Generic[W]):
    """Idle workers and the calls that wait for one. Pure bookkeeping: no clock, no event loop.

    Args:
        seats: Workers that there should be. With two or more, an agent holds at most all but one of them, unless it
            has proved prompt: then it may use them all, because it gives them back before anybody notices.
        max_waiting: Calls that may wait.
    """

    def __init__(self, seats: int, max_waiting: int) -> None:
        self._seats = seats
        self._short_holds: dict[str, int] = {}
        self.waiting = 0
        self._max_waiting = max_waiting
        self._idle: list[W] = []
        self._held: dict[str, int] = {}
        self._queues: dict[str, deque[Ticket[W]]] = {}
        self._order = 0

    @property
    def idle(self) -> int:
        """Workers that do nothing."""
        return len(self._idle)

    def is_free(self, agent: str) -> bool:
        """True if ``take`` would give a worker."""
        return bool(self._idle) and self._may_hold_more(agent)

    def take(self, agent: str) -> W | None:
        """The worker that was used last, so that its caches are warm; ``None`` if the agent must wait."""
        if not self.is_free(agent):
            return None
        self._held[agent] = self._held.get(agent, 0) + 1
        return self._idle.pop()

    def wait(self, agent: str, grant: Callable[[W], bool]) -> Ticket[W]:
        """Queue up.

        Raises:
            OverloadedError: If too many wait already.
        """
        if self.waiting >= self._max_waiting:
            raise OverloadedError(f"{self.waiting} calls wait for a sandbox worker already", retry_after_s=1.0)
        self._order += 1
        ticket = Ticket(agent, self._order, grant)
        self._queues.setdefault(agent, deque()).append(ticket)
        self.waiting += 1
        return ticket

    def cancel(self, ticket: Ticket[W]) -> None:
        """Leave the queue; nothing happens if the ticket was served."""
        queue = self._queues.get(ticket.agent)
        if queue is not None and ticket in queue:
            queue.remove(ticket)
            self.waiting -= 1
            self._forget_empty(ticket.agent)

    def leave(self, agent: str, held_s: float | None = None) -> None:
        """An agent stopped using a worker that it held for ``held_s`` seconds; ``None`` = it did not use it at all."""
        if held_s is not None:
            row = self._short_holds.get(agent, 0)
            self._short_holds[agent] = min(row + 1, PROMPT_AFTER) if held_s <= PROMPT_HOLD_S else 0
        held = self._held.get(agent, 0) - 1
        if held > 0:
            self._held[agent] = held
        else:
            self._held.pop(agent, None)

    def add(self, worker: W) -> None:
        """A worker is idle: the longest waiting call that may have it gets it."""
        self._idle.append(worker)
        self.serve()

    def remove(self, worker: W) -> bool:
        """Take a particular worker out; false if it is not idle."""
        if worker not in self._idle:
            return False
        self._idle.remove(worker)
        return True

    def serve(self) -> None:
        """Hand idle workers to waiting calls, for as long as both exist."""
        while self._idle and (ticket := self._next()) is not None:
            worker = self._idle.pop()
            self._held[ticket.agent] = self._held.get(ticket.agent, 0) + 1
            if not ticket.grant(worker):
                self.leave(ticket.agent)
                self._idle.append(worker)

    def _next(self) -> Ticket[W] | None:
        heads = [queue[0] for agent, queue in self._queues.items() if self._may_hold_more(agent)]
        if not heads:
            return None
        first = min(heads, key=lambda ticket: ticket.order)
        self._queues[first.agent].popleft()
        self.waiting -= 1
        self._forget_empty(first.agent)
        return first

    def _may_hold_more(self, agent: str) -> bool:
        prompt = self._short_holds.get(agent, 0) >= PROMPT_AFTER
        return self._held.get(agent, 0) < (self._seats if prompt else max(1, self._seats - 1))

    def _forget_empty(self, agent: str) -> None:
        if not self._queues[agent]:
            del self._queues[agent]
