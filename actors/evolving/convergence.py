"""Where a search stands: improving, stagnant, converged too early, or done; and what to do about it. A pure fold.

Converged is a search whose best fitness has not improved beyond chance for ``WINDOW`` generations although it lost its
diversity on the way, or although immigrants and mutation were at their most for as long. Stagnation with diversity left
is not convergence: more mutation and immigrants come first.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

WINDOW = 15
"""Generations without an improvement that convergence takes."""

PATIENCE = 5
"""Generations without an improvement before something is done about it."""

EARLY = 35
"""A collapse before this generation is premature: even easy searches take so long."""

LEAST_GAIN = 0.001
"""An improvement is at least this, relative to the fitness before."""

COLLAPSED = 0.05
"""Share of the first generation's diversity below which none is left."""

MOST_MUTATION = 4.0
MOST_IMMIGRANTS = 0.2
_MUTATION_STEP, _IMMIGRANT_STEP = 1.3, 0.04
_DECAY = 0.5
_NEGLIGIBLE = 0.01

Status = Literal["improving", "waiting", "stagnant", "premature", "converged"]


class Look(msgspec.Struct, frozen=True):
    """One generation: its best fitness (higher is better; ``None`` if all failed) and diversity.

    ``half_width`` is how much of the fitness may be chance when it is compared with that of another generation: 0 where
    both met all the same tasks and agents are deterministic (whether the gain holds elsewhere, validation tells), the
    estimate's own half-width where tasks differ.
    """

    best: float | None
    half_width: float
    distance: float


class Advice(msgspec.Struct, frozen=True):
    """What the next generation does differently.

    ``immigrants`` is the share of genomes drawn at random, ``mutation_factor`` multiplies the mutation rate (at least
    1; whoever multiplies caps the product at 1).
    """

    immigrants: float
    mutation_factor: float
    reason: str


class Convergence(msgspec.Struct, frozen=True):
    """The fold of all looks so far.

    Attributes:
        looks: Generations seen.
        first_distance: Diversity of the first one that had any.
        distance: Diversity now.
        reference: Best fitness at the last improvement beyond chance.
        reference_half_width: How much of it may be chance.
        stagnant: Generations since.
        at_most: Generations since with mutation and immigrants at their most.
        immigrants: Share in force for the next generation.
        mutation_factor: The same for mutation.
    """

    looks: int = 0
    first_distance: float = 0.0
    distance: float = 0.0
    reference: float | None = None
    reference_half_width: float = 0.0
    stagnant: int = 0
    at_most: int = 0
    immigrants: float = 0.0
    mutation_factor: float = 1.0

    def after(self, look: Look) -> Convergence:
        """The state after one more generation."""
        first = self.first_distance or look.distance
        if self._improves(look):
            return msgspec.structs.replace(
                self._recovering(), looks=self.looks + 1, first_distance=first, distance=look.distance,
                reference=look.best, reference_half_width=look.half_width, stagnant=0, at_most=0,
            )  # fmt: skip
        waited = msgspec.structs.replace(
            self, looks=self.looks + 1, first_distance=first, distance=look.distance, stagnant=self.stagnant + 1,
        )  # fmt: skip
        return _pressed(waited)

    @property
    def collapsed(self) -> bool:
        """Whether hardly any diversity is left."""
        return self.looks > 0 and self.distance <= COLLAPSED * self.first_distance

    @property
    def stagnation(self) -> bool:
        """Whether nothing has improved beyond chance for a whole window."""
        return self.stagnant >= WINDOW

    @property
    def premature(self) -> bool:
        """Whether diversity was gone, and improvement over, before the search had time."""
        return self.collapsed and self.stagnant >= PATIENCE and self.looks <= EARLY and not self.converged

    @property
    def converged(self) -> bool:
        """Whether it is time to stop."""
        return self.stagnation and (self.collapsed or self.at_most >= WINDOW)

    @property
    def status(self) -> Status:
        """All of that in a word."""
        if self.converged:
            return "converged"
        if self.premature:
            return "premature"
        if self.stagnation:
            return "stagnant"
        return "waiting" if self.stagnant else "improving"

    @property
    def advice(self) -> Advice:
        """What to do in the next generation."""
        return Advice(self.immigrants, self.mutation_factor, self._reason())

    def describe(self) -> str:
        """Where the search stands, in a sentence."""
        left = f"{self.distance / self.first_distance:.0%} of the first diversity left" if self.first_distance else ""
        words = {
            "improving": "still improving",
            "waiting": f"no improvement beyond chance for {self.stagnant} generations, too few to tell",
            "stagnant": f"stagnant for {self.stagnant} generations",
            "premature": f"diversity was gone after {self.looks} generations, too early",
            "converged": f"converged: nothing improved for {self.stagnant} generations",
        }[self.status]
        return f"{words}; {left}" if left else words

    def _improves(self, look: Look) -> bool:
        if look.best is None:
            return False
        if self.reference is None:
            return True
        chance = math.hypot(look.half_width, self.reference_half_width)
        return look.best - self.reference > max(chance, LEAST_GAIN * abs(self.reference))

    def _recovering(self) -> Convergence:
        factor, share = 1.0 + (self.mutation_factor - 1.0) * _DECAY, self.immigrants * _DECAY
        return msgspec.structs.replace(
            self, mutation_factor=1.0 if factor < 1.0 + _NEGLIGIBLE else factor,
            immigrants=0.0 if share < _NEGLIGIBLE else share,
        )  # fmt: skip

    def _reason(self) -> str:
        if not self.immigrants and self.mutation_factor <= 1.0:
            return ""
        if not self.stagnant:
            return "it improves again: mutation and immigrants go back"
        return f"{self.describe()}: mutation x{self.mutation_factor:.2g}, {self.immigrants:.0%} immigrants"


def _pressed(now: Convergence) -> Convergence:
    if now.stagnant < PATIENCE:
        return now
    at_most = now.mutation_factor >= MOST_MUTATION and now.immigrants >= MOST_IMMIGRANTS
    share = MOST_IMMIGRANTS if now.collapsed else min(MOST_IMMIGRANTS, now.immigrants + _IMMIGRANT_STEP)
    factor = min(MOST_MUTATION, now.mutation_factor * _MUTATION_STEP)
    return msgspec.structs.replace(now, mutation_factor=factor, immigrants=share, at_most=now.at_most + at_most)
