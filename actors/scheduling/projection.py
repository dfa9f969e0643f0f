"""The log of tasks as rows of the store: how each task stands, and every change of its state.

The log is compacted: living tasks are written again as they stand, and what came before is purged. The projection keeps
what was purged. One that starts late finds a log that begins with all living tasks, so it is right about the present at
once; of what happened before it knows the attempts (a status carries the last ones), and tasks that ended and were
forgotten before it looked are missing. If it had seen such a task alive, it calls it ``unknown``. So that a store that
is only away for a while misses nothing, the scheduler leaves messages that its own store has not seen (``clockwork``).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from actors.queueing.records import LEVELS, Moved, New, Spec, Status, unpack
from chimera.bus.contract import Bus, Stored
from chimera.logs import EventName, Layer, event
from chimera.store import Regress, Store, StreamPart, TaskChangeRow, TaskHistory, TaskMove, TaskRow

from .journal import STREAM

_encode = msgspec.json.Encoder().encode


class TaskProjection:
    """Writes entries of the log into the store.

    Args:
        store: Takes the rows; open.
        stream: The log.
    """

    def __init__(self, store: Store, stream: str = STREAM) -> None:
        self.stream = stream
        self.history = TaskHistory(store)
        self.rejected = 0

    async def save(self, messages: Sequence[Stored]) -> None:
        """Write what the messages say; of a task that is told of several times, the last word."""
        sheet = _Sheet()
        for message in messages:
            try:
                for entry in unpack(message.data):
                    if isinstance(entry, New):
                        sheet.new(entry.spec, entry.status, message.seq)
                    elif isinstance(entry, Moved):
                        sheet.moved(entry.id, entry.status, message.seq)
            except msgspec.DecodeError as error:
                self._reject(message, error)
        await self.history.save(
            list(sheet.rows.values()), list(sheet.moves.values()), list(sheet.changes.values()), stream=self.stream,
            seq=messages[-1].seq,
        )  # fmt: skip

    async def went_back(self, found: Regress, generation: str) -> None:
        """Doubt what came after, and begin anew."""
        await self.history.went_back(found.stream, found.last_seq, generation)

    async def caught_up(self, first: int) -> None:
        """What is not final and not in the log any more has ended unseen."""
        await self.history.lose_unseen(first)

    def part(self, bus: Bus, store: Store) -> StreamPart:
        """How ``chimera rebuild`` makes it again."""
        return StreamPart(
            "tasks", bus, store, self.stream, self.save, lambda first, _last: self.history.clearing(first),
            settle=self.history.lose_unseen,
        )  # fmt: skip

    def _reject(self, message: Stored, error: Exception) -> None:
        self.rejected += 1
        event(
            EventName.RECORD_REJECTED, Layer.STORE, f"message {message.seq} of {message.stream}: {error}",
            level="warning", stream=message.stream, seq=message.seq, subject=message.subject,
        )  # fmt: skip


class _Sheet:
    """What one transaction writes."""

    def __init__(self) -> None:
        self.rows: dict[str, TaskRow] = {}
        self.moves: dict[str, TaskMove] = {}
        self.changes: dict[tuple[str, float, int, str], TaskChangeRow] = {}

    def new(self, spec: Spec, status: Status, seq: int) -> None:
        self.moves.pop(spec.id, None)
        self.rows[spec.id] = _row(spec, status, seq)
        for at, attempt, state, reason in (*_earlier(spec, status), _present(status)):
            self._change(TaskChangeRow(spec.id, at, attempt, state, reason, seq))

    def moved(self, task_id: str, status: Status, seq: int) -> None:
        row = self.rows.get(task_id)
        move = _move(task_id, status, seq)
        if row is None:
            self.moves[task_id] = move
        else:
            keep_until = None if move.output is None else status.since + row.keep_s
            self.rows[task_id] = row._replace(**move._asdict(), keep_until=keep_until)
        self._change(TaskChangeRow(task_id, *_present(status), seq))

    def _change(self, change: TaskChangeRow) -> None:
        self.changes.setdefault((change.task, change.at, change.attempt, change.state), change)


def _row(spec: Spec, status: Status, seq: int) -> TaskRow:
    move = _move(spec.id, status, seq)
    return TaskRow(
        spec.id, spec.agent, spec.task, LEVELS[spec.level], spec.submitted_at, spec.deadline, spec.attempts, spec.key,
        _encode(dict(spec.labels)).decode(), spec.schedule, spec.input, spec.keep_s, *move[1:-1],
        None if move.output is None else status.since + spec.keep_s, seq,
    )  # fmt: skip


def _move(task_id: str, status: Status, seq: int) -> TaskMove:
    return TaskMove(
        task_id, status.state, status.since, status.due, status.attempt, _encode(status.tries).decode(), status.reason,
        status.output or None, status.release, seq,
    )  # fmt: skip


def _present(status: Status) -> tuple[float, int, str, str]:
    reason = status.reason
    if status.state == "scheduled" and status.tries and status.tries[-1].ended_at == status.since:
        last = status.tries[-1]
        reason = f"{last.outcome}: {last.detail}" if last.detail else last.outcome
    return status.since, status.attempt, status.state, reason


def _earlier(spec: Spec, status: Status) -> list[tuple[float, int, str, str]]:
    """What a whole task still tells of its past: its submit, and the begin of each attempt it remembers."""
    past = [(spec.submitted_at, 0, "scheduled" if spec.not_before > spec.submitted_at else "queued", "")]
    return past + [(one.started_at, one.number, "running", "") for one in status.tries]
