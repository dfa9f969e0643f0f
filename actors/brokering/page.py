"""A small document that all brokers share: kept in the stream of records, changed by compare-and-set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from chimera.bus.contract import Bus, Stored
from chimera.errors import FencedError
from chimera.wire import decode, encode

from .streams import DEVICES

T = TypeVar("T")
_TRIES = 5


class Page(Generic[T]):
    """Reads and changes one document.

    Args:
        bus: Where it is.
        subject: On which subject of the stream of records.
        empty: What stands there while nothing was written.
        put: Takes what is in force from now on.
        make_id: Makes message ids.
    """

    def __init__(
        self, bus: Bus, subject: str, empty: T, put: Callable[[T], None], make_id: Callable[[], str]
    ) -> None:  # fmt: skip
        self._bus, self.subject, self._kind, self._put, self._make_id = bus, subject, type(empty), put, make_id
        self.value = empty
        self._seq = 0

    def take(self, stored: Stored) -> None:
        """The document as it was stored, by whomever; one that can't be read is left aside."""
        if stored.seq <= self._seq:
            return
        try:
            self.value = decode(stored.data, self._kind)
        except msgspec.DecodeError:
            return
        self._seq = stored.seq
        self._put(self.value)

    async def change(self, apply: Callable[[T], T]) -> T:
        """Store what ``apply`` makes of the present document.

        Raises:
            FencedError: If others change it all the time.
        """
        for _ in range(_TRIES):
            fresh = apply(self.value)
            try:
                stored = await self._bus.append(
                    self.subject, encode(fresh), msg_id=self._make_id(), expected_last=self._seq
                )
            except FencedError:
                last = await self._bus.last(DEVICES, self.subject)
                self._seq = 0
                if last is not None:
                    self.take(last)
                continue
            self.value, self._seq = fresh, stored.seq
            self._put(fresh)
            return fresh
        raise FencedError(f"{self.subject} is changed by others all the time")
