"""Messages that wait for an actor: in order, never more than its bound."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .turn import Turn


class Mailbox:
    """A bounded queue of turns. One that ended while it waited no longer counts, wherever it stands."""

    __slots__ = ("_capacity", "_dead", "_turns")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._turns: deque[Turn] = deque()
        self._dead = 0

    def put(self, turn: Turn) -> bool:
        """Take it in, last; False if ``capacity`` are waiting."""
        turns = self._turns
        if len(turns) >= self._capacity and not self._sweep():
            return False
        turns.append(turn)
        return True

    def take(self) -> Turn | None:
        """The next one that still waits; its stage becomes ``taken``."""
        turns = self._turns
        while turns:
            turn = turns.popleft()
            if turn.stage == "queued":
                turn.stage = "taken"
                return turn
            self._dead -= 1
        return None

    def died(self) -> None:
        """One of those in here ended by deadline or cancellation."""
        self._dead += 1

    def empty(self) -> list[Turn]:
        """Take out all that wait."""
        waiting: list[Turn] = []
        while (turn := self.take()) is not None:
            waiting.append(turn)
        return waiting

    def __len__(self) -> int:
        return len(self._turns) - self._dead

    def _sweep(self) -> bool:
        if not self._dead:
            return False
        live = [turn for turn in self._turns if turn.stage == "queued"]
        self._turns.clear()
        self._turns.extend(live)
        self._dead = 0
        return True
