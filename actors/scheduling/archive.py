"""Finished tasks beyond what the scheduler remembers, from the store. Without the store, that is said."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.queueing.ledger import Ledger, Task
from actors.queueing.records import Try
from chimera.clock import Clock
from chimera.errors import ChimeraError, NotFoundError, UnavailableError
from chimera.store import Store, TaskFilter, TaskHistory, TaskRow
from subjects.scheduler import GetTask, ListTasks
from subjects.task import Attempt, TaskChange, TaskPage, TaskView

from .journal import STREAM
from .views import task_view

ENDS = frozenset({"", "succeeded", "dead", "cancelled", "expired", "unknown"})
"""Asked for these states, the history has something to say."""

_ROUNDS = 8
_LEAST_ROWS = 200
_tries = msgspec.json.Decoder(tuple[Try, ...]).decode
_labels = msgspec.json.Decoder(dict[str, str]).decode
Key = tuple[float, str]


class Archive:
    """Puts what the scheduler remembers and what the store remembers together; of a task in both, the former counts.

    Args:
        store: Has the projection of the log, a moment behind; ``None`` = there is no history.
        ledger: What the scheduler remembers.
        clock: For ages.
    """

    def __init__(self, store: Store | None, ledger: Ledger, clock: Clock) -> None:
        self._store = store
        self._history = TaskHistory(store) if store is not None else None
        self._ledger, self._clock = ledger, clock

    async def projected(self) -> int | None:
        """The last message of the log that the store has seen; ``None`` if there is no store.

        Raises:
            UnavailableError: If it does not say.
        """
        return None if self._store is None else await self._store.position(STREAM)

    async def page(self, where: ListTasks, live: list[Task]) -> TaskPage:
        """A page of everything, given all that fits of what the ledger has (``live``, newest first)."""
        if where.state not in ENDS:
            return self._live_page(where, live)
        try:
            return await self._page(where, live)
        except ChimeraError as error:
            missing = f"finished tasks of the past are not in here: {error.detail}"
        return msgspec.structs.replace(self._live_page(where, live), missing=missing)

    async def task(self, message: GetTask) -> TaskView:
        """A task that the ledger does not have.

        Raises:
            NotFoundError: If the history does not have it either.
            UnavailableError: If the history can't be asked: then nobody knows.
        """
        try:
            row = await self._history.task(message.id) if self._history is not None else None
        except ChimeraError as error:
            raise UnavailableError(
                f"task '{message.id}' is none of the {len(self._ledger.tasks)} that the scheduler remembers, and its "
                f"history can't be asked: {error.detail}", hint=error.hint, retry_after_s=1.0,
            ) from error  # fmt: skip
        if row is None:
            raise NotFoundError(f"no task '{message.id}' is known", hint="history is kept for scheduler.history_age_s")
        return await self.with_changes(view_of(row, self._clock.time()), message)

    async def with_changes(self, view: TaskView, message: GetTask) -> TaskView:
        """The task with its changes, if they are asked for."""
        if not message.changes:
            return view
        try:
            found = await self._need().changes(view.id)
        except ChimeraError as error:
            return msgspec.structs.replace(view, missing=f"the changes can't be asked: {error.detail}")
        changes = [
            TaskChange(at=row.at, state=_any(row.state), attempt=row.attempt, reason=row.reason) for row in found
        ]
        return msgspec.structs.replace(view, changes=changes)

    def _need(self) -> TaskHistory:
        if self._history is None:
            raise UnavailableError("this scheduler has no store")
        return self._history

    def _live_page(self, where: ListTasks, live: list[Task]) -> TaskPage:
        known = self._ledger.tasks.get(where.after)
        after = None if known is None else _key_of(known)
        began = [] if where.after and after is None else _behind(live, after)
        rows = began[: where.limit]
        more = len(began) > where.limit
        return TaskPage(tasks=self._show(rows), total=len(live), next=rows[-1].spec.id if more else "")

    async def _page(self, where: ListTasks, live: list[Task]) -> TaskPage:
        history, question = self._need(), filter_of(where)
        after = await self._place(where.after) if where.after else None
        if where.after and after is None:
            return TaskPage(tasks=[], total=len(live))
        old, horizon = await self._old(history, question, after, where.limit)
        fresh = self._show(_behind(live, after)[: where.limit + 1])
        merged = sorted([*fresh, *old], key=_key)
        if horizon is not None:
            merged = [view for view in merged if _key(view) <= horizon]
        rows = merged[: where.limit]
        more = len(merged) > where.limit or horizon is not None
        ended = sum(task.status.state in ENDS for task in live)
        total = len(live) + max(0, await history.count(question) - ended)
        last = rows[-1].id if rows else horizon[1] if horizon else ""
        return TaskPage(tasks=rows, total=total, next=last if more else "")

    def _show(self, tasks: list[Task]) -> list[TaskView]:
        now = self._clock.time()
        return [task_view(task, now, whole=False) for task in tasks]

    async def _old(
        self, history: TaskHistory, question: TaskFilter, after: Key | None, limit: int
    ) -> tuple[list[TaskView], Key | None]:
        """Enough for a page of what only the store knows, and up to which place that is all (``None`` = the end)."""
        found: list[TaskView] = []
        now, most = self._clock.time(), max(limit + 1, _LEAST_ROWS)
        for _ in range(_ROUNDS):
            rows = await history.tasks(_from(question, after, most))
            found += [view_of(row, now) for row in rows if row.id not in self._ledger.tasks]
            if len(rows) < most:
                return found, None
            after = (-rows[-1].submitted_at, rows[-1].id)
            if len(found) > limit:
                break
        return found, after

    async def _place(self, task_id: str) -> Key | None:
        known = self._ledger.tasks.get(task_id)
        if known is not None:
            return _key_of(known)
        row = await self._need().task(task_id)
        return None if row is None else (-row.submitted_at, row.id)


def filter_of(where: ListTasks) -> TaskFilter:
    """The same filter as the store takes it."""
    name, _, value = where.label.partition("=")
    return TaskFilter(
        state=where.state, agent=where.agent, priority=where.priority, label=(name, value) if where.label else None,
        since=where.since or None, until=where.until or None,
    )  # fmt: skip


def view_of(row: TaskRow, now: float) -> TaskView:
    """A task of the history. A result whose time is over is not shown, whether or not it was dropped yet."""
    kept = row.output is not None and row.keep_until is not None and row.keep_until > now
    tries = _tries(row.tries)
    return TaskView(
        id=row.id, agent=row.agent, task=row.task, state=_any(row.state), priority=_any(row.priority),
        submitted_at=row.submitted_at, age_s=round(max(0.0, now - row.submitted_at), 3), due_at=row.due or None,
        started_at=tries[-1].started_at if tries else None, ended_at=row.since if row.state in ENDS else None,
        deadline=row.deadline or None, attempt=row.attempt, max_attempts=row.max_attempts,
        attempts=list(map(_attempt, tries)), reason=row.reason, key=row.key, labels=_labels(row.labels),
        schedule=row.schedule, input=_document(row.input), output=_document(row.output) if kept else None,
        release=row.release or None,
    )  # fmt: skip


def _attempt(one: Try) -> Attempt:
    return Attempt(
        number=one.number, started_at=one.started_at, ended_at=one.ended_at or None, outcome=one.outcome,
        detail=one.detail,
    )  # fmt: skip


def _from(question: TaskFilter, after: Key | None, limit: int) -> TaskFilter:
    at, name = (-after[0], after[1]) if after is not None else (0.0, "")
    return TaskFilter(
        question.state, question.agent, question.priority, question.label, question.reason, question.since,
        question.until, name, at, limit,
    )  # fmt: skip


def _key(view: TaskView) -> Key:
    return -view.submitted_at, view.id


def _key_of(task: Task) -> Key:
    return -task.spec.submitted_at, task.spec.id


def _behind(tasks: list[Task], after: Key | None) -> list[Task]:
    return tasks if after is None else [task for task in tasks if _key_of(task) > after]


def _document(data: bytes | None) -> Any:
    return None if data is None else msgspec.msgpack.decode(data)


def _any(value: str) -> Any:
    return value
