"""The historian actor: brings the log of tasks into this node's store, and keeps that bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.scheduling.journal import stream_spec
from actors.scheduling.projection import TaskProjection
from chimera import Actor
from chimera.bus.contract import Bus
from chimera.errors import ChimeraError
from chimera.store import Follower, Store, StreamPart

if TYPE_CHECKING:
    from chimera.node.parts import Parts

_TIDY_S = 60.0


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much history is kept.

    Attributes:
        age_s: Final tasks that ended longer ago go.
        rows: Final tasks kept at most, the newest.
    """

    age_s: float = 30 * 86_400.0
    rows: int = 200_000


class Historian(Actor, name="historian", layer="scheduling"):
    """Projects tasks and their changes. It can be away, or its store can, for as long as it takes: the log waits.

    Args:
        bus: Where the log is.
        store: Takes the rows.
        keeping: How much of them.
        replicas: Copies of the log.
    """

    def __init__(self, *, bus: Bus, store: Store, keeping: Keeping | None = None, replicas: int = 1) -> None:
        self._bus, self._store, self._keeping, self._replicas = bus, store, keeping or Keeping(), replicas
        self._projection = TaskProjection(store)

    @staticmethod
    def assemble(parts: Parts) -> dict[str, Any]:
        """The constructor's arguments on a node."""
        own = parts.settings.scheduler
        keeping = Keeping(own.history_age_s, own.history_max)
        return {"bus": parts.need("bus"), "store": parts.need("store"), "keeping": keeping}

    @staticmethod
    def projections(bus: Bus, store: Store) -> list[StreamPart]:
        """What ``chimera rebuild`` makes again."""
        return [TaskProjection(store).part(bus, store)]

    async def on_start(self) -> None:
        """Declare the stream, then follow it."""
        await self._bus.declare(stream_spec(self._replicas))
        part = self._projection.part(self._bus, self._store)
        follower = Follower(
            self._bus, self._store, self._projection, self.ctx.clock, self.ctx.rng, resume=part.resume
        )  # fmt: skip
        self.ctx.spawn(follower.run)
        self.ctx.spawn(self._tidy)

    async def _tidy(self) -> None:
        while True:
            await self.ctx.clock.sleep(_TIDY_S)
            now = self.ctx.clock.time()
            try:
                await self._projection.history.forget(
                    before=now - self._keeping.age_s, keep=self._keeping.rows, now=now
                )
            except ChimeraError as error:
                self.ctx.event("data-access", f"old tasks are forgotten later: {error.detail}", level="warning")
