"""Who is still there: heartbeats of nodes, death notices of actors, and the ``Down`` that watchers get.

Three signals, because core NATS delivers at most once: nobody answers now, a death notice came, or the node's lease
ran out.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import anyio

from subjects.control import DOWN, HEARTBEAT, ActorDown, Heartbeat, node_subject

from .bus.contract import Delivery, Subscription
from .errors import ChimeraError, NotRunningError
from .ref import Ref, parse_address
from .wire import decode, decode_any, encode

if TYPE_CHECKING:
    from .cell import Cell
    from .system import System

MISSED = 3
"""Heartbeats a node may miss before it is taken for dead."""


class Liveness:
    """Heartbeat and watching of one node."""

    def __init__(self, system: System, heartbeat_s: float) -> None:
        self.system = system
        self.heartbeat_s = heartbeat_s
        self.nodes: dict[str, tuple[float, float]] = {}
        self._watching: dict[str, set[Cell]] = {}
        self._subscriptions: list[Subscription] = []
        self._scope = anyio.CancelScope()
        self._epochs = itertools.count(1)

    async def open(self) -> None:
        """Start the heartbeat and listen for those of others."""
        bus = self._bus()
        self._subscriptions = [
            await bus.subscribe(HEARTBEAT, self._on_heartbeat),
            await bus.subscribe(DOWN, self._on_down),
            await bus.subscribe(f"{node_subject(self.system.node)}.watch", self._on_watch),
        ]
        self.system.start_soon(self._beat)

    async def close(self) -> None:
        """Say goodbye: watchers of this node's actors know at once."""
        self._scope.cancel()
        self._scope = anyio.CancelScope()
        await self._publish(DOWN, ActorDown(node=self.system.node, address="", reason="node"))
        for subscription in self._subscriptions:
            await subscription.unsubscribe()

    async def watch(self, watcher: Cell, ref: Ref) -> None:
        """Tell ``watcher`` when ``ref`` ends; at once if it is not there.

        Only local actors and actors addressed on a node can be watched: a queue group has no single life.
        """
        try:
            cell = self.system.find_cell(ref)
        except NotRunningError:
            watcher.notify_down(ref, "not-running")
            return
        if cell is not None:
            cell.watchers = cell.watchers or set()
            cell.watchers.add(watcher)
            return
        if not ref.node or self.system.bus is None:
            watcher.notify_down(ref, "not-running")
            return
        self._watching.setdefault(str(ref), set()).add(watcher)
        await self._register(ref)

    async def _register(self, ref: Ref) -> None:
        try:
            subject = f"{node_subject(ref.node)}.watch"
            answer = await self._bus().request(
                subject, encode({"address": str(ref)}), timeout_s=MISSED * self.heartbeat_s
            )
        except ChimeraError:
            self._gone(str(ref), "not-running")
            return
        if not decode_any(answer.data).get("running"):
            self._gone(str(ref), "not-running")
        else:
            self._seen(ref.node, self.heartbeat_s)

    def ended(self, cell: Cell, reason: str) -> None:
        """An actor of this node ended: tell local watchers and, if somebody asked for it, the other nodes."""
        actor, key, node = parse_address(cell.address)
        for watcher in cell.watchers or ():
            watcher.notify_down(self.system.ref(actor, key=key, node=node), reason)
        cell.watchers = None
        if cell.remote_watched:
            notice = ActorDown(node=self.system.node, address=cell.address, reason=reason)
            self.system.start_soon(self._publish, DOWN, notice)

    # -- what comes in -------------------------------------------------------------------------------------------------

    def _on_heartbeat(self, delivery: Delivery) -> None:
        beat = decode(delivery.data, Heartbeat)
        if beat.node != self.system.node:
            self._seen(beat.node, beat.interval_s)

    def _on_down(self, delivery: Delivery) -> None:
        down = decode(delivery.data, ActorDown)
        if down.address:
            self._gone(down.address, down.reason)
        elif down.node != self.system.node:
            self._node_gone(down.node)

    def _on_watch(self, delivery: Delivery) -> None:
        address = str(decode_any(delivery.data).get("address", ""))
        actor, key, _ = parse_address(address)
        cell = self.system.cells.get(f"{actor}/{key}" if key else actor)
        if cell is not None:
            cell.remote_watched = True
        self.system.start_soon(self._answer, delivery.reply, {"running": cell is not None})

    def _seen(self, node: str, interval_s: float) -> None:
        self.nodes[node] = (self.system.clock.monotonic(), interval_s)

    def _gone(self, address: str, reason: str) -> None:
        actor, key, node = parse_address(address)
        for watcher in self._watching.pop(address, ()):
            watcher.notify_down(self.system.ref(actor, key=key, node=node), reason)

    def _node_gone(self, node: str) -> None:
        self.nodes.pop(node, None)
        for address in [address for address in self._watching if address.endswith(f"@{node}")]:
            self._gone(address, "node")

    # -- what goes out -------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        system = self.system
        with self._scope:
            while True:
                epoch = next(self._epochs)
                beat = Heartbeat(node=system.node, interval_s=self.heartbeat_s, actors=len(system.cells), epoch=epoch)
                await self._publish(HEARTBEAT, beat)
                await system.clock.sleep(self.heartbeat_s)
                self._sweep()

    def _sweep(self) -> None:
        """Nodes whose lease ran out; not while we ourselves are cut off and hear nobody."""
        bus = self.system.bus
        now = self.system.clock.monotonic()
        if bus is None or bus.statistics().state != "connected":
            self.nodes = {node: (now, interval) for node, (_, interval) in self.nodes.items()}
            return
        for node in [node for node, (at, interval) in self.nodes.items() if now - at > MISSED * interval]:
            self._node_gone(node)

    async def _publish(self, subject: str, message: Any) -> None:
        try:
            await self._bus().publish(subject, encode(message))
        except ChimeraError:
            return  # the lease says it, if the notice cannot

    async def _answer(self, reply: str, value: dict[str, Any]) -> None:
        try:
            await self._bus().publish(reply, encode(value))
        except ChimeraError:
            return  # the asker has a deadline

    def _bus(self) -> Any:
        return self.system.bus
