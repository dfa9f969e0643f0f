"""The rules in force: kept in the stream of records, so that every broker follows them and a restart keeps them."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from chimera.bus.contract import Bus
from subjects.gpu_broker import ConfigureBroker, Rules

from .page import Page
from .streams import RULES


class Rulebook(Page[Rules]):
    """Reads and changes the rules.

    Args:
        bus: Where they are.
        put: Takes rules that are in force from now on.
        make_id: Makes message ids.
    """

    def __init__(self, bus: Bus, put: Callable[[Rules], None], make_id: Callable[[], str]) -> None:
        super().__init__(bus, RULES, Rules(), put, make_id)

    async def configure(self, message: ConfigureBroker) -> Rules:
        """Change what is given.

        Raises:
            FencedError: If others change them all the time.
        """
        return await self.change(lambda rules: changed(rules, message))


def changed(rules: Rules, message: ConfigureBroker) -> Rules:
    """The rules with what is given."""
    names = ("packing", "patience_s", "notice_s", "idle_s", "reclaim", "preempt")
    given = {name: value for name in names if (value := getattr(message, name)) is not None}
    tenants = {name: rule for name, rule in {**rules.tenants, **message.tenants}.items() if name not in message.drop}
    return replace(rules, tenants=tenants, **given)
