"""Proposals: time per decision, and how near the optimum they come, beside optuna's TPE run bare in the same run.

``bayesian`` is held to the same points, to the last bit, as TPE run bare with the same seed for each trial. TPE run
bare in the usual way, one random state for all trials, finds other points; there the difference is a matter of seeds,
and an interval of the ratio of the medians says how much of it.

``gp`` is held against optuna's GPSampler on ten seeds, which was measured once (``gpsampler.py``), in the same way.
Functions are those of the usual optimization papers, with optima off the centre.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import msgspec
import numpy as np
import optuna

from actors.tuning import Study
from actors.tuning.cube import Array
from actors.tuning.proposer import seed_of
from tests.bench.figures import Benchmark, Figure
from tests.bench.gpsampler import KNOWN
from tests.bench.machine import OtherLoad
from tests.support.tuning import HARTMANN6, box, branin, gardner, hartmann6, numbers, plan_of

Row = Sequence[float]
AT = (50, 100)
SURE = 0.975
"""How sure an interval is on each side."""

DRAWS = 4000

_SHIFT = np.random.default_rng(1000).uniform(-2.5, 6.0, 10)


@dataclass(frozen=True, slots=True)
class Task:
    """A function to minimise, its bounds and least value, and its noise."""

    name: str
    low: Row
    high: Row
    least: float
    true: Callable[[Row], float]
    noise: float = 0.0


def ackley(x: Row) -> float:
    """Ackley's function about a place off the centre (Ackley, 1987)."""
    z = np.asarray(x) - _SHIFT
    wave = float(np.exp(np.cos(2 * np.pi * z).mean()))
    return -20.0 * float(np.exp(-0.2 * np.sqrt((z * z).mean()))) - wave + 20.0 + float(np.e)


def rosenbrock(x: Row) -> float:
    """Rosenbrock's valley (1960); in five dimensions it has a second valley that ends at 3.93."""
    z = np.asarray(x)
    return float((100.0 * (z[1:] - z[:-1] ** 2) ** 2 + (1.0 - z[:-1]) ** 2).sum())


TASKS = (
    Task("Branin", (-5.0, 0.0), (10.0, 15.0), 0.397887, branin),
    Task("Hartmann-6", (0.0,) * 6, (1.0,) * 6, HARTMANN6, hartmann6),
    Task("Ackley-10", (-5.0,) * 10, (10.0,) * 10, 0.0, ackley),
    Task("Rosenbrock-5", (-2.048,) * 5, (2.048,) * 5, 0.0, rosenbrock),
    Task("noisy Hartmann-6", (0.0,) * 6, (1.0,) * 6, HARTMANN6, hartmann6, noise=0.3),
)


def measure(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - the one argument of a benchmark
    """Decisions first, then limits and regrets; quick takes fewer seeds and functions."""
    seeds = range(3 if quick else 10)
    yield from _decisions(quick)
    yield from _limits(seeds)
    for task in TASKS[:2] if quick else TASKS:
        yield from _regrets(task, seeds)


def _decisions(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - handed through
    for algorithm, p50, p99 in (("bayesian", 10.0, 50.0), ("gp", 60.0, None), ("cmaes", None, None)):
        load = OtherLoad()
        both = [cost for seed in range(1 if quick else 3) for cost in _asking(algorithm, seed)]
        times, work = [passed for passed, _ in both], [worked for _, worked in both]
        tail, hard = float(np.percentile(times, 99)), float(np.percentile(work, 99))
        name = f"{algorithm}: a decision at 150 to 200 trials in 6 dimensions, log included"
        yield Figure(f"{name}, p50", statistics.median(times), "ms", p50, "<=", tuple(times), load.cores())
        yield Figure("  p99", tail, "ms", p99, "<=", (tail,), load.cores())
        # what other work on the machine does not stretch
        yield Figure(
            "  processor time of it, p50", statistics.median(work), "ms", None, "<=", tuple(work), load.cores()
        )
        yield Figure("  p99", hard, "ms", None, "<=", (hard,), load.cores())


def _asking(algorithm: str, seed: int) -> list[tuple[float, float]]:
    """Milliseconds, and those of them on the processor, from the question to the applied event, written to a log.

    Of the last 50 of 200 trials.
    """
    study = Study(plan_of(algorithm, genome=box([0] * 6, [1] * 6), seed=seed, start_known=False))
    times: list[tuple[float, float]] = []
    with tempfile.TemporaryFile("w+") as log:
        for number in range(200):
            began, worked = time.perf_counter(), time.thread_time()
            asked = study.ask(0.0)
            _write(log, asked)
            study.apply(asked)
            value = hartmann6(numbers(asked.point))
            told = study.tell(number, 0.0, value)
            _write(log, told)
            study.apply(told)
            times.append(((time.perf_counter() - began) * 1e3, (time.thread_time() - worked) * 1e3))
    return times[150:]


def _write(log: TextIO, event: msgspec.Struct) -> None:
    log.write(msgspec.json.encode(event).decode() + "\n")
    log.flush()


def _regrets(task: Task, seeds: range) -> Iterator[Figure]:
    load = OtherLoad()
    ways: dict[str, Callable[[int], Search]] = {
        "bayesian": lambda seed: _ours("bayesian", task, seed),
        "same": lambda seed: _bare(task, lambda number: seed_of(seed, number)),
        "bare": lambda seed: _bare(task, lambda number: seed if number == 0 else None),
        "gp": lambda seed: _ours("gp", task, seed),
    }
    curves = {way: [_curve(task, seed, search(seed)) for seed in seeds] for way, search in ways.items()}
    apart = tuple(
        float(sum(ours != theirs for ours, theirs in zip(*pair, strict=True)))
        for pair in zip(curves["bayesian"], curves["same"], strict=True)
    )
    name = f"{task.name}: trials at which bayesian and bare TPE differ, same seeds"
    yield Figure(name, max(apart), "", 0.0, "<=", apart, load.cores())
    for place, count in enumerate(AT):
        at = {way: tuple(curve[count - 1] for curve in found) for way, found in curves.items()}
        at["GPSampler"] = KNOWN[task.name][place]
        yield from _compared(f"{task.name}, {count} trials: ", at, load.cores())


def _compared(name: str, at: Mapping[str, tuple[float, ...]], load: float) -> Iterator[Figure]:
    for way, other in (("bayesian", "bare"), ("gp", "GPSampler")):
        for what in (way, other):
            yield Figure(f"{name}regret of {what}", statistics.median(at[what]), "", None, "<=", at[what], load)
        ratios = _medians(at[way], 0) / _medians(at[other], 1)
        low, high = (float(np.quantile(ratios, level)) for level in (1.0 - SURE, SURE))
        words = f"  {way} / {other}: {low:.2g} to {high:.2g} (95 %); its lower end"
        yield Figure(words, low, "x", 1.0, "<=", (low, high), load)


def _medians(values: Sequence[float], seed: int) -> Array:
    """Medians of as many drawn from these, with repetition (Efron, 1979)."""
    return np.median(np.random.default_rng(seed).choice(np.asarray(values), (DRAWS, len(values))), axis=1)


Search = Callable[[Callable[[Row], float]], None]
"""Puts points to a function, one after another."""


def _ours(algorithm: str, task: Task, seed: int) -> Search:
    def search(observe: Callable[[Row], float]) -> None:
        study = Study(plan_of(algorithm, genome=box(task.low, task.high), seed=seed, start_known=False))
        for number in range(AT[-1]):
            asked = study.ask(0.0)
            study.apply(asked)
            study.apply(study.tell(number, 0.0, observe(numbers(asked.point))))

    return search


def _bare(task: Task, seed_of_trial: Callable[[int], int | None]) -> Search:
    """Optuna without anything of ours; a trial with a seed gets a fresh sampler."""

    def search(observe: Callable[[Row], float]) -> None:
        study = optuna.create_study()
        for number in range(AT[-1]):
            if (seed := seed_of_trial(number)) is not None:
                study.sampler = optuna.samplers.TPESampler(seed=seed)
            trial = study.ask()
            bounds = enumerate(zip(task.low, task.high, strict=True))
            study.tell(trial, observe([trial.suggest_float(f"x{index}", low, high) for index, (low, high) in bounds]))

    return search


def _curve(task: Task, seed: int, search: Search) -> list[float]:
    """After each trial the true regret at the best point that was observed: what would be promoted."""
    noise = np.random.default_rng(77 + seed)
    curve: list[float] = []
    best = (float("inf"), 0.0)

    def observe(x: Row) -> float:
        nonlocal best
        true = task.true(x)
        value = true + (task.noise * float(noise.standard_normal()) if task.noise else 0.0)
        best = min(best, (value, true - task.least))
        curve.append(best[1])
        return value

    search(observe)
    return curve


def _limits(seeds: range) -> Iterator[Figure]:
    """Gardner's first problem: trials until the cost is within a tenth of -1.889 with the limit kept."""
    for algorithm, target in (("gp", 20.0), ("bayesian", None)):
        load = OtherLoad()
        found = [_limited(algorithm, seed) for seed in seeds]
        reached, broken = (tuple(row[index] for row in found) for index in (0, 1))
        name = f"{algorithm}: trials until within 10 % of the constrained optimum (60 at most)"
        yield Figure(name, statistics.median(reached), "", target, "<=", reached, load.cores())
        yield Figure("  trials of 60 that broke the limit", statistics.median(broken), "", None, "<=", broken, 0.0)


def _limited(algorithm: str, seed: int) -> tuple[float, float]:
    study = Study(plan_of(algorithm, genome=box([0, 0], [6, 6]), seed=seed, guardrails=["slo"], start_known=False))
    for number in range(60):
        study.apply(study.ask(0.0))
        cost, limit = gardner(numbers(study.trials[number].point))
        study.apply(study.tell(number, 0.0, cost, constraints={"slo": limit}))
    within = next((row.number + 1 for row in study.history() if row.best is not None and row.best < -1.7), 60)
    return float(within), float(sum(not trial.feasible for trial in study.trials))


BENCHMARK = Benchmark("optimize", "proposals: time per decision and regret, beside optuna's TPE run bare", measure)
