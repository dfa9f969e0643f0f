"""How far the fragmentation would fall on each node if a shape were placed there, remembered per shape and node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .cluster import Cluster, Ints
from .fragmentation import Floats, Fragmentation, Room, after
from .mix import Mix
from .shape import Shape

_MOST_MEMOS = 512
_FEW_NODES, _FEW_KINDS = 4, 24
"""Up to so many nodes and kinds of typical shapes, arrays cost more than they bring."""

_DIGITS = 6
"""Noise of floats must not decide between devices."""


@dataclass(slots=True)
class Scores:
    """Of one kind of shape, per node.

    Attributes:
        fall: How far the fragmentation falls, in milli-shares.
        device: For a shape that shares a device, the device on which it falls furthest; else -1.
        version: For which version of the node that was computed.
    """

    fall: Floats
    device: Ints
    version: Ints


class Gradient:
    """Scores nodes of a cluster for one mix of typical work; only what changed is computed anew."""

    def __init__(self, cluster: Cluster, mix: Mix) -> None:
        self._cluster = cluster
        self._measure = Fragmentation(cluster, mix)
        self._known: dict[tuple[int, int, int, int], Scores] = {}
        self._room = self._measure.room(cluster.free)
        self._now = self._measure.of(cluster.cpu, cluster.model, self._room)
        self._version = cluster.version.copy()

    def fragmentation(self) -> float:
        """Idle compute that typical work can't use, in milli-shares of the whole cluster."""
        self._refresh(np.arange(len(self._now)))
        return float(self._now.sum())

    def scores(self, shape: Shape, nodes: Ints) -> Scores:
        """The scores of a shape, up to date for these nodes, all of which can take it."""
        key = (shape.cpu_milli, shape.devices, shape.milli, shape.device_memory_mib)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST_MEMOS:
                self._known.pop(next(iter(self._known)))
            none = np.full(len(self._now), -1, dtype=np.int64)
            known = self._known[key] = Scores(np.zeros(len(self._now)), none, none.copy())
        stale = nodes[known.version[nodes] != self._cluster.version[nodes]]
        if 0 < len(stale) <= _FEW_NODES and self._measure.kinds <= _FEW_KINDS:
            for node in stale.tolist():
                self._one(shape, node, known)
        elif len(stale):
            self._refresh(stale)
            (self._share if shape.is_shared else self._whole)(shape, stale, known)
            known.version[stale] = self._cluster.version[stale]
        return known

    def _refresh(self, nodes: Ints) -> None:
        """The present state of nodes that changed."""
        cluster, room = self._cluster, self._room
        stale = nodes[self._version[nodes] != cluster.version[nodes]]
        if len(stale):
            new = self._measure.room(cluster.free[stale])
            room.idle[stale], room.open[stale], room.usable[stale] = new.idle, new.open, new.usable
            self._now[stale] = self._measure.of(cluster.cpu[stale], cluster.model[stale], new)
            self._version[stale] = cluster.version[stale]

    def _one(self, shape: Shape, node: int, known: Scores) -> None:
        """The score of one node, without arrays."""
        cluster, measure = self._cluster, self._measure
        cpu, model = int(cluster.cpu[node]), int(cluster.model[node])
        free: list[int] = cluster.free[node].tolist()
        now, left = measure.of_one(cpu, model, free), cpu - shape.cpu_milli
        room = cluster.open_on(shape, node)
        if shape.is_shared:
            first = {free[device]: device for device in reversed(room)}  # equally much left is the same score
            falls = [
                (round(now - measure.of_one(left, model, _less(free, (device,), shape.milli)), _DIGITS), -device)
                for device in first.values()
            ]
            fall, device = max(falls)
            known.fall[node], known.device[node] = fall, -device
        else:
            then = measure.of_one(left, model, _less(free, room[: shape.devices], shape.milli))
            known.fall[node] = now - then
        known.version[node] = cluster.version[node]

    def _whole(self, shape: Shape, nodes: Ints, known: Scores) -> None:
        cluster, room = self._cluster, self._part(nodes)
        if shape.devices:
            room = self._measure.room(after(shape, cluster.free[nodes], cluster.open_devices(shape, nodes)))
        then = self._measure.of(cluster.cpu[nodes] - shape.cpu_milli, cluster.model[nodes], room)
        known.fall[nodes] = self._now[nodes] - then

    def _share(self, shape: Shape, nodes: Ints, known: Scores) -> None:
        rows, devices = self._candidates(shape, nodes)
        at, cluster = nodes[rows], self._cluster
        room = self._measure.room_after(self._part(at), cluster.free[at, devices], shape.milli)
        then = self._measure.of(cluster.cpu[at] - shape.cpu_milli, cluster.model[at], room)
        fall = np.round(self._now[at] - then, _DIGITS)
        order = np.lexsort((devices, -fall, rows))
        first = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
        known.fall[at[first]], known.device[at[first]] = fall[first], devices[first]

    def _candidates(self, shape: Shape, nodes: Ints) -> tuple[Ints, Ints]:
        """Rows and devices to try: of those of a node with equally much left, only the first."""
        cluster = self._cluster
        left = np.where(cluster.open_devices(shape, nodes), cluster.free[nodes], -1)
        order = np.argsort(left, axis=1, kind="stable")
        sorted_left = np.take_along_axis(left, order, axis=1)
        rows, columns = np.nonzero(np.diff(sorted_left, axis=1, prepend=-1))
        return rows, order[rows, columns]

    def _part(self, nodes: Ints) -> Room:
        return Room(self._room.idle[nodes], self._room.open[nodes], self._room.usable[nodes])


def _less(free: Sequence[int], devices: Sequence[int], milli: int) -> list[int]:
    left = list(free)
    for device in devices:
        left[device] -= milli
    return left
