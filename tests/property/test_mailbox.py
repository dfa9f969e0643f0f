"""The mailbox against a plain list."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chimera.actor import HandlerSpec
from chimera.mailbox import Mailbox
from chimera.turn import Turn
from tests.support.probe import Echo

SPEC = HandlerSpec(Echo, "echo", "echo", interleave=False, streams=False)


class MailboxModel(RuleBasedStateMachine):
    """Puts, takes and deaths in any order; the model is a list of those that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.capacity = 1
        self.mailbox = Mailbox(1)
        self.model: list[Turn] = []

    @initialize(capacity=st.integers(1, 5))
    def make(self, capacity: int) -> None:
        """A mailbox of that size."""
        self.capacity = capacity
        self.mailbox = Mailbox(capacity)

    @rule()
    def put(self) -> None:
        """Taken in exactly while fewer than the capacity wait."""
        turn = Turn(Echo(), SPEC)
        taken = self.mailbox.put(turn)
        assert taken == (len(self.model) < self.capacity)
        if taken:
            self.model.append(turn)

    @rule()
    def take(self) -> None:
        """The first that waits, or nothing."""
        turn = self.mailbox.take()
        assert turn is (self.model.pop(0) if self.model else None)
        assert turn is None or turn.stage == "taken"

    @precondition(lambda self: bool(self.model))
    @rule(data=st.data())
    def die(self, data: Any) -> None:
        """One ends where it stands."""
        turn = self.model.pop(data.draw(st.integers(0, len(self.model) - 1)))
        turn.stage = "done"
        self.mailbox.died()

    @rule()
    def empty(self) -> None:
        """All that wait, in order."""
        assert self.mailbox.empty() == self.model
        self.model.clear()

    @invariant()
    def counts(self) -> None:
        """Only those that wait count."""
        assert len(self.mailbox) == len(self.model)
        turns = self.mailbox._turns  # pyright: ignore[reportPrivateUsage] - the memory it takes is the point
        assert len(turns) <= self.capacity


TestMailbox = MailboxModel.TestCase
