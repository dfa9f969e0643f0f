"""What our own samplers share: trials of an optuna study as arrays in the unit cube, points from there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from .cube import Array, Cube, Mask
from .dimensions import Dimension
from .space import Space

FAILED_KEY = "!failed"
"""Constraint that marks a point which failed by its own fault; guardrails' names don't begin so."""


@dataclass(frozen=True, slots=True)
class Data:
    """Trials as arrays, a row each, in the order of their numbers.

    Attributes:
        x: Points in the unit cube, (n, width).
        y: Objectives to minimise, (n,); a failed one has the worst value seen.
        failed: Which ones failed by their own fault, (n,).
        known: Variances of ``y`` that were told, (n,); 0 where none was.
        constraints: (n, guardrails); not a number where it failed.
        order: Places in which they ended, (n,).
        own: Which ones an algorithm of the given name proposed, (n,).
    """

    x: Array
    y: Array
    failed: Mask
    known: Array
    constraints: Array
    order: np.ndarray[Any, np.dtype[np.intp]]
    own: Mask

    @property
    def violation(self) -> Array:
        """How far guardrails are broken in all, (n,); 0 where all are kept, and where it failed."""
        broken: Array = np.nan_to_num(np.maximum(self.constraints, 0.0)).sum(axis=1)
        return broken


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """A dimension in optuna's words."""
    if dimension.kind == "choice":
        return CategoricalDistribution(dimension.choices)
    if dimension.kind == "integer":
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


class Sampling(BaseSampler):
    """A sampler that proposes a row of the unit cube; optuna does the rest.

    Args:
        space: What is searched.
        guardrails: Names of the constraints that count.
        name: What its own trials are marked with.
    """

    def __init__(self, space: Space, guardrails: list[str], name: str) -> None:
        self._cube = Cube(space)
        self._distributions = {dimension.key: distribution_of(dimension) for dimension in space.dimensions}
        self._guardrails = guardrails
        self._name = name
        self._number = 0
        self._random = np.random.default_rng(0)

    def aim(self, number: int, seed: int) -> None:
        """Get ready for the trial ``number``: all randomness comes from ``seed``."""
        self._number = number
        self._random = np.random.default_rng(seed)

    @abstractmethod
    def next_row(self, data: Data, pending: Array) -> Array:
        """The next point in the unit cube, (width,).

        Args:
            data: Trials that ended with something to learn.
            pending: Points of the open trials, (m, width).
        """

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every dimension; those that don't count are not asked for."""
        del study, trial
        return dict(self._distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The point that ``next_row`` finds."""
        del trial, search_space
        trials = study.get_trials(deepcopy=False)
        ended = [t for t in trials if t.state in {TrialState.COMPLETE, TrialState.PRUNED}]
        pending = [t.params for t in trials if t.state == TrialState.RUNNING and t.params]
        row = self.next_row(self._data(ended), self._rows(pending))
        return self._cube.values(row)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never needed: every dimension is in the relative space."""
        del study, trial, param_distribution
        raise AssertionError(f"{param_name} is outside the search space")

    def _rows(self, points: list[dict[str, Any]]) -> Array:
        return np.array([self._cube.row(point) for point in points]).reshape(len(points), self._cube.width)

    def _data(self, trials: list[FrozenTrial]) -> Data:
        failed = np.array([FAILED_KEY in trial.constraints for trial in trials], dtype=bool)
        values = np.array([np.nan if trial.value is None else trial.value for trial in trials], dtype=float)
        worst = np.max(values[~failed], initial=-np.inf)
        values[failed] = worst if np.isfinite(worst) else 0.0
        return Data(
            x=self._rows([trial.params for trial in trials]),
            y=values,
            failed=failed,
            known=np.array([(_attribute(trial, "stderr") or 0.0) ** 2 for trial in trials], dtype=float),
            constraints=np.array(
                [[trial.constraints.get(name, np.nan) for name in self._guardrails] for trial in trials], dtype=float
            ).reshape(len(trials), len(self._guardrails)),
            order=np.array([_attribute(trial, "order") for trial in trials], dtype=np.intp),
            own=np.array([_attribute(trial, "by") == self._name for trial in trials], dtype=bool),
        )


def _attribute(trial: FrozenTrial, name: str) -> Any:
    attributes: Mapping[str, Any] = trial.user_attrs
    return attributes.get(name)
