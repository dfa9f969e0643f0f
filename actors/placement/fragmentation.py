"""How much idle device compute the typical work can't use: the measure that placement keeps low.

Weng, Yang, Yu, Wang, Tang, Yang, Zhang: "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation
Gradient Descent", USENIX ATC 2023, sections 4.2 and 4.3.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cluster import Cluster, Ints
from .mix import Mix
from .shape import Shape

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Room:
    """What typical work finds on nodes: for each size of share that is asked for, devices that have it.

    Attributes:
        idle: (n,) milli-shares left.
        open: (n, sizes) devices with at least so much left.
        usable: (n, sizes) milli-shares left on those.
    """

    idle: Ints
    open: Ints
    usable: Ints


class Fragmentation:
    """Expected unusable idle compute of nodes, in milli-shares, for one mix of typical shapes.

    For a typical shape that does not fit a node at all, all of the node's idle compute is lost; else what is left on
    devices that have less than the shape asks of each. So what is not lost is, summed over kinds of shapes (size of
    share, number of devices), the weight of the kind's shapes whose processors and model the node has, times what is
    left on devices with room for the size, if there are enough of them. The weight is a step function of the
    processors left, kept as a table.
    """

    def __init__(self, cluster: Cluster, mix: Mix) -> None:
        shapes = [shape for shape in mix.shares if shape.devices]
        sizes, kinds = {max(1, one.milli) for one in shapes}, {(max(1, one.milli), one.devices) for one in shapes}
        self._sizes: Ints = np.array(sorted(sizes), dtype=np.int64)
        order = sorted(kinds)
        self._size_of: Ints = np.searchsorted(self._sizes, np.array([size for size, _ in order], dtype=np.int64))
        self._count: Ints = np.array([count for _, count in order], dtype=np.int64)
        self._steps: Ints = np.array(sorted({shape.cpu_milli for shape in shapes}), dtype=np.int64)
        weight = np.zeros((len(cluster.models), len(self._steps) + 1, len(order)))
        for shape in shapes:
            step = int(np.searchsorted(self._steps, shape.cpu_milli)) + 1
            weight[cluster.allows(shape), step, order.index((max(1, shape.milli), shape.devices))] += mix.shares[shape]
        self._weight: Floats = weight.cumsum(axis=1)
        self._table: list[list[list[float]]] = self._weight.tolist()
        self._step_list: list[int] = self._steps.tolist()
        self._kinds = order

    @property
    def kinds(self) -> int:
        """Kinds of typical shapes: what the measure of one node costs grows with them."""
        return len(self._kinds)

    def room(self, free: Ints) -> Room:
        """What is left for each size of share; ``free`` is (n, d), milli-shares left per device."""
        enough = free[:, :, None] >= self._sizes
        return Room(free.sum(axis=1), enough.sum(axis=1), (free[:, :, None] * enough).sum(axis=1))

    def room_after(self, room: Room, left: Ints, milli: int) -> Room:
        """What is left if one device each, which has ``left`` (n,), gives ``milli``."""
        before, then = left[:, None], left[:, None] - milli
        had, has = before >= self._sizes, then >= self._sizes
        return Room(
            room.idle - milli, room.open - (had ^ has), room.usable - np.where(has, milli, np.where(had, before, 0))
        )

    def of(self, cpu: Ints, model: Ints, room: Room) -> Floats:
        """Expected fragmentation of nodes with so much left.

        Args:
            cpu: (n,) milli-processors left.
            model: (n,) index of the devices' model.
            room: What the devices have left.

        Returns:
            (n,) milli-shares.
        """
        weight = self._weight[model, np.searchsorted(self._steps, cpu, side="right")]
        fits = room.open[:, self._size_of] >= self._count
        return room.idle - (weight * fits * room.usable[:, self._size_of]).sum(axis=1)

    def of_one(self, cpu: int, model: int, free: Sequence[int]) -> float:
        """The same of one node, without arrays: for a few kinds of shapes that is several times as fast."""
        weights = self._table[model][bisect_right(self._step_list, cpu)]
        kept = 0.0
        for (size, count), weight in zip(self._kinds, weights, strict=True):
            if weight:
                usable = [left for left in free if left >= size]
                if len(usable) >= count:
                    kept += weight * sum(usable)
        return sum(free) - kept


def after(shape: Shape, free: Ints, open_devices: NDArray[np.bool_]) -> Ints:
    """(n, d) what is left if each node gives its first open devices to a shape that takes whole devices, or none."""
    if not shape.devices:
        return free
    chosen = open_devices & (np.cumsum(open_devices, axis=1) <= shape.devices)
    return free - chosen * shape.milli
