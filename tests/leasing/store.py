"""The stream of records as the brokers see it: compare-and-set over several keys at once, and a past it can fall to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.brokering.record import Record, pack, unpack

MOST_PAST = 64


@dataclass(frozen=True, slots=True)
class Change:
    """Records to be written if each key's last write is the one that is named: all of them or none."""

    records: Mapping[str, Record]
    expected: Mapping[str, int]


@dataclass(slots=True)
class Store:
    """Records by key, each with the number of its write. Numbers are given out again after a fall into the past."""

    sequence: int = 0
    rows: dict[str, tuple[int, bytes]] = field(default_factory=dict[str, tuple[int, bytes]])
    past: list[tuple[int, dict[str, tuple[int, bytes]]]] = field(
        default_factory=list[tuple[int, dict[str, tuple[int, bytes]]]]
    )
    usage: dict[tuple[str, str, int], float] = field(default_factory=dict[tuple[str, str, int], float])

    def read(self, key: str) -> tuple[int, Record]:
        """The last write of a key, as its leader knows it."""
        number, data = self.rows[key]
        return number, unpack(data)

    def records(self) -> dict[str, Record]:
        """Everything as it stands."""
        return {key: unpack(data) for key, (_, data) in self.rows.items()}

    def commit(self, change: Change) -> bool:
        """Take a change, if every key's last write is the expected one."""
        if any(self.rows.get(key, (0, b""))[0] != change.expected[key] for key in change.records):
            return False
        self.past = [*self.past[1 - MOST_PAST :], (self.sequence, dict(self.rows))]
        for key in change.records:
            self.sequence += 1
            self.rows[key] = (self.sequence, pack(change.records[key]))
        return True

    def fall_back(self, writes: int) -> int:
        """Forget the last changes, as a power cut between two flushes may do; how many were forgotten."""
        writes = min(writes, len(self.past))
        if writes:
            self.sequence, self.rows = self.past[-writes]
            self.rows = dict(self.rows)
            del self.past[-writes:]
        return writes
