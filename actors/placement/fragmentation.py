"""How much idle device compute the typical work can't use: the measure that placement keeps low.

Weng, Yang, Yu, Wang, Tang, Yang, Zhang: "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation
Gradient Descent", USENIX ATC 2023, sections 4.2 and 4.3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cluster import Cluster, Ints
from .mix import Mix
from .shape import Shape

Floats = NDArray[np.float64]


class Fragmentation:
    """Expected unusable idle compute of nodes, in milli-shares, for one mix of typical shapes.

    For a typical shape that does not fit a node at all, all of the node's idle compute is lost; else what is left on
    devices that have less than the shape asks of each.
    """

    def __init__(self, cluster: Cluster, mix: Mix) -> None:
        shapes = [shape for shape in mix.shares if shape.devices]
        shares = [mix.shares[shape] for shape in shapes]
        self._without = sum(share for shape, share in mix.shares.items() if not shape.devices)
        self._cpu: Ints = np.array([shape.cpu_milli for shape in shapes], dtype=np.int64)
        self._count: Ints = np.array([shape.devices for shape in shapes], dtype=np.int64)
        self._share: Floats = np.array(shares, dtype=np.float64)
        self._allowed = (
            np.array([cluster.allows(shape) for shape in shapes]).reshape(len(shapes), len(cluster.models)).T
        )
        # shapes that ask the same of each device share the costly comparison
        asked = np.array([shape.milli for shape in shapes], dtype=np.int64)
        self._asks, self._which = np.unique(asked, return_inverse=True)

    def of(self, cpu: Ints, free: Ints, model: Ints) -> Floats:
        """Expected fragmentation of nodes with so much left.

        Args:
            cpu: (n,) milli-processors left.
            free: (n, d) milli-shares left per device.
            model: (n,) index of the devices' model.

        Returns:
            (n,) milli-shares.
        """
        idle = free.sum(axis=1).astype(np.float64)
        if not len(self._share):
            return idle * self._without
        enough = free[:, None, :] >= self._asks[None, :, None]
        open_devices = enough.sum(axis=2)[:, self._which]
        scraps: Floats = (free[:, None, :] * ~enough).sum(axis=2).astype(np.float64)[:, self._which]
        fits = (open_devices >= self._count) & (cpu[:, None] >= self._cpu) & self._allowed[model]
        unused: Floats = scraps * fits + idle[:, None] * ~fits
        return idle * self._without + np.einsum("ns,s->n", unused, self._share)


def after(shape: Shape, free: Ints, open_devices: NDArray[np.bool_]) -> Ints:
    """(n, d) what is left if each node gives its first open devices to a shape that takes whole devices, or none."""
    if not shape.devices:
        return free
    chosen = open_devices & (np.cumsum(open_devices, axis=1) <= shape.devices)
    return free - chosen * shape.milli
