"""Nodes and devices as arrays: what is free where, kept exact in integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chimera.errors import BadMessageError, ConflictError

from .shape import WHOLE, Shape

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
_ALL = slice(None)
_FEW = 4
"""Nodes up to which arrays cost more than they bring."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine with devices of one model; sizes as in ``Shape``."""

    name: str
    cpu_milli: int
    memory_mib: int
    devices: int = 0
    model: str = ""
    device_memory_mib: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a piece of work stands: the node's index, and its devices' indices on that node."""

    node: int
    devices: tuple[int, ...]


class Cluster:
    """What every node has left. ``version`` of a node grows with each change of it.

    ``free`` is (nodes, devices), the milli-shares left, 0 where a device may not be used; ``idle`` its sum per node.

    Args:
        nodes: The machines, in the order that decides between equals; names are unique.

    Raises:
        BadMessageError: If a name stands twice, or there is no node.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        if not nodes or len({node.name for node in nodes}) < len(nodes):
            raise BadMessageError("nodes: at least one, each name once")
        self.nodes = tuple(nodes)
        self.models = sorted({node.model for node in nodes})
        width = max(1, *(node.devices for node in nodes))
        here = np.arange(width)[None, :] < np.array([node.devices for node in nodes])[:, None]
        self.cpu: Ints = np.array([node.cpu_milli for node in nodes], dtype=np.int64)
        self.memory: Ints = np.array([node.memory_mib for node in nodes], dtype=np.int64)
        self.milli: Ints = np.where(here, WHOLE, 0).astype(np.int64)
        sizes = np.array([node.device_memory_mib for node in nodes], dtype=np.int64)
        self.device_memory: Ints = np.where(here, sizes[:, None], 0).astype(np.int64)
        self.model: Ints = np.array([self.models.index(node.model) for node in nodes], dtype=np.int64)
        self.usable: Mask = here.copy()
        self.version: Ints = np.zeros(len(nodes), dtype=np.int64)
        self.total_milli = int(self.milli.sum())
        self.used_milli = 0
        self.free: Ints = self.milli.copy()
        self.idle: Ints = self.free.sum(axis=1)
        self._count = np.array([node.devices for node in nodes], dtype=np.int64)

    def allows(self, shape: Shape) -> Mask:
        """Per model: whether the shape may use it."""
        return np.array([not shape.models or model in shape.models for model in self.models])

    def fitting(self, shape: Shape, among: Ints | None = None) -> Ints:
        """Indices of the nodes that can take the shape now, in order; ``among`` = only these are looked at."""
        if among is not None and len(among) <= _FEW:
            return np.array([node for node in among.tolist() if self._fits(shape, node)], dtype=np.int64)
        at = _ALL if among is None else among
        fits = (self.cpu[at] >= shape.cpu_milli) & (self.memory[at] >= shape.memory_mib)
        if shape.devices:
            fits &= self.open_devices(shape, at).sum(axis=1) >= shape.devices
            if shape.models:
                fits &= self.allows(shape)[self.model[at]]
        found = np.flatnonzero(fits)
        return found if among is None else among[found]

    def _fits(self, shape: Shape, node: int) -> bool:
        if self.cpu[node] < shape.cpu_milli or self.memory[node] < shape.memory_mib:
            return False
        if shape.devices and shape.models and self.models[self.model[node]] not in shape.models:
            return False
        return len(self.open_on(shape, node)) >= shape.devices

    def open_devices(self, shape: Shape, at: Ints | slice = _ALL) -> Mask:
        """Per node (of those ``at``) and device: whether it has enough left for one device's part of the shape."""
        room = self.usable[at] & (self.free[at] >= shape.milli)
        if shape.device_memory_mib:
            room &= self.device_memory[at] >= shape.device_memory_mib
        return room

    def open_on(self, shape: Shape, node: int) -> list[int]:
        """Of one node: the devices that have enough left for one device's part of the shape, in order."""
        if not shape.devices:
            return []
        rows = zip(self.free[node].tolist(), self.usable[node].tolist(), self.device_memory[node].tolist(), strict=True)
        return [
            device
            for device, (free, usable, memory) in enumerate(rows)
            if usable and free >= shape.milli and memory >= shape.device_memory_mib
        ]

    def take(self, place: Place, shape: Shape) -> None:
        """Give a place's resources to a piece of work.

        Raises:
            ConflictError: If the place does not have them; nothing was taken.
        """
        node, devices = place.node, list(place.devices)
        enough = self.cpu[node] >= shape.cpu_milli and self.memory[node] >= shape.memory_mib
        if len(set(devices)) != shape.devices or not enough or not self.open_devices(shape)[node, devices].all():
            raise ConflictError(f"{self.nodes[node].name} has not got what {shape} needs")
        self._change(place, shape, -1)

    def give_back(self, place: Place, shape: Shape) -> None:
        """Take a piece of work's resources back; exactly what ``take`` took."""
        self._change(place, shape, 1)

    def set_usable(self, node: int, device: int, *, usable: bool) -> None:
        """Open or close a device for new work; what runs on it stays counted."""
        if device >= self._count[node]:
            raise BadMessageError(f"{self.nodes[node].name} has no device {device}")
        self.usable[node, device] = usable
        self._changed(node)

    def tell(self, node: int, *, cpu_milli: int, memory_mib: int, devices: Sequence[tuple[int, int, bool]]) -> None:
        """Say what a node has left, for whoever keeps the books elsewhere.

        Args:
            node: Its index.
            cpu_milli: Processors left; below 0 counts as 0, as everything here.
            memory_mib: Main memory left.
            devices: For each of its devices, in order: milli-shares left, memory left in MiB, whether it may be used.

        Raises:
            BadMessageError: If there are not as many as the node has.
        """
        if len(devices) != self._count[node]:
            raise BadMessageError(f"{self.nodes[node].name} has {self._count[node]} devices, not {len(devices)}")
        self.cpu[node], self.memory[node] = max(0, cpu_milli), max(0, memory_mib)
        if devices:
            here = slice(0, len(devices))
            before, left = sum(self.milli[node].tolist()), [max(0, milli) for milli, _, _ in devices]
            self.milli[node, here] = left
            self.device_memory[node, here] = [max(0, memory) for _, memory, _ in devices]
            self.usable[node, here] = [usable for _, _, usable in devices]
            self.used_milli += before - sum(left)
        self._changed(node)

    def _change(self, place: Place, shape: Shape, sign: int) -> None:
        node, devices = place.node, list(place.devices)
        self.cpu[node] += sign * shape.cpu_milli
        self.memory[node] += sign * shape.memory_mib
        self.milli[node, devices] += sign * shape.milli
        self.device_memory[node, devices] += sign * shape.device_memory_mib
        self.used_milli -= sign * shape.total_milli
        self._changed(node)

    def _changed(self, node: int) -> None:
        self.free[node] = self.milli[node] * self.usable[node]
        self.idle[node] = sum(self.free[node].tolist())
        self.version[node] += 1
