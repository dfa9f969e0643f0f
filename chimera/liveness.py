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

Watch = tuple["Cell", Ref]
"""Who watches, and under which address."""

REASONS = frozenset({"stopped", "crashed", "gave-up", "node"})
"""Why an actor ended, as its watchers are told; ``not-running`` where it was not there to begin with."""

MISSED = 3
"""Heartbeats a node may miss before it is taken for dead."""


class Liveness:
    """Heartbeat and watching of one node."""

    def __init__(self, system: System, heartbeat_s: float) -> None:
        self.system = system
        self.heartbeat_s = heartbeat_s
        self.nodes: dict[str, tuple[float, float, int]] = {}
        self._watching: dict[str, set[Watch]] = {}
        self._watched_by: dict[Cell, list[set[Watch]]] = {}
        self._subscriptions: list[Subscription] = []
        self._scope: anyio.CancelScope | None = None
        self._epochs = itertools.count(1)

    async def open(self) -> None:
        """Start the heartbeat and listen for those of others."""
        bus = self._bus()
        self._subscriptions = [
            await bus.subscribe(HEARTBEAT, self._on_heartbeat),
            await bus.subscribe(DOWN, self._on_down),
            await bus.subscribe(f"{node_subject(self.system.node)}.watch", self._on_watch),
        ]
        self._scope = anyio.CancelScope()
        self.system.start_soon(self._beat, self._scope)

    async def close(self) -> None:
        """Say goodbye: watchers of this node's actors know at once."""
        if self._scope is not None:
            self._scope.cancel()
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
            self._note(watcher, ref, cell.watchers)
            return
        if not ref.node or self.system.bus is None:
            watcher.notify_down(ref, "not-running")
            return
        self._note(watcher, ref, self._watching.setdefault(str(ref), set()))
        await self._register(ref)

    def _note(self, watcher: Cell, ref: Ref, watchers: set[Watch]) -> None:
        watchers.add((watcher, ref))
        held = self._watched_by.setdefault(watcher, [])
        if not any(known is watchers for known in held):
            held.append(watchers)

    async def _register(self, ref: Ref) -> None:
        try:
            subject = f"{node_subject(ref.node)}.watch"
            answer = await self._bus().request(
                subject, encode({"address": str(ref)}), timeout_s=MISSED * self.heartbeat_s
            )
            running = bool(decode_any(answer.data).get("running"))
        except ChimeraError:
            self._gone(str(ref), "not-running")
            return
        if not running:
            self._gone(str(ref), "not-running")
        elif ref.node not in self.nodes:
            self._seen(ref.node, self.heartbeat_s, 0)

    def ended(self, cell: Cell, reason: str) -> None:
        """An actor of this node ended: tell local watchers and, if somebody asked for it, the other nodes."""
        reason = reason if reason in REASONS else "stopped"
        watchers, cell.watchers = cell.watchers, None
        self._tell(watchers or set(), reason)
        for watched in self._watched_by.pop(cell, ()):
            watched -= {watch for watch in watched if watch[0] is cell}
        if cell.remote_watched:
            notice = ActorDown(node=self.system.node, address=cell.address, reason=reason)
            self.system.start_soon(self._publish, DOWN, notice)

    # -- what comes in -------------------------------------------------------------------------------------------------

    def _on_heartbeat(self, delivery: Delivery) -> None:
        beat = decode(delivery.data, Heartbeat)
        if beat.node == self.system.node:
            return
        known = self.nodes.get(beat.node)
        if known is not None and beat.epoch <= known[2]:
            self._node_gone(beat.node)  # it began to count anew: it died and came back within its lease
        self._seen(beat.node, beat.interval_s, beat.epoch)

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
        self.system.start_soon(self._publish, delivery.reply, {"running": cell is not None})

    def _seen(self, node: str, interval_s: float, epoch: int) -> None:
        self.nodes[node] = (self.system.clock.monotonic(), interval_s, epoch)

    def _gone(self, address: str, reason: str) -> None:
        self._tell(self._watching.pop(address, set()), reason)

    def _tell(self, watchers: set[Watch], reason: str) -> None:
        for watcher, ref in watchers:
            held = [known for known in self._watched_by.get(watcher, ()) if known is not watchers]
            self._watched_by[watcher] = held
            if not held:
                del self._watched_by[watcher]
            watcher.notify_down(ref, reason)

    def _node_gone(self, node: str) -> None:
        self.nodes.pop(node, None)
        for address in [address for address in self._watching if address.endswith(f"@{node}")]:
            self._gone(address, "node")

    # -- what goes out -------------------------------------------------------------------------------------------------

    async def _beat(self, scope: anyio.CancelScope) -> None:
        system = self.system
        with scope:
            while not scope.cancel_called:
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
            self.nodes = {node: (now, interval, epoch) for node, (_, interval, epoch) in self.nodes.items()}
            return
        for node in [node for node, (at, interval, _) in self.nodes.items() if now - at > MISSED * interval]:
            self._node_gone(node)

    async def _publish(self, subject: str, message: Any) -> None:
        bus = self.system.bus
        if bus is None:
            return  # left meanwhile
        try:
            await bus.publish(subject, encode(message))
        except ChimeraError:
            return  # the lease says it, if the notice can't; who asked has a deadline

    def _bus(self) -> Any:
        return self.system.bus
