"""The nodes that run genomes: who answers, how much each may have at once, and who went away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

import anyio
import msgspec

from chimera.bus.contract import Bus
from chimera.errors import ChimeraError

AHEAD = 1
"""Requests that wait on a node besides those that its workers run: else a worker would idle between two of them."""

MISSED = 2
"""Looks in a row that a node may miss before it counts as gone."""

_TIMEOUT_S, _STALL_S = 1.0, 0.2
Find = Callable[[], Awaitable[Collection[str] | None]]
"""Names of the nodes that run agents; ``None`` if that can't be told now."""


@dataclass(slots=True, eq=False)
class Member:
    """A node.

    Attributes:
        spared: Somebody else needs its processors now.
        lanes: Requests that may be under way there at once; ``in_flight`` are.
        scopes: Of the lanes: cancelled when the node is gone.
    """

    name: str
    workers: int = 1
    spared: bool = False
    lanes: int = 0
    in_flight: int = 0
    missed: int = 0
    gone: bool = False
    scopes: set[anyio.CancelScope] = field(default_factory=set[anyio.CancelScope])

    @property
    def most(self) -> int:
        """Requests that it should have."""
        return 1 if self.spared else self.workers + AHEAD

    def leave(self) -> None:
        """It went away: whoever waits for it need not."""
        self.gone = True
        for scope in self.scopes:
            scope.cancel()


class Crew:
    """Every node that answers.

    Args:
        find: Says who does.
    """

    def __init__(self, find: Find) -> None:
        self._find = find
        self.members: dict[str, Member] = {}

    @property
    def lanes(self) -> int:
        """Requests that all of them together should have."""
        return sum(member.most for member in self.members.values())

    async def look(self) -> list[Member]:
        """Who joined since the last look; those that left are told so."""
        names = await self._find()
        if names is None:
            return []
        for member in list(self.members.values()):
            member.missed = 0 if member.name in names else member.missed + 1
            if member.missed >= MISSED:
                del self.members[member.name]
                member.leave()
        joined = [Member(name) for name in sorted(names) if name not in self.members]
        self.members.update((member.name, member) for member in joined)
        return joined


def agents_on(bus: Bus) -> Find:
    """Finds the nodes with an agent actor by asking all of them (ADR-32's ping)."""

    async def find() -> Collection[str] | None:
        try:
            answers = await bus.request_many("$SRV.PING.agent", b"", timeout_s=_TIMEOUT_S, stall_s=_STALL_S)
        except ChimeraError:
            return None
        names: set[str] = set()
        for answer in answers:
            try:
                names.add(_decoder.decode(answer.data).metadata["node"])
            except (msgspec.DecodeError, KeyError):
                continue
        return names

    return find


class _Ping(msgspec.Struct):
    metadata: dict[str, str]


_decoder = msgspec.json.Decoder(_Ping)
