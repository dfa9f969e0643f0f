"""What a study searches, in which way, and within which limits: everything but what happened."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from subjects.agent import Genes, Parameter

from .dimensions import Scale
from .space import Space

Algorithm = Literal["bayesian", "gp", "cmaes", "random"]
"""``bayesian``: TPE, sound under noise, 2-5 ms a decision; the default. ``gp``: Gaussian process, for few and dear
trials and for guardrails, at most about 20 dimensions. ``cmaes``: continuous spaces, 200 trials and more."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Most that a study may use in all; ``None`` for no limit.

    Attributes:
        trials: Trials asked for.
        messages: Messages that its trials answer.
        harmed: Messages that its trials answer worse than the live release would have, or not at all. No optimizer
            keeps a limit that it has yet to learn, so this is what a study on live traffic must be held to.
    """

    trials: Annotated[int, Meta(ge=1)] | None = None
    messages: Annotated[int, Meta(ge=1)] | None = None
    harmed: Annotated[int, Meta(ge=0)] | None = None


class StudyPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A study's fixed part, to be stored once; with the events it is all there is to know.

    Another algorithm, seed, budget or threshold over the same events is allowed at any time; another space is another
    study.

    Attributes:
        seed: Every trial's randomness is derived from it and the trial's number.
        algorithm: See ``Algorithm``.
        better: Which direction of the objective is better.
        genome: The agent's parameters, from its manifest.
        settings: Execution settings to search beside them, see ``execution_parameters``.
        base: The live genome; what it does not name is at its default.
        base_settings: The settings in force, likewise.
        tune: Names to search; empty for all that can be.
        scales: Names whose scale is other than their bounds say.
        start_known: Whether the first trial is the base, the known-good setting.
        guardrails: Names of the constraints that every result must carry; at most 0 is kept.
        most_open: Trials that may be open at once.
        lease_s: How long a trial may be silent, in seconds.
        budget: When it ends at the latest.
        convergence_threshold: Relative change below which an improvement counts as none.
        magnitude: What that is relative to, in the objective's unit; ``None`` for the best value's own size.
    """

    genome: list[Parameter]
    settings: list[Parameter] = []
    base: Genes = {}
    base_settings: Genes = {}
    tune: list[str] = []
    scales: dict[str, Scale] = {}
    seed: Annotated[int, Meta(ge=0)] = 0
    algorithm: Algorithm = "bayesian"
    better: Literal["lower", "higher"] = "higher"
    start_known: bool = True
    guardrails: list[str] = []
    most_open: Annotated[int, Meta(ge=1, le=256)] = 1
    lease_s: Annotated[float, Meta(gt=0)] = 3600.0
    budget: Budget = Budget()
    convergence_threshold: Annotated[float, Meta(gt=0, lt=1)] = 0.001
    magnitude: Annotated[float, Meta(gt=0)] | None = None

    @property
    def sign(self) -> float:
        """What makes the objective one to minimise."""
        return 1.0 if self.better == "lower" else -1.0

    def space(self) -> Space:
        """The space it searches.

        Raises:
            BadGenomeError: As ``Space.of``.
        """
        return Space.of(
            self.genome, self.settings, base=self.base, base_settings=self.base_settings, tune=self.tune,
            scales=self.scales,
        )  # fmt: skip

    def same_search(self, other: StudyPlan) -> bool:
        """True if the events of one are events of the other: same space, direction and guardrails."""
        return all(getattr(self, name) == getattr(other, name) for name in _SEARCH)


_SEARCH: tuple[str, ...] = ("genome", "settings", "base", "base_settings", "tune", "scales", "better", "guardrails")
