"""Dead letters: tasks that are not tried again, kept in stream DEAD longer than the scheduler keeps the task itself."""

from __future__ import annotations

from ._message import Reply, Request
from ._types import Page
from .task import MaybeTaskId, MaybeToken, TaskId, TaskPage, TaskView, Word


class ListDead(Request[TaskPage], frozen=True, kw_only=True):
    """Dead letters, newest first; ``reason`` is a part of the reason, ``label`` is ``name=value``."""

    agent: MaybeToken = ""
    reason: Word = ""
    label: Word = ""
    limit: Page = 100
    after: MaybeTaskId = ""


class GetLetter(Request[TaskView], frozen=True, kw_only=True):
    """One dead letter."""

    id: TaskId


class Revived(Reply, frozen=True, kw_only=True):
    """The dead tasks that are queued again, with fresh attempts."""

    ids: list[str]


class Revive(Request[Revived], frozen=True, kw_only=True):
    """Queue a dead task again, or (without ``id``) all that match; ``every`` confirms a filter that matches all."""

    id: MaybeTaskId = ""
    agent: MaybeToken = ""
    reason: Word = ""
    label: Word = ""
    every: bool = False
    limit: Page = 1000
