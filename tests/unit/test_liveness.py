"""Who is taken for dead, and when: leases, nodes that come back, and one's own deafness."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from chimera import System
from chimera.bus import Delivery, MemoryBus, MemoryHub
from chimera.testing import ManualClock
from chimera.wire import encode
from subjects.control import HEARTBEAT, Heartbeat
from tests.support.probe import Board, Probe, Watch

pytestmark = pytest.mark.anyio


@dataclass
class Rig:
    """A node that watches a probe on another, which is there only as messages of this test."""

    clock: ManualClock
    hub: MemoryHub
    other: MemoryBus
    board: Board

    async def beat(self, epoch: int) -> None:
        """The other node says that it lives."""
        await self.other.publish(HEARTBEAT, encode(Heartbeat(node="far", interval_s=1.0, actors=1, epoch=epoch)))
        await self.clock.advance(0)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """The watch has begun, the other node has counted to 5."""
    clock = ManualClock()
    hub, board = MemoryHub(clock), Board()
    async with (
        MemoryBus(hub, name="own") as own,
        MemoryBus(hub, name="far") as other,
        System(own, node="near", clock=clock, heartbeat_s=1.0) as system,
    ):
        answer = encode({"running": True})
        tasks = system.start_soon

        def running(delivery: Delivery) -> None:
            tasks(other.publish, delivery.reply, answer)

        await other.subscribe("chimera.node.far.watch", running)
        ref = await system.spawn(Probe, board=board)
        made = Rig(clock, hub, other, board)
        await made.beat(5)
        await ref.tell(Watch("probe", "far"))
        await clock.advance(0)
        assert "watching" in board.log
        yield made


async def test_a_node_that_falls_silent_is_dead_after_three_intervals(rig: Rig):
    """Not after two; its heartbeat in between would have kept it."""
    await rig.clock.advance(2.5)
    await rig.beat(6)
    await rig.clock.advance(2.5)
    assert rig.board.downs == []
    await rig.clock.advance(2)
    assert rig.board.downs == [("probe@far", "node")]
    await rig.clock.advance(10)
    assert len(rig.board.downs) == 1, "told once"


async def test_a_node_that_counts_anew_has_died_in_between(rig: Rig):
    """It came back within its lease: its actors of before are gone all the same."""
    await rig.beat(1)
    assert rig.board.downs == [("probe@far", "node")]


async def test_who_is_cut_off_takes_nobody_for_dead(rig: Rig):
    """Without a connection silence means nothing; after it the lease begins anew."""
    rig.hub.disconnect("own")
    await rig.clock.advance(30)
    assert rig.board.downs == []
    rig.hub.reconnect("own")
    await rig.clock.advance(2)
    assert rig.board.downs == []
    await rig.clock.advance(3)
    assert rig.board.downs == [("probe@far", "node")]
