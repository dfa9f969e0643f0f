"""The peers of the evolution benchmark, each doing what our engines do on one function in this process.

pygmo bare: its algorithm over a batch in numpy, one generation a call; for the steady engine, which pygmo does not
have, the shortest loop over pygmo's own operators. pymoo and DEAP only where they are installed.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false, reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportMissingImports=false, reportUntypedBaseClass=false, reportUnknownLambdaType=false
# none of the peers has types

from __future__ import annotations

import random
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pygmo

from actors.evolving.box import Array, Box

Losses = Callable[[Array], Array]
"""Rows to losses, (m, n) to (m, k)."""

Loop = Callable[[int], Array]
"""Breeds so many generations; gives the best first loss after each."""

PYMOO = "" if find_spec("pymoo") else "pymoo is not installed"
DEAP = "" if find_spec("deap") else "deap is not installed"


class Batch:
    """A problem of pygmo that is evaluated in numpy, a batch at a time."""

    def __init__(self, box: Box, losses: Losses, objectives: int) -> None:
        self.box, self.losses, self.objectives = box, losses, objectives

    def fitness(self, vector: Array) -> Array:
        """One vector."""
        return self.losses(vector[None])[0]

    def batch_fitness(self, flat: Array) -> Array:
        """Many."""
        return self.losses(np.asarray(flat).reshape(-1, self.box.width)).ravel()

    def get_bounds(self) -> tuple[Array, Array]:
        """Of the box."""
        return self.box.lower, self.box.upper

    def get_nix(self) -> int:
        """Whole coordinates."""
        return self.box.integers

    def get_nobj(self) -> int:
        """Losses."""
        return self.objectives


def algorithm(name: str, size: int, seed: int) -> Any:
    """An algorithm of pygmo as our engine sets it up."""
    never = 2**31 - 1
    options: dict[str, dict[str, Any]] = {
        "cmaes": {"force_bounds": True, "ftol": 0.0, "xtol": 0.0, "memory": True},
        "gaco": {"ker": min(63, size), "impstop": never, "evalstop": never, "memory": True},
        "nsga2": {"cr": 0.9, "m": 0.1, "eta_m": 20.0},
    }
    made = getattr(pygmo, name)(gen=1, seed=seed, **options[name])
    made.set_bfe(pygmo.bfe())
    return pygmo.algorithm(made)


def bare(name: str, box: Box, losses: Losses, size: int, *, seed: int, objectives: int = 1) -> Loop:
    """What pygmo alone does, a generation a call, as whoever wants to see or keep each one must."""
    population = pygmo.population(pygmo.problem(Batch(box, losses, objectives)), size, b=pygmo.bfe(), seed=seed)

    one = algorithm(name, size, seed)

    def loop(generations: int) -> Array:
        nonlocal population
        for _ in range(generations):
            population = one.evolve(population)
        return population.get_f()[:, :1].min(axis=0)

    return loop


def bare_curve(name: str, box: Box, losses: Losses, size: int, *, seed: int, generations: int) -> Array:
    """The best loss so far of pygmo alone after each generation, the first population being generation 0."""
    population = pygmo.population(pygmo.problem(Batch(box, losses, 1)), size, b=pygmo.bfe(), seed=seed)
    one, found = algorithm(name, size, seed), [float(population.get_f().min())]
    for _ in range(generations):
        population = one.evolve(population)
        found.append(float(population.get_f().min()))
    return np.minimum.accumulate(found)


def bare_steady(box: Box, losses: Losses, size: int, seed: int, rate: float = 0.1) -> Loop:
    """Tournaments of two, pygmo's crossover and mutation, the worst goes: nothing else, one child at a time."""
    draw = np.random.default_rng(seed)
    vectors = box.draw(draw, size)
    values = losses(vectors)[:, 0]
    bounds = (box.lower, box.upper)

    def loop(generations: int) -> Array:
        curve = [values.min()]
        for _ in range(generations):
            for _ in range(size):
                one, two = (min(draw.integers(size, size=2), key=values.__getitem__) for _ in range(2))
                seeds = draw.integers(2**31, size=2).tolist()
                child = pygmo.sbx_crossover(vectors[one], vectors[two], bounds, box.integers, 0.9, 10.0, seeds[0])[0]
                child = pygmo.polynomial_mutation(child, bounds, box.integers, rate, 20.0, seeds[1])
                loss, worst = losses(child[None])[0, 0], int(values.argmax())
                if loss < values[worst]:
                    vectors[worst], values[worst] = child, loss
            curve.append(values.min())
        return np.array(curve)

    return loop


def pymoo(name: str, box: Box, losses: Losses, size: int, objectives: int) -> Loop:
    """The algorithm of pymoo with that name."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.algorithms.soo.nonconvex.cmaes import CMAES
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.problem import Problem
    from pymoo.optimize import minimize

    class Task(Problem):
        def __init__(self) -> None:
            super().__init__(n_var=box.width, n_obj=objectives, xl=box.lower, xu=box.upper)

        def _evaluate(self, x: Any, out: Any, *_args: Any, **_kwargs: Any) -> None:
            out["F"] = losses(x)

    makers = {
        "nsga2": lambda: NSGA2(pop_size=size), "steady": lambda: GA(pop_size=size),
        "cmaes": lambda: CMAES(sigma=0.5, popsize=size, restarts=0, tolfun=0, tolx=0),
    }  # fmt: skip

    def loop(generations: int) -> Array:
        found = minimize(Task(), makers[name](), ("n_gen", generations), seed=1, verbose=False)
        return np.array(found.F, dtype=np.float64).ravel()[:1]

    return loop


def deap(name: str, box: Box, losses: Losses, size: int) -> Loop:
    """DEAP's CMA-ES, or its simple genetic algorithm for ``steady``."""
    from deap import algorithms, base, cma, creator, tools

    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - DEAP draws from there
    if not hasattr(creator, "BenchFitness"):
        creator.create("BenchFitness", base.Fitness, weights=(-1.0,))
        creator.create("BenchGenome", list, fitness=creator.BenchFitness)
    box_of = {"low": box.lower.tolist(), "up": box.upper.tolist(), "eta": 15.0}
    tools_of = base.Toolbox()
    tools_of.register("evaluate", lambda genome: (float(losses(np.array(genome)[None])[0, 0]),))
    if name == "cmaes":
        middle = (box.lower + box.upper) / 2.0
        strategy = cma.Strategy(centroid=middle, sigma=float((box.upper - box.lower).mean()) / 4.0, lambda_=size)
        tools_of.register("generate", strategy.generate, creator.BenchGenome)
        tools_of.register("update", strategy.update)
    else:
        tools_of.register("mate", tools.cxSimulatedBinaryBounded, **box_of)
        tools_of.register("mutate", tools.mutPolynomialBounded, indpb=0.1, **box_of)
        tools_of.register("select", tools.selTournament, tournsize=2)

    def loop(generations: int) -> Array:
        if name == "cmaes":
            genomes, _ = algorithms.eaGenerateUpdate(tools_of, ngen=generations, verbose=False)
        else:
            start = [creator.BenchGenome(row) for row in box.draw(np.random.default_rng(1), size).tolist()]
            genomes, _ = algorithms.eaSimple(start, tools_of, 0.9, 1.0, generations, verbose=False)
        return np.array([min(genome.fitness.values[0] for genome in genomes)])

    return loop
