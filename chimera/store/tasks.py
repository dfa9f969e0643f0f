"""Tasks and their histories in the store: more of them, and for longer, than the scheduler keeps in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import msgspec

from . import task_statements as sql
from .contract import Store, Write

LOST_END = "its end was not seen: the log was compacted while nothing could be projected"
WENT_BACK = "it was acknowledged, but the stream went back to before it"

_FORGET_AT_ONCE = 1000


class TaskMove(NamedTuple):
    """How a known task stands after message ``seq`` of the log. ``tries`` is JSON text, ``output`` msgpack."""

    id: str
    state: str
    since: float
    due: float
    attempt: int
    tries: str
    reason: str
    output: bytes | None
    release: int
    seq: int


class TaskRow(NamedTuple):
    """A whole task. ``labels`` and ``tries`` are JSON text, ``input`` and ``output`` msgpack; times are Unix seconds.

    Attributes:
        state: A state of ``subjects.task.TaskState``; ``unknown`` if its end was missed.
        since: When it came into this state.
        keep_until: When its result is dropped.
        seq: The log's message that said so.
    """

    id: str
    agent: str
    task: str
    priority: str
    submitted_at: float
    deadline: float
    max_attempts: int
    key: str
    labels: str
    schedule: str
    input: bytes | None
    keep_s: float
    state: str
    since: float
    due: float
    attempt: int
    tries: str
    reason: str
    output: bytes | None
    release: int
    keep_until: float | None
    seq: int


class TaskChangeRow(NamedTuple):
    """One change of a task's state."""

    task: str
    at: float
    attempt: int
    state: str
    reason: str
    seq: int


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks to read, newest first, then by id; empty fields do not filter. ``after_*`` names the last seen."""

    state: str = ""
    agent: str = ""
    priority: str = ""
    label: tuple[str, str] | None = None
    reason: str = ""
    since: float | None = None
    until: float | None = None
    after_id: str = ""
    after_at: float = 0.0
    limit: int = 100


class TaskHistory:
    """Reads and writes the tables ``tasks`` and ``task_changes`` of an open store.

    Every method may raise ``UnavailableError``. Writing the same again changes nothing: a row has the sequence of the
    message it is from, and older messages are ignored.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def save(
        self, rows: Sequence[TaskRow], moves: Sequence[TaskMove], changes: Sequence[TaskChangeRow], *,
        stream: str, seq: int,
    ) -> None:  # fmt: skip
        """Write what the log says up to ``seq``, and that position, in one transaction."""
        mark = Write(sql.SAVE_POSITION, [{"name": stream, "seq": seq}])  # first: others wait here, in one order
        await self._store.transact([
            mark,
            Write(sql.SAVE_TASK, [row._asdict() for row in rows]),
            Write(sql.MOVE_TASK, [{**move._asdict(), "kept": int(move.output is not None)} for move in moves]),
            Write(sql.SAVE_CHANGE, [change._asdict() for change in changes]),
        ])  # fmt: skip

    async def task(self, task_id: str) -> TaskRow | None:
        """One task with input and output."""
        found = await self._store.fetch(sql.TASK, {"id": task_id})
        return TaskRow(*found[0]) if found else None

    async def tasks(self, where: TaskFilter) -> list[TaskRow]:
        """Tasks by filter, without inputs and outputs."""
        conditions, parameters = _conditions(where)
        text = "WHERE " + " AND ".join(conditions) if conditions else ""
        return [TaskRow(*row) for row in await self._store.fetch(sql.TASKS.format(where=text), parameters)]

    async def count(self, where: TaskFilter) -> int:
        """How many final ones there are; ``after`` and ``limit`` do not count."""
        conditions, parameters = _conditions(_unpaged(where))
        text = "WHERE " + "".join(f"{one} AND " for one in conditions)
        return (await self._store.fetch(sql.COUNT.format(where=text), parameters))[0][0]

    async def changes(self, task_id: str) -> list[TaskChangeRow]:
        """What became of a task, oldest first."""
        return [TaskChangeRow(*row) for row in await self._store.fetch(sql.CHANGES, {"task": task_id})]

    async def forget(self, *, before: float, keep: int, now: float) -> int:
        """Delete final tasks that ended before a time, and the oldest beyond ``keep``; drop results past their time."""
        await self._store.transact([Write(sql.DROP_RESULTS, [{"now": now}])])
        gone = 0
        for question, parameters in ((sql.OLD, {"before": before}), (sql.EXCESS, {"keep": keep})):
            while True:
                found = await self._store.fetch(question, {**parameters, "limit": _FORGET_AT_ONCE})
                names = [{"id": row[0]} for row in found]
                await self._store.transact([Write(sql.FORGET_TASK, names), Write(sql.FORGET_CHANGES, names)])
                gone += len(names)
                if len(names) < _FORGET_AT_ONCE:
                    break
        return gone

    async def lose_unseen(self, first: int) -> None:
        """The log begins at ``first``, and all that lives is in it: older rows that are not final have ended unseen."""
        await self._store.transact([Write(sql.LOSE_UNSEEN, [{"first": first, "reason": LOST_END}])])

    async def went_back(self, stream: str, last: int, generation: str) -> None:
        """The stream ends at ``last`` again: what came after is doubted, and all of it is to be read anew."""
        await self._store.transact([
            Write(sql.REWIND, [{"name": stream, "last": last, "generation": generation}]),
            Write(sql.LOSE_TAIL, [{"last": last, "reason": WENT_BACK}]),
            Write(sql.LOSE_CHANGES, [{"last": last}]),
        ])  # fmt: skip

    def clearing(self, first: int) -> list[Write]:
        """What deletes all that a log that begins at ``first`` can tell again, and doubts the rest."""
        begin = [{"first": first}]
        return [Write(sql.CLEAR_TASKS, begin), Write(sql.CLEAR_CHANGES, begin), Write(sql.DOUBT_TASKS, [{}])]


def _unpaged(where: TaskFilter) -> TaskFilter:
    """The filter without its place in the pages."""
    return TaskFilter(where.state, where.agent, where.priority, where.label, where.reason, where.since, where.until)


def _conditions(where: TaskFilter) -> tuple[list[str], dict[str, Any]]:
    parameters = asdict(where)
    if where.label is not None:
        parameters["label"] = _pair(*where.label)
    used = [text for name, text in sql.CONDITIONS.items() if parameters[name] not in ("", None)]
    return used, parameters


def _pair(name: str, value: str) -> str:
    """A label as it stands in the JSON text of all labels; nothing inside a string can look like it."""
    return msgspec.json.encode({name: value}).decode()[1:-1]
