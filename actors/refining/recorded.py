"""Tasks that were served, with their inputs and what people said of the answers: what replay runs again. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from subjects.event import Outcome, TaskJudged, TaskProcessed

Part = Literal["tune", "gate"]
"""Tasks for choosing a candidate, and tasks for judging it: never the same ones."""

_EARLY = 10_000


@dataclass(slots=True)
class Recorded:
    """A task, what became of it, and its judgement once there is one.

    Attributes:
        seq: Its record's place in stream KPI.
        judged_seq: Its judgement's place in stream EVENTS; 0 = none yet.
        size: Bytes of its record.
    """

    job_id: str
    agent: str
    seq: int
    release: int
    variant: str
    task: str
    outcome: Outcome
    at: float
    run_ms: float
    cpu_ms: float
    size: int
    key: str
    input: dict[str, Any] | None
    output: dict[str, Any] | None
    judged_seq: int = 0
    label: str | None = None
    score: float | None = None

    @property
    def is_judged(self) -> bool:
        """True once somebody said what the right answer was."""
        return self.judged_seq > 0


@dataclass(slots=True)
class _Shelf:
    tasks: OrderedDict[str, Recorded] = field(default_factory=OrderedDict[str, Recorded])
    size: int = 0


class Recorder:
    """The newest tasks of each agent, bounded in number and bytes; judgements may come before their task.

    Args:
        count: Most tasks kept of one agent.
        size: Most bytes kept of one agent.
    """

    def __init__(self, count: int = 20_000, size: int = 32 << 20) -> None:
        self._count, self._size = count, size
        self._shelves: dict[str, _Shelf] = {}
        self._early: OrderedDict[str, tuple[int, TaskJudged]] = OrderedDict()

    def take(self, seq: int, record: TaskProcessed, size: int) -> Recorded:
        """Keep a task; it comes back judged if its judgement came first."""
        task = Recorded(
            job_id=record.job_id, agent=record.agent, seq=seq, release=record.release, variant=record.variant,
            task=record.task, outcome=record.outcome, at=record.at, run_ms=record.run_ms, cpu_ms=record.cpu_ms,
            size=size, key=record.key, input=record.input, output=record.output,
        )  # fmt: skip
        shelf = self._shelves.setdefault(record.agent, _Shelf())
        former = shelf.tasks.pop(record.job_id, None)
        shelf.tasks[record.job_id] = task
        shelf.size += size - (former.size if former else 0)
        self._trim(shelf)
        early = self._early.pop(record.job_id, None)
        if early is not None:
            _judge(task, *early)
        return task

    def judge(self, seq: int, judged: TaskJudged) -> Recorded | None:
        """Add a judgement; the task it belongs to, or ``None`` if that is not known (yet)."""
        shelf = self._shelves.get(judged.agent)
        task = shelf.tasks.get(judged.job_id) if shelf else None
        if task is None:
            self._early[judged.job_id] = (seq, judged)
            while len(self._early) > _EARLY:
                self._early.popitem(last=False)
            return None
        _judge(task, seq, judged)
        return task

    def tasks(
        self, agent: str, *, judged: bool = False, part: Part | None = None, after: int = 0, name: str = ""
    ) -> Iterator[Recorded]:
        """Tasks of an agent with an input, oldest first.

        Args:
            agent: Whose.
            judged: Only those with a judgement.
            part: Only this half of them.
            after: Only those whose record is later than this sequence.
            name: Only this task of the agent.
        """
        shelf = self._shelves.get(agent)
        for task in list(shelf.tasks.values()) if shelf else ():
            if task.input is None or task.seq <= after or (judged and not task.is_judged):
                continue
            if (part is None or part_of(task.job_id) == part) and (not name or task.task == name):
                yield task

    def counts(self, agent: str) -> tuple[int, int]:
        """Tasks kept of an agent, and how many of them are judged."""
        shelf = self._shelves.get(agent)
        tasks = shelf.tasks.values() if shelf else ()
        return len(tasks), sum(task.is_judged for task in tasks)

    def _trim(self, shelf: _Shelf) -> None:
        while len(shelf.tasks) > self._count or (shelf.size > self._size and len(shelf.tasks) > 1):
            _, gone = shelf.tasks.popitem(last=False)
            shelf.size -= gone.size


def part_of(job_id: str) -> Part:
    """Which half a task belongs to: fixed by its id, so that a restart can't move a task from one to the other."""
    return "tune" if blake2b(job_id.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] & 1 else "gate"


def _judge(task: Recorded, seq: int, judged: TaskJudged) -> None:
    task.judged_seq, task.label, task.score = seq, judged.label, judged.score
