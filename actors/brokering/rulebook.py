"""The rules in force: kept in the stream of records, so that every broker follows them and a restart keeps them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from chimera.bus.contract import Bus, Stored
from chimera.errors import FencedError
from chimera.wire import decode, encode
from subjects.gpu_broker import ConfigureBroker, Rules

from .streams import DEVICES, RULES

_TRIES = 5


class Rulebook:
    """Reads and changes the rules.

    Args:
        bus: Where they are.
        put: Takes rules that are in force from now on.
        make_id: Makes message ids.
    """

    def __init__(self, bus: Bus, put: Callable[[Rules], None], make_id: Callable[[], str]) -> None:
        self._bus, self._put, self._make_id = bus, put, make_id
        self.rules = Rules()
        self._seq = 0

    def take(self, stored: Stored) -> None:
        """Rules as they were stored, by whomever; those that can't be read are left aside."""
        if stored.seq <= self._seq:
            return
        try:
            self.rules = decode(stored.data, Rules)
        except msgspec.DecodeError:
            return
        self._seq = stored.seq
        self._put(self.rules)

    async def configure(self, message: ConfigureBroker) -> Rules:
        """Change what is given.

        Raises:
            FencedError: If others change them all the time.
        """
        for _ in range(_TRIES):
            fresh = changed(self.rules, message)
            try:
                stored = await self._bus.append(RULES, encode(fresh), msg_id=self._make_id(), expected_last=self._seq)
            except FencedError:
                last = await self._bus.last(DEVICES, RULES)
                self._seq = 0
                if last is not None:
                    self.take(last)
                continue
            self.rules, self._seq = fresh, stored.seq
            self._put(fresh)
            return fresh
        raise FencedError("the rules are changed by others all the time")


def changed(rules: Rules, message: ConfigureBroker) -> Rules:
    """The rules with what is given."""
    names = ("packing", "patience_s", "notice_s", "idle_s", "reclaim", "preempt")
    given = {name: value for name in names if (value := getattr(message, name)) is not None}
    tenants = {name: rule for name, rule in {**rules.tenants, **message.tenants}.items() if name not in message.drop}
    return replace(rules, tenants=tenants, **given)
