"""Ways to break the scheduler on purpose: each must be found, or the simulation proves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from msgspec.structs import replace

from actors.queueing import states
from actors.queueing.ledger import Ledger
from actors.queueing.records import Spec, Status
from actors.scheduling.core import Core
from actors.scheduling.desk import Desk
from actors.scheduling.journal import Group, Journal
from tests.simulation.network import Network

_failed = states.failed
_purge = Journal.purge


@dataclass(frozen=True, slots=True)
class Mutation:
    """A defect.

    Attributes:
        rules: Invariants of which one must be seen broken.
        apply: Breaks it while the context lasts.
        first: The seed with which a search begins, where it takes many: CI's time is short.
    """

    what: str
    rules: tuple[str, ...]
    apply: Callable[[], AbstractContextManager[Any]]
    first: int = 0


async def _nothing(*_: object) -> None:
    """In place of a wait."""


async def _hardly(_: Group) -> None:
    await asyncio.sleep(0.001)


async def _purge_more(journal: Journal, before_seq: int) -> None:
    await _purge(journal, journal.last_seq + 1 - (journal.last_seq + 1 - before_seq) // 2)


def _always(status: Status, spec: Spec, now: float, code: str, detail: str, *, wait_s: float, again: bool) -> Status:
    return _failed(status, replace(spec, attempts=1000), now, code, detail, wait_s=wait_s, again=again)


def _fences_little(status: Status, _: int) -> bool:
    return status.state != "running"


@contextmanager
def _unguarded() -> Generator[None]:
    """Attempts that were given up go on, and nobody looks whose result it is."""
    with (
        mock.patch.object(states, "fences", _fences_little),
        mock.patch.object(Core, "stop_attempt", return_value=None),
    ):
        yield


MUTATIONS = {
    "unfenced": Mutation(
        "appends name no expected sequence: two leaders write", ("fencing",),
        lambda: mock.patch.object(Network, "ignores_expectations", new=True),
    ),
    "early-acknowledgement": Mutation(
        "a submit is answered before its append is", ("acknowledged",),
        lambda: mock.patch.object(Group, "wait", _hardly),
    ),
    "early-end": Mutation(
        "an end is told before it is stored", ("read",), lambda: mock.patch.object(Core, "settled", _nothing)
    ),
    "no-deduplication": Mutation(
        "a repeated submit is a new task", ("twice", "final"),
        lambda: mock.patch.object(Desk, "_known", return_value=None),
    ),
    "no-token": Mutation(
        "a late result counts for whatever attempt runs", ("result",), _unguarded,
    ),
    "unbounded-attempts": Mutation(
        "a task is tried for ever", ("attempts",), lambda: mock.patch.object(states, "failed", _always)
    ),
    "wide-purge": Mutation(
        "compaction purges part of what it has just written", ("lost", "read", "twice"),
        lambda: mock.patch.object(Journal, "purge", _purge_more),
    ),
    "unconfirmed": Mutation(
        "a leader that was replaced answers from memory", ("read",),
        lambda: mock.patch.object(Journal, "confirm", _nothing),
        first=350,
    ),
    "slow-clock": Mutation(
        "a pause lasts until the clock that was set back has caught up", ("liveness",),
        lambda: mock.patch.object(Ledger, "bound_pauses", return_value=None),
        first=40,
    ),
    "stolen-key": Mutation(
        "a revived task takes the key of an unfinished one", ("key",),
        lambda: mock.patch.object(Desk, "_is_superseded", return_value=False),
        first=30,
    ),
}  # fmt: skip
