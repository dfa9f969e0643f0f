"""Evolution's engines on one function in this process, beside pygmo run bare, pymoo and DEAP.

Generations per second; generations until the error is small, on functions of several kinds; and the longest time for
which no other thread may run.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np

from actors.evolving.box import Array, Box
from actors.evolving.engine import Engine, Setup
from actors.evolving.engines import Name, make
from actors.evolving.map_elites import Axis
from actors.evolving.steady import Steady
from tests.bench import evolve_peers as peers
from tests.bench.figures import Benchmark, Figure, Rounds, Trial, ratio, unmeasured
from tests.bench.machine import OtherLoad
from tests.support.landscapes import LANDSCAPES, Landscape

GENES = 20
BOX = Box(np.full(GENES, -5.12), np.full(GENES, 5.12))
_SHIFT = np.random.default_rng(5).uniform(-2.0, 2.0, GENES)
LEAST_RATIO: dict[Name, float] = {"cmaes": 0.9, "nsga2": 0.9, "steady": 0.8, "gaco": 0.6}
"""Of pygmo bare. What gaco remembers is copied every generation, so that a failed measurement leaves it as it was; the
steady engine keeps records, names and limits, which cost 5 microseconds a genome."""

AHEAD: dict[Name, float | None] = {"cmaes": 5.0, "nsga2": 5.0, "steady": None}
"""How many times pymoo's generations per second are the least; its genetic algorithm has batches, ours has none."""

AHEAD_OF_DEAP: dict[Name, float | None] = {"cmaes": 3.0, "steady": None}
SMALL = 0.1
MOST = 100
SEED_NOISE = 1.5
"""What a median of five seeds may be above one of five others: fifteen seeds of gaco lie between 13 and 22."""

STALL_MS = 20.0
NEVER = 999


def measure(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """Speed, convergence, stalls; quick takes fewer rounds, seeds and the small population only."""
    sizes = (100,) if quick else (100, 1000)
    names: tuple[Name, ...] = ("cmaes", "gaco", "nsga2", "steady", "map-elites")
    found = [figure for size in sizes for name in names for figure in _speed(name, size, 3 if quick else 8)]
    for size in sizes:
        found += _convergence(size, range(3 if quick else 5))
    return [*found, *_stalls()]


def _rastrigin(rows: Array) -> Array:
    z = rows - _SHIFT
    return np.asarray(10.0 * GENES + (z * z - 10.0 * np.cos(2.0 * np.pi * z)).sum(axis=1))[:, None]


def _two(rows: Array) -> Array:
    return np.column_stack([_rastrigin(rows), (rows * rows).sum(axis=1)])


def _mapped(rows: Array) -> Array:
    return np.column_stack([_rastrigin(rows), rows[:, :2]])


_LOSSES: dict[Name, peers.Losses] = {"nsga2": _two, "map-elites": _mapped}


def _ours(name: Name, box: Box, losses: peers.Losses, size: int, seed: int) -> peers.Loop:
    """The engine, its first population measured; one genome at a time where nobody waits for a generation."""
    axes = (Axis(-5.12, 5.12, 50),) * 2 if name == "map-elites" else ()
    setup = Setup(size=size, seed=seed, objectives=2 if name == "nsga2" else 1)
    engine = make(name, box, setup, axes=axes)

    def steady(generations: int) -> Array:
        one, best, curve = cast("Steady", engine), np.inf, list[float]()
        for _ in range(generations + (one.asked == 0)):
            for _ in range(size):
                asked = one.ask()
                loss = float(losses(asked.vector[None])[0, 0])
                one.tell(asked.number, [loss])
                best = min(best, loss)
            curve.append(float(best))
        return np.array(curve)

    def generational(generations: int) -> Array:
        one = cast("Engine", engine)
        steps = [one.step(losses) for _ in range(generations + (one.generation == 0))]
        return np.minimum.accumulate([step.values[:, 0].min() for step in steps])

    return steady if name == "steady" else generational


def _speed(name: Name, size: int, rounds: int) -> Iterator[Figure]:
    losses, generations = _LOSSES.get(name, _rastrigin), 60 if size <= 100 else 10
    objectives = 2 if name == "nsga2" else 1
    ways: dict[str, Callable[[], Trial]] = {"ours": _timed(lambda: _ours(name, BOX, losses, size, 1), generations)}
    if name == "steady":
        ways["bare"] = _timed(lambda: peers.bare_steady(BOX, losses, size, 1), generations)
    elif name != "map-elites":
        ways["bare"] = _timed(lambda: peers.bare(name, BOX, losses, size, seed=1, objectives=objectives), generations)
    if name in AHEAD and not peers.PYMOO:
        ways["pymoo"] = _timed(lambda: peers.pymoo(name, BOX, losses, size, objectives), max(generations // 10, 3))
    if name in AHEAD_OF_DEAP and not peers.DEAP:
        ways["deap"] = _timed(lambda: peers.deap(name, BOX, losses, size), max(generations // 10, 3))
    taken = Rounds(ways, rounds)
    title = f"{name}, population {size}"
    yield taken.figure(f"{title}: generations a second", lambda one: one["ours"]["rate"], unit="/s")
    if "bare" in ways:
        yield taken.figure("  over pygmo bare", ratio("ours", "bare", "rate"), LEAST_RATIO[name])
    for peer, targets, why in (("pymoo", AHEAD, peers.PYMOO), ("deap", AHEAD_OF_DEAP, peers.DEAP)):
        if name in targets:
            label, target = f"  over {peer}", targets[name]
            if not why:
                yield taken.figure(label, ratio("ours", peer, "rate"), target)
            elif target is not None:
                yield unmeasured(label, why, target)


def _timed(prepare: Callable[[], peers.Loop], generations: int) -> Callable[[], Trial]:
    def trial() -> Trial:
        loop = prepare()
        loop(2)
        began = time.perf_counter()
        loop(generations)
        return {"rate": generations / (time.perf_counter() - began)}

    return trial


_KINDS: dict[Name, Sequence[str]] = {
    "cmaes": ("sphere", "ellipsoid", "rosenbrock", "griewank"),
    "gaco": ("sphere", "mixed"),
    "steady": ("sphere", "rastrigin", "mixed"),
}
"""What each engine is for. A genetic algorithm does not get there on rotated genes, CMA-ES not on separable valleys."""


def _convergence(size: int, seeds: range) -> Iterator[Figure]:
    """Generations until the error is at most 0.1: the median of the seeds, ours beside pygmo bare."""
    for name, kinds in _KINDS.items():
        for landscape in LANDSCAPES:
            if landscape.name in kinds:
                yield from _converged(name, landscape, size, seeds)


def _converged(name: Name, landscape: Landscape, size: int, seeds: range) -> Iterator[Figure]:
    load = OtherLoad()

    def losses(rows: Array) -> Array:
        return landscape.losses(rows)[:, None]

    def bare(seed: int) -> Array:
        if name == "steady":
            return peers.bare_steady(landscape.box, losses, size, seed)(MOST)
        return peers.bare_curve(name, landscape.box, losses, size, seed=seed, generations=MOST)

    ours = tuple(_reached(_ours(name, landscape.box, losses, size, seed)(MOST)) for seed in seeds)
    theirs = tuple(_reached(bare(seed)) for seed in seeds)
    middle = statistics.median(theirs)
    title = f"{name}, population {size}, {landscape.name}: generations to an error of {SMALL:g}"
    bound = middle * SEED_NOISE + 1.0
    yield Figure(title, statistics.median(ours), "", bound, "<=", ours, load.cores())
    yield Figure(f"  of pygmo bare ({NEVER} = not within {MOST})", middle, "", None, "<=", theirs, load.cores())


def _reached(curve: Array) -> float:
    below = np.flatnonzero(curve <= SMALL)
    return float(below[0]) if len(below) else float(NEVER)


def _stalls() -> Iterator[Figure]:
    """The longest time that another thread had to wait while a generation was bred in one."""
    for name in ("cmaes", "gaco", "nsga2", "steady", "map-elites"):
        for genes in (20, 81):
            if name == "gaco" and genes > 60:
                continue
            load = OtherLoad()
            found = tuple(_stall(name, genes) for _ in range(5))
            title = f"{name}, 1,000 genomes of {genes} genes: longest stall of another thread"
            yield Figure(title, statistics.median(found), "ms", STALL_MS, "<=", found, load.cores())


def _stall(name: Name, genes: int) -> float:
    box = Box(np.full(genes, -5.0), np.full(genes, 5.0))

    def losses(rows: Array) -> Array:
        time.sleep(0.01)  # as it waits for agents
        bowls = [((rows - 1.0) ** 2).sum(axis=1), ((rows + 1.0) ** 2).sum(axis=1)]
        return np.column_stack(bowls if name == "nsga2" else [bowls[0], rows[:, 0], rows[:, 1]])

    def single(rows: Array) -> Array:
        return losses(rows)[:, :1]

    def quick(rows: Array) -> Array:
        return ((rows - 1.0) ** 2).sum(axis=1)[:, None]

    figures = {"nsga2": losses, "map-elites": losses, "steady": quick}.get(name, single)
    loop = _ours(name, box, figures, 1000, 1)
    loop(1)
    gaps: list[float] = []
    over = threading.Event()

    def tick() -> None:
        last = time.perf_counter()
        while not over.is_set():
            time.sleep(0.0005)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticker, worker = threading.Thread(target=tick), threading.Thread(target=loop, args=(4,))
    ticker.start()
    worker.start()
    worker.join()
    over.set()
    ticker.join()
    return max(gaps) * 1e3


BENCHMARK = Benchmark(
    "evolve", "evolution's engines: speed and convergence beside pygmo run bare, pymoo, DEAP", measure
)
