"""Ways to break the lending on purpose: each must be found, or the simulated world proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from msgspec.structs import replace

from actors.brokering import changes, witness
from actors.brokering.record import Grant, Record
from actors.fencing.fence import Fence
from actors.fencing.holders import Holder
from chimera.errors import NoLeaseError
from tests.leasing.parts import Disk
from tests.leasing.store import Change, Store

_end = changes.end
_gone = changes.gone


@dataclass(frozen=True, slots=True)
class Mutation:
    """A defect.

    Attributes:
        what: For people.
        rules: Invariants of which one must be seen broken.
        apply: Breaks it while the context lasts.
        first: The seed with which a search begins, where it takes many.
    """

    what: str
    rules: tuple[str, ...]
    apply: Callable[[], AbstractContextManager[Any]]
    first: int = 0


def _no_line(record: Record, lease: str, how: changes.End, now: float, reason: str = "") -> Any:
    result = _end(record, lease, how, now, reason)
    return replace(result, lines=record.lines) if isinstance(result, Record) else result


def _too_long(record: Record, lease: str, how: changes.End, now: float, reason: str = "") -> Any:
    result = _end(record, lease, how, now, reason)
    if not isinstance(result, Record):
        return result
    line = replace(result.lines[-1], ended_at=result.lines[-1].ended_at + 1.0)
    return replace(result, lines=(*result.lines, line))


def _early(record: Record, seen: int, held: Collection[str]) -> Record:
    return _gone(record, seen + 1_000_000, held)


def _heedless(record: Record, seen: int, _held: Collection[str]) -> Record:
    return _gone(record, seen, ())


def _same(previous: int, _now: float) -> int:
    return max(previous, 1)


def _to_one(self: Store, change: Change) -> bool:
    key = next(iter(change.records))
    return _commit(self, Change({key: change.records[key]}, change.expected))


def _careless(self: Store, change: Change) -> bool:
    return _commit(self, Change(change.records, {key: self.rows.get(key, (0, b""))[0] for key in change.records}))


def _forgetful(self: Disk, device: str) -> int:
    del self, device
    return 0


def _unending(self: Fence, lease: str) -> dict[str, Grant]:
    found = {record.id: grant for record in self.records.values() if (grant := record.find(lease)) is not None}
    if not found:
        raise NoLeaseError
    return found


def _impatient(self: Fence) -> list[Holder]:
    gone = [holder for holder in self.holders.values() if holder.ending is not None]
    for holder in gone:
        del self.holders[holder.lease]
    return gone


_commit = Store.commit

MUTATIONS = {
    "no-compare-and-set": Mutation(
        "a write is stored whatever it expects", ("capacity", "token", "gang", "ledger", "end"),
        lambda: mock.patch.object(Store, "commit", _careless),
    ),
    "half-a-gang": Mutation(
        "only a part of a batch is stored", ("gang",), lambda: mock.patch.object(Store, "commit", _to_one)
    ),
    "no-capacity-check": Mutation(
        "whatever is asked is lent", ("capacity", "health"),
        lambda: mock.patch.object(changes, "obstacle", return_value=""),
    ),
    "same-token": Mutation(
        "a grant has the token of the one before", ("token",), lambda: mock.patch.object(changes, "next_token", _same)
    ),
    "no-line": Mutation(
        "a lease ends and the ledger never hears of it", ("ledger",),
        lambda: mock.patch.object(changes, "end", _no_line),
    ),
    "two-lines": Mutation(
        "a lease is booked twice", ("ledger",), lambda: mock.patch.object(changes, "end", _too_long)
    ),
    "never-due": Mutation(
        "a lease that nobody renews stays", ("endless",),
        lambda: mock.patch.object(changes, "is_due", return_value=False),
    ),
    "old-word": Mutation(
        "what a fence said before a lease's end counts as said after it", ("end",),
        lambda: mock.patch.object(witness, "gone", _early),
        first=200,
    ),
    "unheard-holders": Mutation(
        "a share is free although the fence says that its holder is there", ("end",),
        lambda: mock.patch.object(witness, "gone", _heedless),
    ),
    "over-is-fine": Mutation(
        "the fence lets a lease in that is over", ("over",),
        lambda: mock.patch.object(Fence, "_grants_of", _unending),
    ),
    "impatient-fence": Mutation(
        "the fence says that a holder is gone which it has only asked to go", ("end", "endless"),
        lambda: mock.patch.object(Fence, "settle", _impatient),
    ),
    "forgetful-fence": Mutation(
        "the fence forgets its tokens", ("overlap", "token"), lambda: mock.patch.object(Disk, "highest", _forgetful)
    ),
}  # fmt: skip
