"""A trace replayed for several seeds and policies: what is allocated, what is left in scraps, how long it takes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import get_args

import msgspec

from chimera.errors import BadMessageError
from chimera.pictures import Axis, Plot, Series, draw

from .policy import PolicyName
from .replay import Curve, replay
from .trace import find_files, read_nodes, read_tasks

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
FIRST_SEED = 42
"""The published replays of the openb trace use 42 and the nine after it."""


class Figures(msgspec.Struct, frozen=True):
    """What the replays of one policy gave, over seeds; shares in per cent of the cluster's device compute.

    Attributes:
        policy: The policy.
        seeds: Replays.
        allocated: Mean of what was allocated in the end.
        allocated_sd: Its standard deviation (of a sample; 0 for one seed).
        fragmented: Mean of what was idle and useless to typical work.
        refused: Mean share of tasks that fitted nowhere, in per cent.
        decision_ms_p50: Median over seeds of the median time of a decision, in ms.
        decision_ms_p99: Median over seeds of the 99th percentile.
        runs: Every replay.
    """

    policy: PolicyName
    seeds: int
    allocated: float
    allocated_sd: float
    fragmented: float
    refused: float
    decision_ms_p50: float
    decision_ms_p99: float
    runs: list[Curve]


class Study(msgspec.Struct, frozen=True):
    """The replays of a trace.

    Attributes:
        nodes: Machines.
        devices: Their devices.
        tasks: Tasks of the trace.
        load: Offered load in per cent.
        policies: One row for each.
    """

    nodes: int
    devices: int
    tasks: int
    load: float
    policies: list[Figures]


def study(
    trace: Path, nodes_file: Path | None = None, policies: Sequence[str] = ("default",), *, load: float = 130.0,
    seeds: int = 10, progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Study:  # fmt: skip
    """Replay a trace through the placement that the broker uses.

    Args:
        trace: A folder with a file of nodes and one of tasks, or the file of tasks.
        nodes_file: The file of nodes, if it can't be told.
        policies: Which ones.
        load: Offered load in per cent of the device compute.
        seeds: Replays of each.
        progress: Is told how many of how many placements are done.

    Raises:
        BadMessageError: If a file or an option is no good.
    """
    wanted: list[PolicyName] = [_policy(name) for name in dict.fromkeys(policies)]
    if not 0.0 < load <= 1_000.0 or not 1 <= seeds <= 1_000:  # noqa: PLR2004 - ten times the cluster is enough
        raise BadMessageError(f"load is {load:g} % and seeds is {seeds}: above 0 and at most 1000, both")
    machines_file, tasks_file = find_files(trace, nodes_file)
    nodes, tasks = read_nodes(machines_file), read_tasks(tasks_file)
    curves: list[Curve] = []

    def told(done: int, of: int) -> None:
        progress(len(curves) * of + done, len(wanted) * seeds * of)

    for policy, seed in product(wanted, range(FIRST_SEED, FIRST_SEED + seeds)):
        curve = replay(nodes, tasks, policy, load=load / 100.0, seed=seed, progress=told)
        curves.append(curve)
    rows = [_figures([curve for curve in curves if curve.policy == policy]) for policy in wanted]
    return Study(len(nodes), sum(node.devices for node in nodes), len(tasks), load, rows)


def picture(result: Study) -> str:
    """Allocation over offered load, as an SVG file: the mean of the seeds, with the lowest and the highest."""
    series = [_series(row) for row in result.policies]
    load, part = Axis("offered load, % of device compute"), Axis("allocated, %")
    return draw(Plot(f"{result.nodes} nodes, {result.devices} devices", load, part, series), standalone=True)


def _policy(name: str) -> PolicyName:
    for policy in POLICIES:
        if policy == name:
            return policy
    raise BadMessageError(f"there is no policy {name!r}", hint=f"there are: {', '.join(POLICIES)}")


def _figures(runs: list[Curve]) -> Figures:
    final = [run.allocated[-1] for run in runs]
    return Figures(
        runs[0].policy, len(runs), statistics.mean(final), statistics.stdev(final) if len(runs) > 1 else 0.0,
        statistics.mean(run.fragmented for run in runs),
        statistics.mean(100.0 * run.refused / (run.placed + run.refused) for run in runs),
        statistics.median(run.decision_ms_p50 for run in runs), statistics.median(run.decision_ms_p99 for run in runs),
        runs,
    )  # fmt: skip


def _series(row: Figures) -> Series:
    import numpy as np  # noqa: PLC0415 - only a picture needs it here

    top = min(run.load[-1] for run in row.runs)
    grid = np.linspace(0.0, top, 131)
    lines = np.array([np.interp(grid, run.load, run.allocated) for run in row.runs])
    points = list(zip(grid.tolist(), lines.mean(axis=0).tolist(), strict=True))
    low, high = lines.min(axis=0).tolist(), lines.max(axis=0).tolist()
    return Series(f"{row.policy} {row.allocated:.2f} %", points, low=low, high=high)
