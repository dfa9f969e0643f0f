"""All tasks as the log says they are, with the indexes that make questions cheap. Plain state: no waiting, no clock."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from . import states
from .policy import FairQueue
from .records import Control, Dropped, Entry, Moved, New, Plan, Spec, Status, Took

DEAD_KEEP_S = 7 * 86_400.0
"""Dead letters are kept at least this long."""

TRIM_FROM = 100
"""Final tasks above the limit that are left to the regular housekeeping."""


class Task(msgspec.Struct, eq=False, gc=False):
    """A task, and what is known of its running attempt."""

    spec: Spec
    status: Status
    beat_at: float = 0.0
    moved_at: float | None = None
    progress: float | None = None
    note: str = ""


@dataclass(slots=True)
class Ledger:
    """The present state of everything.

    Attributes:
        keep_finished: Final tasks kept at most; the oldest beyond it are forgotten before their time.
        unfinished_bytes: Inputs of tasks that are not final.
        finished: Final tasks in the order in which they ended.
    """

    keep_finished: int = 20_000
    tasks: dict[str, Task] = field(default_factory=dict[str, Task])
    keys: dict[str, str] = field(default_factory=dict[str, str])
    running: dict[str, Task] = field(default_factory=dict[str, Task])
    scheduled: dict[str, Task] = field(default_factory=dict[str, Task])
    finished: dict[str, Task] = field(default_factory=dict[str, Task])
    dead: dict[str, Task] = field(default_factory=dict[str, Task])
    plans: dict[str, Plan] = field(default_factory=dict[str, Plan])
    queue: FairQueue = field(default_factory=FairQueue)
    control: Control = field(default_factory=Control)
    epoch: int = 0
    leader: str = ""
    unfinished_bytes: int = 0
    _alarms: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])

    @property
    def unfinished(self) -> int:
        """Tasks that are not final."""
        return len(self.tasks) - len(self.finished)

    def restore(self, entry: Entry) -> None:
        """Take an entry while the log is read; ``settle`` afterwards makes the indexes."""
        if isinstance(entry, New):
            self.tasks[entry.spec.id] = Task(entry.spec, entry.status)
        elif isinstance(entry, Moved):
            known = self.tasks.get(entry.id)
            if known is not None:  # else it was forgotten, and its beginning purged
                known.status = entry.status
        else:
            self._govern(entry)

    def settle(self, now: float) -> None:
        """Make the indexes of what was read, oldest end first, and forget what nobody may ask for any more."""
        ended = [task for task in self.tasks.values() if states.is_final(task.status.state)]
        for task in self.tasks.values():
            if not states.is_final(task.status.state):
                self._enter(task)
        for task in sorted(ended, key=lambda task: task.status.since):
            self._enter(task)
        self.bound_pauses(now)
        self.forget(now)

    def bound_pauses(self, now: float) -> None:
        """Let no task wait longer than its backoff allows: its pause was written before the wall clock was set back.

        A time that the submitter named (``not_before``) stays. Needs no record: reading the log does it again.
        """
        for task in list(self.scheduled.values()):
            latest = now + task.spec.most_s
            if task.status.attempt and task.status.due > latest:
                self.move(task, states.due_at(task.status, latest))

    def apply(self, entry: Entry) -> None:
        """Take an entry that is on its way into the log."""
        if isinstance(entry, New):
            if (known := self.tasks.get(entry.spec.id)) is not None:
                self._leave(known)
            task = self.tasks[entry.spec.id] = Task(entry.spec, entry.status)
            self._enter(task)
        elif isinstance(entry, Moved):
            self.move(self.tasks[entry.id], entry.status)
        else:
            self._govern(entry)

    def move(self, task: Task, status: Status) -> None:
        """Give a task another status."""
        self._leave(task)
        task.status = status
        self._enter(task)

    def due(self, now: float) -> Iterator[Task]:
        """Tasks whose time to be looked at has come: scheduled ones that may start, and passed deadlines."""
        while self._alarms and self._alarms[0][0] <= now:
            task = self.tasks.get(heapq.heappop(self._alarms)[1])
            if task is not None and not states.is_final(task.status.state):
                yield task

    def next_alarm(self) -> float | None:
        """When ``due`` will have something; it may turn out to be nothing."""
        return self._alarms[0][0] if self._alarms else None

    def forget(self, now: float) -> int:
        """Drop final tasks whose time is over; needs no record, because reading the log drops them again."""
        excess = len(self.finished) - self.keep_finished
        gone = [task for at, task in enumerate(self.finished.values()) if at < excess or _until(task) <= now]
        for task in gone:
            self._leave(task)
            del self.tasks[task.spec.id]
        return len(gone)

    def trim(self) -> None:
        """Drop the oldest final tasks above what is kept once they are a twentieth of it, and more than a few."""
        excess = len(self.finished) - self.keep_finished
        if excess > max(TRIM_FROM, self.keep_finished // 20):
            for task in list(islice(self.finished.values(), excess)):
                self._leave(task)
                del self.tasks[task.spec.id]

    def entries(self) -> Iterator[Entry]:
        """What a log that begins here must say first, except the tasks."""
        yield Took(self.epoch, self.leader, 0.0)
        yield self.control
        yield from self.plans.values()

    def _govern(self, entry: Took | Control | Plan | Dropped) -> None:
        if isinstance(entry, Took):
            self.epoch, self.leader = entry.epoch, entry.node
        elif isinstance(entry, Control):
            self.control = entry
        elif isinstance(entry, Plan):
            self.plans[entry.id] = entry
        else:
            self.plans.pop(entry.id, None)

    def _enter(self, task: Task) -> None:
        spec, status = task.spec, task.status
        if states.is_final(status.state):
            self.finished[spec.id] = task
            if status.state == "dead":
                self.dead[spec.id] = task
            return
        self.unfinished_bytes += len(spec.input)
        if spec.key:
            self.keys[spec.key] = spec.id
        if spec.deadline:
            heapq.heappush(self._alarms, (spec.deadline, spec.id))
        if status.state == "queued":
            self.queue.put(spec.id, spec.agent, spec.level, status.since)
        elif status.state == "scheduled":
            self.scheduled[spec.id] = task
            heapq.heappush(self._alarms, (status.due, spec.id))
        else:
            self.running[spec.id] = task

    def _leave(self, task: Task) -> None:
        spec, state = task.spec, task.status.state
        if states.is_final(state):
            self.finished.pop(spec.id, None)
            self.dead.pop(spec.id, None)
            return
        self.unfinished_bytes -= len(spec.input)
        if spec.key and self.keys.get(spec.key) == spec.id:
            del self.keys[spec.key]
        if state == "queued":
            self.queue.discard(spec.id)
        elif state == "scheduled":
            self.scheduled.pop(spec.id, None)
        else:
            self.running.pop(spec.id, None)


def _until(task: Task) -> float:
    keep = max(task.spec.keep_s, DEAD_KEEP_S) if task.status.state == "dead" else task.spec.keep_s
    return task.status.since + keep
