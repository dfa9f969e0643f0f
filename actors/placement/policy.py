"""Policies: among the nodes that fit, which one, and which of its devices. Equal inputs give equal decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .cluster import Cluster, Ints, Place
from .fragmentation import Floats, Fragmentation, after
from .mix import Mix, MixLearner
from .shape import Shape

PolicyName = Literal["default", "fgd", "best-fit", "spread"]
BIN_MILLI = 80.0
"""Gradients within so many milli-shares count as equal, and best fit decides: exact gradients place worse."""

_RELEARN_GROWTH = 0.15
"""The mix is computed anew when so many more requests, relative to the last time, are known."""

_MOST_MEMOS = 512


@dataclass(slots=True)
class _Memo:
    """Scores of one shape per node, and for which version of the node they were computed."""

    score: Ints
    device: Ints
    version: Ints


@dataclass(slots=True)
class Placer:
    """Decides where work goes, on one cluster.

    ``default`` descends the fragmentation gradient in bins with ties by exact best fit, and is plain best fit while the
    mix of work is not known well enough; ``fgd`` is the same with a mix that was given; ``spread`` takes the emptiest.

    Attributes:
        cluster: What is free.
        policy: See above.
        learner: Learns the mix of ``default``.
        mix: The mix in force.
    """

    cluster: Cluster
    policy: PolicyName = "default"
    learner: MixLearner = field(default_factory=MixLearner)
    mix: Mix = field(default_factory=lambda: Mix({}))
    _fragmentation: Fragmentation | None = None
    _now: Floats = field(default_factory=lambda: np.zeros(0))
    _now_version: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _memos: dict[Shape, _Memo] = field(default_factory=dict[Shape, _Memo])
    _learned_at: int = 0

    def __post_init__(self) -> None:
        """Prepare for a mix that was given."""
        self.use(self.mix)

    def use(self, mix: Mix) -> None:
        """Take another mix of typical work into account from now on."""
        self.mix = mix
        self._memos.clear()
        self._fragmentation = Fragmentation(self.cluster, mix) if mix.shares else None
        self._now_version = np.full(len(self.cluster.nodes), -1, dtype=np.int64)
        self._now = np.zeros(len(self.cluster.nodes))

    def place(self, shape: Shape) -> Place | None:
        """Take the best place for a shape; ``None`` if nothing fits."""
        if self.policy == "default":
            self._learn(shape)
        place = self.choose(shape)
        if place is not None:
            self.cluster.take(place, shape)
        return place

    def place_gang(self, shapes: Sequence[Shape]) -> list[Place] | None:
        """Places for all of them, or none at all; a piece may share a node with another."""
        places: list[Place] = []
        for shape in shapes:
            place = self.place(shape)
            if place is None:
                for taken, other in zip(places, shapes, strict=False):
                    self.cluster.give_back(taken, other)
                return None
            places.append(place)
        return places

    def choose(self, shape: Shape) -> Place | None:
        """The best place for a shape, without taking it."""
        nodes = self.cluster.fitting(shape)
        if not len(nodes):
            return None
        if self.policy == "spread":
            return self._on(int(nodes[np.argmax(self._left(nodes, shape))]), shape, -1)
        if self._fragmentation is None or self.policy == "best-fit":
            return self._on(int(nodes[np.argmin(self._left(nodes, shape))]), shape, -1)
        memo = self._scores(shape, nodes)
        scores = memo.score[nodes]
        best = nodes[scores == scores.max()]
        node = int(best[np.argmin(self._left(best, shape))])
        return self._on(node, shape, int(memo.device[node]))

    def fragmentation(self) -> float:
        """Idle compute that typical work can't use, in milli-shares of the whole cluster; 0 while no mix is known."""
        if self._fragmentation is None:
            return 0.0
        cluster = self.cluster
        return float(self._fragmentation.of(cluster.cpu, cluster.free, cluster.model).sum())

    def _learn(self, shape: Shape) -> None:
        self.learner.add(shape)
        # often while the mix is young, seldom when it hardly changes any more
        if self.learner.requests > self._learned_at * (1.0 + _RELEARN_GROWTH):
            mix = self.learner.mix()
            if mix.shares:
                self._learned_at = self.learner.requests
                self.use(mix)

    def _left(self, nodes: Ints, shape: Shape) -> Floats:
        """What would be left, processors and devices counting the same (largest node = 1)."""
        cluster = self.cluster
        cpu = (cluster.cpu[nodes] - shape.cpu_milli) / _most_cpu(cluster)
        devices = (cluster.free[nodes].sum(axis=1) - shape.total_milli) / _most_milli(cluster)
        return cpu + devices

    def _on(self, node: int, shape: Shape, device: int) -> Place:
        """The devices of a node: the one that was scored, else those with least left, so that whole ones stay whole."""
        if not shape.devices:
            return Place(node, ())
        if device >= 0:
            return Place(node, (device,))
        room = np.flatnonzero(self.cluster.open_devices(shape)[node])
        order = room[np.argsort(self.cluster.milli[node, room], kind="stable")]
        return Place(node, tuple(int(one) for one in order[: shape.devices]))

    def _scores(self, shape: Shape, nodes: Ints) -> _Memo:
        """How far the fragmentation falls on each node, in bins; only what changed is computed anew."""
        memo = self._memos.get(shape)
        if memo is None:
            if len(self._memos) >= _MOST_MEMOS:
                self._memos.pop(next(iter(self._memos)))
            count = len(self.cluster.nodes)
            memo = self._memos[shape] = _Memo(*(np.full(count, -1, dtype=np.int64) for _ in range(3)))
        stale = nodes[memo.version[nodes] != self.cluster.version[nodes]]
        if len(stale):
            self._score(shape, stale, memo)
            memo.version[stale] = self.cluster.version[stale]
        return memo

    def _score(self, shape: Shape, nodes: Ints, memo: _Memo) -> None:
        measure, cluster = self._fragmentation, self.cluster
        if measure is None:
            return
        self._refresh(nodes)
        cpu, free, model = cluster.cpu[nodes] - shape.cpu_milli, cluster.free[nodes], cluster.model[nodes]
        room = cluster.open_devices(shape)[nodes]
        if not shape.is_shared:
            memo.score[nodes] = _bins(self._now[nodes] - measure.of(cpu, after(shape, free, room), model))
            return
        rows, devices = np.nonzero(room)
        then = free[rows]
        then[np.arange(len(rows)), devices] -= shape.milli
        gain = _bins(self._now[nodes][rows] - measure.of(cpu[rows], then, model[rows]))
        order = np.lexsort((devices, -gain, rows))
        _, first = np.unique(rows[order], return_index=True)
        chosen = order[first]
        memo.score[nodes[rows[chosen]]] = gain[chosen]
        memo.device[nodes[rows[chosen]]] = devices[chosen]

    def _refresh(self, nodes: Ints) -> None:
        """The present fragmentation of nodes that changed."""
        cluster, measure = self.cluster, self._fragmentation
        stale = nodes[self._now_version[nodes] != cluster.version[nodes]]
        if len(stale) and measure is not None:
            self._now[stale] = measure.of(cluster.cpu[stale], cluster.free[stale], cluster.model[stale])
            self._now_version[stale] = cluster.version[stale]


def _bins(gain: Floats) -> Ints:
    # float noise must not move a gradient into the next bin
    return np.floor(np.round(gain, 6) / BIN_MILLI).astype(np.int64)


def _most_cpu(cluster: Cluster) -> int:
    return max(1, *(node.cpu_milli for node in cluster.nodes))


def _most_milli(cluster: Cluster) -> int:
    return max(1, *(node.devices * 1000 for node in cluster.nodes))
