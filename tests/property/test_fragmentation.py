"""The fast measure of fragmentation is the published one, and falls by what placing really changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.placement.cluster import Cluster, Node, Place
from actors.placement.fragmentation import Fragmentation
from actors.placement.gradient import Gradient
from actors.placement.mix import Mix, typical
from actors.placement.shape import Shape

NODES = [Node(f"n{number}", 8_000 + 8_000 * (number % 3), 65_536, number % 5, "AB"[number % 2]) for number in range(10)]


def shapes() -> st.SearchStrategy[Shape]:
    """Work of every kind, in sizes that meet one another."""
    cpu = st.integers(0, 12).map(lambda one: one * 1_000)
    models = st.sampled_from([frozenset[str](), frozenset("A"), frozenset("C")])
    none = st.builds(Shape, cpu)
    part = st.builds(Shape, cpu, st.just(0), st.just(1), st.sampled_from([100, 250, 500, 750]), st.just(0), models)
    whole = st.builds(Shape, cpu, st.just(0), st.integers(1, 4), st.just(1000), st.just(0), models)
    return st.one_of(none, part, whole)


def by_definition(cluster: Cluster, mix: Mix, node: int) -> float:
    """Weng et al., section 4.2: over typical shapes, the idle compute of a node that the shape can't use."""
    total = 0.0
    free = cluster.free[node].tolist()
    for shape, share in mix.shares.items():
        open_devices = [left for left in free if left >= max(1, shape.milli)]
        fits = cluster.cpu[node] >= shape.cpu_milli and len(open_devices) >= shape.devices
        allowed = not shape.models or cluster.nodes[node].model in shape.models
        if shape.devices and fits and allowed:
            total += share * (sum(free) - sum(open_devices))
        else:
            total += share * sum(free)
    return total


def filled(work: list[Shape]) -> Cluster:
    """A cluster on which work was put wherever it fitted first."""
    cluster = Cluster(NODES)
    for shape in work:
        nodes = cluster.fitting(shape)
        if len(nodes):
            node = int(nodes[0])
            devices = np.flatnonzero(cluster.open_devices(shape)[node])[: shape.devices]
            cluster.take(Place(node, tuple(devices.tolist())), shape)
    return cluster


@settings(max_examples=80)
@given(st.lists(shapes(), max_size=12), st.lists(shapes(), min_size=1, max_size=10), st.integers(0, 39))
def test_the_measure_is_the_published_one(work: list[Shape], asked: list[Shape], closed: int) -> None:
    """On every node, whatever is taken, closed, typical."""
    cluster, mix = filled(work), typical(dict.fromkeys(asked, 1.0))
    node, device = closed % len(NODES), closed // len(NODES)
    if device < NODES[node].devices:
        cluster.set_usable(node, device, usable=False)
    measure = Fragmentation(cluster, mix)
    fast = measure.of(cluster.cpu, cluster.model, measure.room(cluster.free))
    assert fast.tolist() == pytest.approx([by_definition(cluster, mix, at) for at in range(len(NODES))], abs=1e-6)


@settings(max_examples=80)
@given(st.lists(shapes(), max_size=8), st.lists(shapes(), min_size=1, max_size=6), shapes())
def test_few_nodes_are_scored_as_many_are(work: list[Shape], asked: list[Shape], shape: Shape) -> None:
    """Node by node, without arrays, the scores and devices are those of all nodes at once."""
    cluster, mix = filled(work), typical(dict.fromkeys(asked, 1.0))
    nodes = cluster.fitting(shape)
    alone, together = Gradient(cluster, mix), Gradient(cluster, mix)
    if len(nodes) > 4:
        every = together.scores(shape, nodes)
        one = [alone.scores(shape, np.array([node])) for node in nodes.tolist()][-1]
        assert one.fall[nodes].tolist() == pytest.approx(every.fall[nodes].tolist(), abs=1e-6)
        assert one.device[nodes].tolist() == every.device[nodes].tolist()


@settings(max_examples=80)
@given(st.lists(shapes(), max_size=8), st.lists(shapes(), min_size=1, max_size=10), shapes())
def test_a_score_is_what_placing_changes(work: list[Shape], asked: list[Shape], shape: Shape) -> None:
    """For each node that fits: the score, and on which device of it, is what the definition says before and after."""
    cluster, mix = filled(work), typical(dict.fromkeys(asked, 1.0))
    nodes = cluster.fitting(shape)
    if not len(nodes):
        return
    scores = Gradient(cluster, mix).scores(shape, nodes)
    for node in nodes.tolist():
        open_devices = np.flatnonzero(cluster.open_devices(shape)[node]).tolist()
        choices = [(at,) for at in open_devices] if shape.is_shared else [tuple(open_devices[: shape.devices])]
        before, falls = by_definition(cluster, mix, node), dict[tuple[int, ...], float]()
        for devices in choices:
            cluster.take(Place(node, devices), shape)
            falls[devices] = before - by_definition(cluster, mix, node)
            cluster.give_back(Place(node, devices), shape)
        chosen = (int(scores.device[node]),) if shape.is_shared else choices[0]
        assert scores.fall[node] == pytest.approx(max(falls.values()), abs=1e-5)
        assert falls[chosen] == pytest.approx(max(falls.values()), abs=1e-5)
