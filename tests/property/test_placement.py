"""Placement: capacity is never exceeded, what is given back is whole again, and equal inputs give equal decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.placement.cluster import Cluster, Node, Place
from actors.placement.mix import MixLearner, typical
from actors.placement.policy import Placer, PolicyName
from actors.placement.replay import offered, replay
from actors.placement.shape import Shape
from actors.placement.trace import read_nodes, read_tasks
from chimera.errors import BadMessageError, ConflictError

POLICIES: list[PolicyName] = ["default", "fgd", "best-fit", "spread"]
NODES = [Node(f"n{number}", 32_000, 65_536, number % 5, "AB"[number % 2], 16_384) for number in range(12)]


def shapes() -> st.SearchStrategy[Shape]:
    """Work of every kind that is allowed."""
    cpu, memory = st.integers(0, 16_000), st.integers(0, 32_768)
    models = st.sampled_from([frozenset[str](), frozenset("A"), frozenset("AB"), frozenset("C")])
    none = st.builds(Shape, cpu, memory)
    part = st.builds(Shape, cpu, memory, st.just(1), st.integers(1, 999), st.integers(0, 16_384), models)
    whole = st.builds(Shape, cpu, memory, st.integers(1, 4), st.just(1000), st.just(0), models)
    return st.one_of(none, part, whole)


def state(cluster: Cluster) -> list[list[int]]:
    """Everything that is left."""
    arrays = (cluster.cpu, cluster.memory, cluster.milli.ravel(), cluster.device_memory.ravel())
    return [array.tolist() for array in arrays]


@settings(max_examples=60)
@given(st.lists(st.tuples(shapes(), st.integers(0, 30)), max_size=60), st.sampled_from(POLICIES))
def test_capacity_is_kept_and_comes_back(steps: list[tuple[Shape, int]], policy: PolicyName) -> None:
    """Whatever is placed and given back: nothing goes below zero, and at the end all is as before."""
    cluster = Cluster(NODES)
    before = state(cluster)
    placer = Placer(cluster, policy, mix=typical({shape: 1.0 for shape, _ in steps}))
    taken: list[tuple[Place, Shape]] = []
    for shape, drop in steps:
        place = placer.place(shape)
        if place is not None:
            assert len(set(place.devices)) == shape.devices
            assert not shape.models or NODES[place.node].model in shape.models
            taken.append((place, shape))
        if taken and drop < len(taken):
            cluster.give_back(*taken.pop(drop))
        assert all(min(values) >= 0 for values in state(cluster))
        assert cluster.used_milli == sum(one.total_milli for _, one in taken)
    for place, shape in taken:
        cluster.give_back(place, shape)
    assert state(cluster) == before


@settings(max_examples=30)
@given(st.lists(shapes(), min_size=1, max_size=40))
def test_remembered_scores_equal_fresh_ones(work: list[Shape]) -> None:
    """What is remembered per shape decides as a placer would that computes everything anew."""
    mix = typical(dict.fromkeys(work, 1.0))
    one, two = Cluster(NODES), Cluster(NODES)
    placer = Placer(one, "fgd", mix=mix)
    for shape in work:
        expected = Placer(two, "fgd", mix=mix).place(shape)
        assert placer.place(shape) == expected


@settings(max_examples=30)
@given(st.lists(shapes(), min_size=1, max_size=8))
def test_a_gang_is_placed_whole_or_not_at_all(work: list[Shape]) -> None:
    """If one part finds no place, every part is given back."""
    cluster = Cluster(NODES[:4])
    before = state(cluster)
    places = Placer(cluster, "best-fit").place_gang(work)
    if places is None:
        assert state(cluster) == before
    else:
        assert len(places) == len(work)


def test_a_closed_device_takes_nothing_new() -> None:
    """A drained or sick device is passed over until it is opened again; what runs on it stays counted."""
    cluster = Cluster([Node("a", 8_000, 8_192, 1)])
    placer, half = Placer(cluster, "best-fit"), Shape(devices=1, milli=500)
    assert placer.place(half) == Place(0, (0,))
    cluster.set_usable(0, 0, usable=False)
    assert placer.place(half) is None
    cluster.set_usable(0, 0, usable=True)
    assert placer.place(half) == Place(0, (0,))
    with pytest.raises(BadMessageError, match="no device 1"):
        cluster.set_usable(0, 1, usable=False)


def test_taking_what_is_not_there_changes_nothing() -> None:
    """A place is checked again when it is taken."""
    cluster = Cluster([Node("a", 1_000, 1_000, 1)])
    before = state(cluster)
    two = Shape(devices=2, milli=1000)
    for shape, devices in ((Shape(cpu_milli=2_000), ()), (two, (0, 0)), (Shape(memory_mib=9_999), ())):
        place = Place(0, devices)
        with pytest.raises(ConflictError):
            cluster.take(place, shape)
    assert state(cluster) == before


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"cpu_milli": -1}, "cpu_milli"), ({"devices": 2, "milli": 500}, "whole"), ({"milli": 1001}, "milli"),
        ({"devices": 1}, "milli"), ({"devices": 65, "milli": 1000}, "devices"),
    ],
)  # fmt: skip
def test_a_shape_that_makes_no_sense_is_refused(fields: dict[str, Any], word: str) -> None:
    """The error names the field."""
    with pytest.raises(BadMessageError, match=word):
        Shape(**fields)


def test_the_mix_forgets() -> None:
    """Work that is no longer asked for fades; the shares add up to one."""
    learner = MixLearner(half_life=10)
    old, new = Shape(devices=1, milli=100), Shape(devices=1, milli=200)
    for _ in range(100):
        learner.add(old)
    for _ in range(100):
        learner.add(new)
    shares = learner.mix().shares
    assert shares[new] > 0.95
    assert sum(shares.values()) == pytest.approx(1.0)


def synthetic(folder: Path) -> tuple[Path, Path]:
    """A small trace in the same format."""
    rng = np.random.default_rng(1)
    nodes = [
        "sn,cpu_milli,memory_mib,gpu,model",
        *(f"n{i},64000,262144,{(i % 3) * 4},{'VT'[i % 2]}" for i in range(30)),
    ]
    tasks = ["name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos"]
    for number in range(90):
        kind = int(rng.integers(4))
        count, milli = [(0, 0), (1, int(rng.integers(1, 10)) * 100), (1, 1000), (int(rng.integers(1, 4)), 1000)][kind]
        tasks.append(
            f"t{number},{int(rng.integers(1, 16)) * 1000},{int(rng.integers(1, 64)) * 1024},{count},{milli},,LS"
        )
    (folder / "nodes.csv").write_text("\n".join(nodes))
    (folder / "tasks.csv").write_text("\n".join(tasks))
    return folder / "nodes.csv", folder / "tasks.csv"


def test_a_replay_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """Policy and seed decide everything but the time it takes; the offered load is what was asked for."""
    files = synthetic(tmp_path)
    nodes, tasks = read_nodes(files[0]), read_tasks(files[1])
    told: list[tuple[int, int]] = []
    one = replay(nodes, tasks, "default", seed=3, progress=lambda done, of: told.append((done, of)))
    two = replay(nodes, tasks, "default", seed=3)
    assert (one.load, one.allocated, one.refused) == (two.load, two.allocated, two.refused)
    assert one.allocated == sorted(one.allocated)
    assert told[-1][0] == told[-1][1] == one.placed + one.refused
    milli = sum(node.devices for node in nodes) * 1000
    assert 1.2 * milli < sum(task.total_milli for task in offered(tasks, milli, 1.3, 3)) <= 1.3 * milli


def test_a_broken_trace_names_the_line(tmp_path: Path) -> None:
    """A wrong number or a missing column is the file's fault, and the message says where."""
    path = tmp_path / "nodes.csv"
    path.write_text("sn,cpu_milli,memory_mib,gpu,model\na,64000,262144,many,V\n")
    with pytest.raises(BadMessageError, match="line 2: gpu is 'many'"):
        read_nodes(path)
    path.write_text("sn,cpu_milli\n")
    with pytest.raises(BadMessageError, match="memory_mib"):
        read_nodes(path)
    with pytest.raises(BadMessageError, match="can't be read"):
        read_nodes(tmp_path / "nowhere.csv")
