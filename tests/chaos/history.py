"""What the log said, message by message: every change of every task, checked as it comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from actors.queueing import states
from actors.queueing.records import Entry, Moved, New, Status, Took


@dataclass(slots=True)
class History:
    """Follows the log from its beginning.

    Attributes:
        status: Every task's last word.
        ends: Every task's final status, as first written.
        epoch: The present leader's.
        leaders: Node of every epoch.
        broken: What must never be, in words.
        unread: Messages that compaction removed before they were read here.
    """

    status: dict[str, Status] = field(default_factory=dict[str, Status])
    ends: dict[str, Status] = field(default_factory=dict[str, Status])
    epoch: int = 0
    leaders: dict[int, str] = field(default_factory=dict[int, str])
    broken: list[str] = field(default_factory=list[str])
    unread: int = 0
    seq: int = 0

    def take(self, seq: int, entries: Iterable[Entry]) -> None:
        """The next message."""
        self.unread += seq - self.seq - 1
        self.seq = seq
        for entry in entries:
            if isinstance(entry, Took):
                self._lead(seq, entry)
            elif isinstance(entry, New):
                self._move(seq, entry.spec.id, entry.status)
            elif isinstance(entry, Moved):
                self._move(seq, entry.id, entry.status)

    def _lead(self, seq: int, entry: Took) -> None:
        same = entry.epoch == self.epoch and self.leaders.get(entry.epoch) == entry.node
        if entry.epoch <= self.epoch and not same:  # a compaction says again who leads
            self.broken.append(f"message {seq}: {entry.node} took epoch {entry.epoch} after epoch {self.epoch}")
        self.epoch = entry.epoch
        self.leaders[entry.epoch] = entry.node

    def _move(self, seq: int, task: str, status: Status) -> None:
        before = self.status.get(task)
        self.status[task] = status
        if before is not None and status.attempt < before.attempt:
            self.broken.append(f"message {seq}: attempt {status.attempt} of {task} after attempt {before.attempt}")
        end = self.ends.get(task)
        if end is not None and status != end:
            self.broken.append(f"message {seq}: {task} is {status.state} (attempt {status.attempt}) after its end "
                               f"{end.state} (attempt {end.attempt})")  # fmt: skip
        if end is None and states.is_final(status.state):
            self.ends[task] = status
