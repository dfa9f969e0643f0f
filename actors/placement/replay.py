"""A trace replayed through the placement that the broker uses."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chimera.errors import BadMessageError

from .cluster import Cluster, Node
from .gradient import Gradient
from .mix import typical
from .policy import Placer, PolicyName
from .shape import Shape


@dataclass(frozen=True, slots=True)
class Curve:
    """One replay.

    Attributes:
        policy: The policy.
        seed: What the order of tasks was drawn from.
        load: Offered load in per cent of the cluster's device compute, at each point.
        allocated: Allocated device compute in per cent, at each point.
        fragmented: Idle compute that typical work can't use, in per cent of all compute, at the end.
        placed: Tasks placed.
        refused: Tasks that fit nowhere.
        decision_ms_p50: Median time of a decision, in ms.
        decision_ms_p99: 99th percentile of it.
    """

    policy: PolicyName
    seed: int
    load: list[float]
    allocated: list[float]
    fragmented: float
    placed: int
    refused: int
    decision_ms_p50: float
    decision_ms_p99: float


def offered(tasks: Sequence[Shape], milli: int, load: float, seed: int) -> list[Shape]:
    """The tasks in random order, then as many drawn from them again as bring the load to ``load`` times ``milli``.

    As the authors of the trace do it: until the next one drawn would exceed it. A trace that asks for more than that is
    cut off there.
    """
    rng = np.random.default_rng(seed)
    order = [tasks[int(index)] for index in rng.permutation(len(tasks)).tolist()]
    sofar = np.cumsum([task.total_milli for task in order])
    if sofar[-1] > load * milli:
        return order[: int(np.searchsorted(sofar, load * milli, side="right"))]
    total, drawn = int(sofar[-1]), list(order)
    while True:
        task = order[int(rng.integers(len(order)))]
        if total + task.milli > load * milli:
            return drawn
        total += task.total_milli
        drawn.append(task)


def replay(
    nodes: Sequence[Node], tasks: Sequence[Shape], policy: PolicyName = "default", *, load: float = 1.3, seed: int = 42,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Curve:  # fmt: skip
    """Place a trace's tasks one after the other as they arrive; nothing leaves.

    Args:
        nodes: The machines.
        tasks: What is drawn from.
        policy: The policy; ``fgd`` knows the trace's mix beforehand, ``default`` learns it.
        load: Offered load as a multiple of the cluster's device compute.
        seed: For the order.
        progress: Is told how many of how many tasks are done.

    Raises:
        BadMessageError: If the cluster has no devices or the tasks ask for none.
    """
    cluster = Cluster(nodes)
    if not cluster.total_milli or not any(task.devices for task in tasks):
        raise BadMessageError("the trace has no devices, or no task that asks for one")
    placer = Placer(cluster, policy)
    mix = typical(_counts(tasks))
    if policy == "fgd":
        placer.use(mix)
    queue = offered(tasks, cluster.total_milli, load, seed)
    arrived, took, placed = 0, np.zeros(len(queue)), 0
    loads, allocated = list[float](), list[float]()
    for index, task in enumerate(queue):
        began = time.perf_counter()
        placed += placer.place(task) is not None
        took[index] = time.perf_counter() - began
        arrived += task.total_milli
        if index % 100 == 0 or index == len(queue) - 1:
            progress(index + 1, len(queue))
            loads.append(100.0 * arrived / cluster.total_milli)
            allocated.append(100.0 * cluster.used_milli / cluster.total_milli)
    fragmented = Gradient(cluster, mix).fragmentation()
    p50, p99 = np.percentile(took * 1e3, [50, 99])
    return Curve(
        policy, seed, loads, allocated, 100.0 * fragmented / cluster.total_milli, placed,
        len(queue) - placed, float(p50), float(p99),
    )  # fmt: skip


def _counts(tasks: Sequence[Shape]) -> Mapping[Shape, float]:
    counts: dict[Shape, float] = {}
    for task in tasks:
        key = Shape(task.cpu_milli, 0, task.devices, task.milli, task.device_memory_mib, task.models)
        counts[key] = counts.get(key, 0.0) + 1.0
    return counts
