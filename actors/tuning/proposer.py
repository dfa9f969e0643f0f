"""Proposals by optuna's samplers over a mirror of our trials, which is kept in memory and made anew at will."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from .dimensions import Dimension
from .events import Point, Value
from .plan import Algorithm, StudyPlan
from .sampling import FAILED_KEY, Sampling, distribution_of
from .space import Space
from .trials import Snapshot, Trial

FAILED = 1e30
"""Violation of a point that failed by its own fault: it ranks behind everything that was measured."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


def seed_of(seed: int, number: int) -> int:
    """The 32 bits of randomness of one trial: all that a proposal knows besides the trials before it."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4], "big")


class Proposer:
    """Points for one plan, each a function of the plan, the trials so far and the trial's number, and of nothing else.

    A sampler's own state would not survive a crash, so it gets a fresh random state for each trial. What the mirror
    holds is a function of the snapshots' last one: proposals leave no trace in it.
    """

    def __init__(self, plan: StudyPlan, space: Space) -> None:
        self._plan = plan
        self._space = space
        self._distributions = {dimension.key: distribution_of(dimension) for dimension in space.dimensions}
        self._mirror = Mirror(plan.sign, self._distributions)
        self._own = _own_sampler(plan.algorithm, space, plan)

    def propose(self, snapshot: Snapshot) -> Point:
        """The point for the trial ``snapshot.number``."""
        study = self._mirror.show(snapshot)
        study.sampler = self._sampler(snapshot.number)
        trial = study.ask()
        try:
            return self._space.walk(lambda dimension: self._suggest(trial, dimension))
        finally:
            study.tell(trial, state=TrialState.FAIL)  # samplers overlook it, whatever becomes of the proposal

    def _suggest(self, trial: optuna.Trial, dimension: Dimension) -> Value:
        if dimension.kind == "choice":
            chosen: Any = trial.suggest_categorical(dimension.key, dimension.choices)
            return chosen
        if dimension.kind == "integer":
            return trial.suggest_int(dimension.key, int(dimension.low), int(dimension.high), log=dimension.log)
        return trial.suggest_float(dimension.key, dimension.low, dimension.high, log=dimension.log)

    def _sampler(self, number: int) -> BaseSampler:
        seed = seed_of(self._plan.seed, number)
        if self._own is not None:
            self._own.aim(number, seed)
            return self._own
        if self._plan.algorithm == "random":
            return RandomSampler(seed=seed)
        if not self._space.conditional:
            return TPESampler(seed=seed)  # multivariate, and open trials count as bad ones: optuna 5's own defaults
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=seed, group=True)


def _own_sampler(algorithm: Algorithm, space: Space, plan: StudyPlan) -> Sampling | None:
    if algorithm == "gp":
        from .gaussian import GaussianSampler  # noqa: PLC0415 - scipy loads only where a Gaussian process is asked for

        return GaussianSampler(space, plan.guardrails, seed_of(plan.seed, -1))
    if algorithm == "cmaes":
        from .evolving import CmaesSampler  # noqa: PLC0415 - cmaes loads only where it is asked for

        return CmaesSampler(space, plan.guardrails, from_base=plan.start_known)
    return None


class Mirror:
    """Our trials as an optuna study in memory; changes are carried over one by one while they can be."""

    def __init__(self, sign: float, distributions: dict[str, BaseDistribution]) -> None:
        self._sign = sign
        self._distributions = distributions
        self._study = optuna.create_study()
        self._shown: list[tuple[Trial, int]] = []

    def show(self, snapshot: Snapshot) -> optuna.Study:
        """The study that holds exactly the snapshot's trials, besides failed ones that no sampler looks at."""
        shown = zip(self._shown, snapshot.trials, strict=False)
        if any(old is not new and not _continues(old, new) for (old, _), new in shown):
            self._study, self._shown = optuna.create_study(), []
        for trial in snapshot.trials:
            if trial.number == len(self._shown):
                self._shown.append((trial, self._add(trial)))
            elif (known := self._shown[trial.number])[0] is not trial:
                self._finish(trial, known[1])
                self._shown[trial.number] = (trial, known[1])
        return self._study

    def _add(self, trial: Trial) -> int:
        made = create_trial(
            state=_state(trial),
            value=None if trial.value is None else self._sign * trial.value,
            params=dict(trial.point),
            distributions={key: self._distributions[key] for key in trial.point},
            user_attrs=_attributes(trial),
        )
        for name, value in _violations(trial).items():
            made.set_constraint(name, value)
        self._study.add_trial(made)
        return len(self._study.get_trials(deepcopy=False)) - 1

    def _finish(self, trial: Trial, number: int) -> None:
        if trial.state == "open":
            return
        running = self._study.get_trials(deepcopy=False)[number]
        handle = optuna.Trial(self._study, running._trial_id)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - there is no other way to a trial that was added as running
        for name, attribute in _attributes(trial).items():
            handle.set_user_attr(name, attribute)
        for name, value in _violations(trial).items():
            handle.set_constraint(name, value)
        value = None if trial.value is None else self._sign * trial.value
        self._study.tell(number, value, state=_state(trial))


def _continues(old: Trial, new: Trial) -> bool:
    return old.state == "open" and old.point == new.point and old.by == new.by


def _state(trial: Trial) -> TrialState:
    if trial.state == "open":
        return TrialState.RUNNING
    if trial.state == "told":
        return TrialState.COMPLETE
    return TrialState.PRUNED if trial.teaches else TrialState.FAIL


def _attributes(trial: Trial) -> dict[str, Any]:
    return {"by": trial.by, "order": trial.order, "stderr": trial.stderr}


def _violations(trial: Trial) -> dict[str, float]:
    if trial.state == "failed" and trial.teaches:
        return {FAILED_KEY: FAILED}
    return dict(trial.constraints)
