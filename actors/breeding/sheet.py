"""What is known of a genome on a caseload: one row per gauge, one column per case, filled bit by bit. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_ROW_BYTES, _OWN_BYTES = 8, 400


class Sheet:
    """Figures of one genome.

    Args:
        cases: How many there are.
        gauges: Figures per case.

    Attributes:
        failure: Why the genome counts as a failure, once it does.
    """

    __slots__ = ("_failed", "_known", "_rows", "failure")

    def __init__(self, cases: int, gauges: int) -> None:
        self._known, self._failed = bytearray(cases), bytearray(cases)
        self._rows = [array("d", bytes(_ROW_BYTES * cases)) for _ in range(gauges)]
        self.failure = ""

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return len(self._known) * (2 + _ROW_BYTES * len(self._rows)) + _OWN_BYTES

    def missing(self, places: Sequence[int]) -> list[int]:
        """Those cases that the genome was not run on yet."""
        known = self._known
        return [place for place in places if not known[place]]

    def fill(self, places: Sequence[int], rows: Sequence[Sequence[float]], failed: Iterable[int] = ()) -> None:
        """Take figures of some cases; not-a-number where a case does not tell. ``failed`` are indexes of ``places``."""
        for row, values in zip(self._rows, rows, strict=True):
            for place, value in zip(places, values, strict=True):
                row[place] = value
        for place in places:
            self._known[place] = 1
        for index in failed:
            self._failed[places[index]] = 1

    def figures(self, gauge: int, places: Sequence[int]) -> list[tuple[int, float]]:
        """Case and figure, in the order of ``places``, of those that were run and tell."""
        row, known = self._rows[gauge], self._known
        return [(place, row[place]) for place in places if known[place] and not math.isnan(row[place])]

    def failed(self, places: Sequence[int]) -> int:
        """How many of these cases failed."""
        return sum(self._failed[place] for place in places)


@dataclass(slots=True)
class Result:
    """What an evaluation gave.

    Attributes:
        checksum: Of module, genome and limits.
        sheet: The figures, also of cases that earlier evaluations ran.
        places: Cases that count, in the order of the rungs.
        ran: Tasks that were run for it.
        cpu_s: Guests' CPU time that took.
        failure: Why the genome counts as a failure: it has no figure then.
        stopped: Why it was stopped before the last rung.
    """

    checksum: str
    sheet: Sheet
    places: list[int] = field(default_factory=list[int])
    ran: int = 0
    cpu_s: float = 0.0
    failure: str = ""
    stopped: str = ""

    @property
    def tasks(self) -> int:
        """Cases that count."""
        return len(self.places)

    @property
    def cached(self) -> bool:
        """Whether nothing had to be run."""
        return self.ran == 0 and bool(self.places)

    def figures(self, gauge: int) -> list[tuple[int, float]]:
        """Case and figure of each case that tells."""
        return self.sheet.figures(gauge, self.places)
