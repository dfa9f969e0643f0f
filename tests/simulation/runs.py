"""Many seeds on several processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.world import Outcome, simulate

_SLICE = 25


def run_slice(seeds: Sequence[int]) -> list[Outcome]:
    """Several seeds, one after the other: the work of a process."""
    return [simulate(seed) for seed in seeds]


def run_many(first: int, count: int, jobs: int) -> Iterator[Outcome]:
    """Every seed's outcome, on so many processes."""
    slices = [range(at, min(at + _SLICE, first + count)) for at in range(first, first + count, _SLICE)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for outcomes in pool.map(run_slice, slices):
            yield from outcomes
