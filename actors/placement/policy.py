"""Policies: among the nodes that fit, which one, and which of its devices. Equal inputs give equal decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .cluster import Cluster, Ints, Place
from .fragmentation import Floats
from .gradient import Gradient
from .mix import Mix, MixLearner
from .shape import WHOLE, Shape

PolicyName = Literal["default", "fgd", "best-fit", "spread"]

LEAN_CPU, LEAN_DEVICES = 50.0, 80.0
"""What a free machine's processors, and its devices, count for beside the gradient, in milli-shares.

The gradient alone fills machines evenly where processors are what runs out, and then places less than best fit does;
weighed much higher, best fit spoils the gradient. (Chosen on the openb trace and on mixes drawn from it.)
"""

_DIGITS, _MOST_GAINS = 6, 512
_RELEARN_GROWTH = 0.15
"""The mix is computed anew when so many more requests, relative to the last time, are known."""


@dataclass(slots=True)
class Gains:
    """Of one shape, per node: what placing it there is worth, and on which device; minus infinity = it does not fit.

    ``version`` says for which version of the node that was found.
    """

    gain: Floats
    device: Ints
    version: Ints


@dataclass(slots=True)
class Placer:
    """Decides where work goes, on one cluster.

    ``default`` descends the fragmentation gradient with a leaning to best fit, and is plain best fit while the mix of
    work is not known well enough; ``fgd`` is the same with a mix that was given; ``spread`` takes the emptiest.

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
    _gradient: Gradient | None = None
    _gains: dict[Shape, Gains] = field(default_factory=dict[Shape, Gains])
    _most: tuple[int, int] = (1, 1)
    _learned_at: int = 0

    def __post_init__(self) -> None:
        """Prepare for a mix that was given."""
        nodes = self.cluster.nodes
        self._most = max(1, *(one.cpu_milli for one in nodes)), max(1, *(one.devices * WHOLE for one in nodes))
        self.use(self.mix)

    def use(self, mix: Mix) -> None:
        """Take another mix of typical work into account from now on."""
        self.mix = mix
        self._gains.clear()
        self._gradient = Gradient(self.cluster, mix) if mix.shares else None

    def place(self, shape: Shape) -> Place | None:
        """Take the best place for a shape; ``None`` if nothing fits."""
        if self.policy == "default":
            self.learn(shape)
        place = self.choose(shape)
        if place is not None:
            self.cluster.take(place, shape)
        return place

    def learn(self, shape: Shape) -> None:
        """Count a request; the mix of ``default`` follows. ``place`` does it by itself, ``choose`` does not."""
        self.learner.add(shape)
        # often while the mix is young, seldom when it hardly changes any more
        if self.learner.requests > self._learned_at * (1.0 + _RELEARN_GROWTH):
            mix = self.learner.mix()
            if mix.shares:
                self._learned_at = self.learner.requests
                self.use(mix)

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
        if self._gradient is not None and self.policy in {"default", "fgd"}:
            return self._descend(self._gradient, shape)
        nodes = self.cluster.fitting(shape)
        if not len(nodes):
            return None
        left = self._left(nodes, shape)
        best = np.argmax(left) if self.policy == "spread" else np.argmin(left)
        return self._on(int(nodes[best]), shape, -1)

    def _descend(self, gradient: Gradient, shape: Shape) -> Place | None:
        gains = self._gains.get(shape)
        if gains is None:
            if len(self._gains) >= _MOST_GAINS:
                del self._gains[next(iter(self._gains))]
            count = len(self.cluster.nodes)
            gains = self._gains[shape] = Gains(
                np.full(count, -np.inf), np.full(count, -1, dtype=np.int64), np.full(count, -1, dtype=np.int64)
            )
        stale = np.flatnonzero(gains.version != self.cluster.version)
        if len(stale):
            self._renew(gradient, gains, shape, stale)
        node = int(gains.gain.argmax())
        return None if gains.gain[node] == -np.inf else self._on(node, shape, int(gains.device[node]))

    def _renew(self, gradient: Gradient, gains: Gains, shape: Shape, stale: Ints) -> None:
        nodes = self.cluster.fitting(shape, stale)
        gains.gain[stale] = -np.inf
        if len(nodes):
            scores = gradient.scores(shape, nodes)
            gain = scores.fall[nodes] - self._left(nodes, shape, LEAN_CPU, LEAN_DEVICES)
            gains.gain[nodes], gains.device[nodes] = gain.round(_DIGITS), scores.device[nodes]
        gains.version[stale] = self.cluster.version[stale]

    def fragmentation(self) -> float:
        """Idle compute that typical work can't use, in milli-shares of the whole cluster; 0 while no mix is known."""
        return 0.0 if self._gradient is None else self._gradient.fragmentation()

    def _left(self, nodes: Ints, shape: Shape, cpu: float = 1.0, devices: float = 1.0) -> Floats:
        """What would be left, weighed; the largest node has 1 of each."""
        left = (self.cluster.cpu[nodes] - shape.cpu_milli) * (cpu / self._most[0])
        return left + (self.cluster.idle[nodes] - shape.total_milli) * (devices / self._most[1])

    def _on(self, node: int, shape: Shape, device: int) -> Place:
        """The devices of a node: the one that was scored, else those with least left, so that whole ones stay whole."""
        if not shape.devices:
            return Place(node, ())
        if device >= 0:
            return Place(node, (device,))
        left: list[int] = self.cluster.milli[node].tolist()
        order = sorted(self.cluster.open_on(shape, node), key=left.__getitem__)
        return Place(node, tuple(order[: shape.devices]))
