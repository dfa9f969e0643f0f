"""Islands: populations apart from each other that send their best around a ring, in a fixed order.

    islands = Islands([make("steady", box, Setup(size=50, seed=7, island=i)) for i in range(4)])
    for migration in islands.migrate():     # at an epoch's end: a snapshot of all the best first, then island by island
        log(migration)
    islands.apply(logged)                   # elsewhere, instead of migrate: the same members in the same order

pygmo's own archipelago gives another outcome in every run, because its islands meet whenever their threads do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from .engine import Members


class Island(Protocol):
    """What an engine needs to be one."""

    size: int
    receives: ClassVar[bool]

    def emigrants(self, count: int) -> Members:
        """Its best members, best first."""
        ...

    def receive(self, members: Members) -> None:
        """Let members in for its worst."""
        ...


@dataclass(frozen=True, slots=True)
class Migration:
    """Members that moved."""

    source: int
    target: int
    members: Members


class Islands:
    """A ring of engines.

    Args:
        engines: In the order of the ring; engines that can't use migrants (cmaes) only send.
        share: Of an island's size, how many move at least one at a time.

    Raises:
        ValueError: If there is no engine, or the share is not within 0 and 1/2.
    """

    def __init__(self, engines: Sequence[Island], share: float = 0.05) -> None:
        if not engines or not 0.0 < share <= 0.5:  # noqa: PLR2004 - half of an island is most of it
            raise ValueError("a ring needs an engine at least, and a share above 0 and up to one half")
        self.engines = list(engines)
        self._share = share

    def migrate(self) -> tuple[Migration, ...]:
        """The best of each island replace the worst of the next one; gives who moved, as ``apply`` takes it."""
        count = len(self.engines)
        leaving = [engine.emigrants(max(1, round(self._share * engine.size))) for engine in self.engines]
        moves = tuple(
            Migration(source, target, leaving[source])
            for source, target in ((place, (place + 1) % count) for place in range(count))
            if source != target and self.engines[target].receives and len(leaving[source])
        )
        self.apply(moves)
        return moves

    def apply(self, migrations: Iterable[Migration]) -> None:
        """What ``migrate`` gave, once more."""
        for migration in migrations:
            self.engines[migration.target].receive(migration.members)
