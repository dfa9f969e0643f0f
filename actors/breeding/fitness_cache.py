"""What was measured of genomes already, so that none is run twice on the same case. Bounded in bytes. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from .sheet import Sheet


class SheetKey(NamedTuple):
    """What figures depend on: module, genome and limits (``checksum``), the cases, and what is measured of them."""

    checksum: str
    caseload: str
    yardstick: str


class FitnessCache:
    """Sheets of deterministic agents, least lately used ones dropped first.

    Args:
        most: Bytes that it may take.
    """

    def __init__(self, most: int = 64 << 20) -> None:
        self._most = most
        self._sheets: OrderedDict[SheetKey, Sheet] = OrderedDict()
        self.size = 0
        self.hits = 0

    def __len__(self) -> int:
        return len(self._sheets)

    def find(self, key: SheetKey) -> Sheet | None:
        """The sheet, if there is one; whoever fills it fills the cache."""
        found = self._sheets.get(key)
        if found is not None:
            self._sheets.move_to_end(key)
        return found

    def keep(self, key: SheetKey, sheet: Sheet) -> None:
        """Remember a sheet."""
        former = self._sheets.pop(key, None)
        self.size += sheet.size - (former.size if former else 0)
        self._sheets[key] = sheet
        while self.size > self._most and len(self._sheets) > 1:
            _, gone = self._sheets.popitem(last=False)
            self.size -= gone.size
