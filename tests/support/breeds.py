"""Engines of evolution driven by scripts, so that a run can be cut anywhere and made again from its log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from actors.evolving.box import Array, Box
from actors.evolving.engine import Engine, Members, Setup, Step
from actors.evolving.engines import Name, make
from actors.evolving.map_elites import Axis
from actors.evolving.steady import Steady

GENERATIONAL: tuple[Name, ...] = ("cmaes", "gaco", "nsga2", "map-elites")
AXES = (Axis(0.0, 1.0, 6), Axis(0.0, 2.0, 4))
REALS = Box(np.array([-1.0, 0.0, 2.0, -5.0]), np.array([1.0, 1.0, 7.0, 5.0]))
MIXED = Box(np.array([-1.0, 0.0, 2.0, 0.0, -3.0]), np.array([1.0, 1.0, 7.0, 9.0, 3.0]), 2)

Act = tuple[Any, ...]
"""What is done to an engine: ``("step",)``, ``("configure", size, rate)``, ``("immigrate", n)``, ``("receive", n)``."""


def box_of(name: Name) -> Box:
    """A box that the engine can search."""
    return REALS if name == "cmaes" else MIXED


def setup_of(name: Name, seed: int = 1, size: int = 8, island: int = 0) -> Setup:
    """Two objectives where the engine is for several, one limit where it is for limits."""
    objectives, constraints = (2 if name == "nsga2" else 1), (1 if name in ("gaco", "nsga2") else 0)
    return Setup(size=size, seed=seed, island=island, objectives=objectives, constraints=constraints)


def engine_of(name: Name, seed: int = 1, size: int = 8, island: int = 0, given: Array | None = None) -> Engine:
    """An engine of generations on a small box."""
    axes = AXES if name == "map-elites" else ()
    return cast("Engine", make(name, box_of(name), setup_of(name, seed, size, island), given, axes))


def measured(engine: Engine, rows: Array) -> Array:
    """Figures of vectors: a bowl, a second one, a limit, descriptors, as many as the engine wants; some fail."""
    unit = (rows - engine.box.lower) / (engine.box.upper - engine.box.lower)
    setup = engine.setup
    columns = [((unit - 0.3) ** 2).sum(axis=1), ((unit - 0.7) ** 2).sum(axis=1)][: setup.objectives]
    columns += [unit[:, 0] - 0.8] * setup.constraints
    columns += [unit[:, 0], unit.sum(axis=1)][: engine.columns - len(columns)]
    values = np.column_stack(columns)
    values[np.floor(unit[:, 1] * 1000.0) % 17 == 3] = np.nan
    return values


@dataclass
class Run:
    """A run of an engine and its log."""

    engine: Engine
    log: list[Act] = field(default_factory=list[Act])
    steps: list[Step] = field(default_factory=list[Step])

    def do(self, acts: Sequence[Act]) -> None:
        """Acts in their order; what went in is logged."""
        for kind, *rest in acts:
            if kind == "step":
                step = self.engine.step(lambda rows: measured(self.engine, rows))
                self.steps.append(step)
                self.log.append(("step", step.digest, step.values.tolist()))
            elif kind == "receive":
                members = strangers(self.engine, *rest)
                self.engine.receive(members)
                self.log.append(("receive", members))
            else:
                self._other(kind, rest)
                self.log.append((kind, *rest))

    def again(self, log: Sequence[Act]) -> None:
        """The log of another run."""
        for kind, *rest in log:
            if kind == "step":
                self.steps.append(self.engine.again(*rest))
            elif kind == "receive":
                self.engine.receive(*rest)
            else:
                self._other(kind, rest)
            self.log.append((kind, *rest))

    def _other(self, kind: str, rest: Sequence[Any]) -> None:
        if kind == "configure":
            self.engine.configure(size=rest[0], mutation_rate=rest[1])
        else:
            self.engine.immigrate(rest[0])


def strangers(engine: Engine | Steady, count: int) -> Members:
    """Members of nowhere, better than any."""
    rows = engine.box.draw(np.random.default_rng(count), count)
    columns = engine.population.values.shape[1]
    values = np.tile(np.linspace(0.0, 0.01, count)[:, None], (1, columns))
    return Members(rows, values, tuple((99, number) for number in range(count)))
