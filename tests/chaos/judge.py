"""What must hold at the end of a run, whatever was done to the processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from actors.queueing import states
from tests.chaos.history import History
from tests.chaos.ledger import Ledger

_SHOWN = 5


@dataclass(slots=True)
class Promise:
    """A task that a caller has in mind.

    Attributes:
        acknowledged: The scheduler said that it is stored.
        wanted: The states it may end in.
        told: Final state, attempt and the output's digest, as the scheduler told them in an answer.
    """

    id: str
    acknowledged: bool = False
    wanted: frozenset[str] = frozenset({"succeeded"})
    told: list[tuple[str, int, str]] = field(default_factory=list[tuple[str, int, str]])


@dataclass(slots=True)
class Evidence:
    """Everything that was seen.

    Attributes:
        views: Every known task as the scheduler shows it at the end: state, attempt, digest of its output.
        announced: How often each task's end was announced.
        projected: Every task of the store's table with its state; ``None`` if there is no such table.
    """

    promises: dict[str, Promise]
    history: History
    ledger: Ledger
    views: dict[str, tuple[str, int, str]] = field(default_factory=dict[str, tuple[str, int, str]])
    announced: Counter[str] = field(default_factory=Counter[str])
    projected: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One invariant, and what broke it."""

    name: str
    broken: list[str]

    def __str__(self) -> str:
        more = f" and {len(self.broken) - _SHOWN} more" if len(self.broken) > _SHOWN else ""
        return f"{self.name}: {'; '.join(self.broken[:_SHOWN])}{more}" if self.broken else f"{self.name}: holds"


def judge(seen: Evidence) -> list[Finding]:
    """Every invariant."""
    return [
        Finding("0 acknowledged tasks lost", list(_lost(seen))),
        Finding("0 effects applied twice", [*_twice(seen), *_fenced(seen)]),
        Finding("every task in a final state", list(_open(seen))),
        Finding("what was told stays true", list(_contradicted(seen))),
        Finding("projections equal the log", list(_projected(seen))),
    ]


def _lost(seen: Evidence) -> Any:
    for promise in seen.promises.values():
        if promise.acknowledged and promise.id not in seen.views:
            yield f"{promise.id} was acknowledged and is not known"


def _twice(seen: Evidence) -> Any:
    yield from seen.history.broken
    for task, times in seen.announced.items():
        if times > 1:
            yield f"the end of {task} was announced {times} times"


def _fenced(seen: Evidence) -> Any:
    """The effect is that of the attempt that counts; none came after it."""
    if seen.ledger.verdicts["changed"]:
        yield f"{seen.ledger.verdicts['changed']} attempts wanted another effect than an earlier one"
    for task, (state, attempt, output) in seen.views.items():
        row = seen.ledger.rows.get(task)
        if state != "succeeded":
            continue
        if row is None:
            yield f"{task} succeeded, and its effect was never applied"
        elif (row.token, row.value) != (attempt, output):
            yield f"{task}: attempt {attempt} counts, the effect is of attempt {row.token}"


def _open(seen: Evidence) -> Any:
    for task, (state, attempt, _) in seen.views.items():
        promise = seen.promises.get(task)
        if not states.is_final(state):
            yield f"{task} is {state} (attempt {attempt})"
        elif promise is None:
            yield f"{task} was never submitted"
        elif state not in promise.wanted:
            yield f"{task} is {state}, not {' or '.join(sorted(promise.wanted))}"


def _contradicted(seen: Evidence) -> Any:
    for promise in seen.promises.values():
        for told in promise.told:
            if seen.views.get(promise.id, told) != told:
                yield f"{promise.id}: {told} was told, it is {seen.views[promise.id]}"
    for task, end in seen.history.ends.items():
        if task in seen.views and seen.views[task][:2] != (end.state, end.attempt):
            yield f"{task}: the log ends with {(end.state, end.attempt)}, it is {seen.views[task][:2]}"


def _projected(seen: Evidence) -> Any:
    if seen.projected is None:
        return
    for task, (state, _, _) in seen.views.items():
        if seen.projected.get(task) != state:
            yield f"{task} is {state}, projected as {seen.projected.get(task)}"
    for task in seen.projected.keys() - seen.views.keys():
        yield f"{task} is projected and not known"
