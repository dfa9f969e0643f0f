"""Which elites are measured again, and who is champion afterwards.

The best of many noisy figures is mostly lucky. An elite that keeps a lucky figure breeds, blocks better genomes and
goes live. So each generation the elites whose place is least certain are measured on tasks they have not met, nobody is
champion before that, and ranks are by posterior mean. Genetic algorithms in noisy environments: Fitzpatrick and
Grefenstette, Machine Learning 3 (1988).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .estimates import CONFIDENCE, Estimate
from .shrinkage import shrunken

MARGIN = 0.001
"""Half-width below which nothing is left to find out."""


@dataclass(frozen=True, slots=True)
class Elite:
    """A genome that is among the best as far as is known.

    Attributes:
        id: Its id; ties are broken by it, so that every node chooses alike.
        estimate: Of its fitness, higher is better.
        recounts: How often it was measured again.
        left: Tasks it has not met yet.
    """

    id: str
    estimate: Estimate
    recounts: int
    left: int


def due(elites: Sequence[Elite], *, top: int, most: int, margin: float = MARGIN) -> list[str]:
    """Ids of those to measure again now: of the ``top`` that could be best, the widest bounds first.

    Who could be best is judged by the upper bound. Those with no task left, or whose half-width is below ``margin``,
    are left out.

    Args:
        elites: Candidates, any order.
        top: How many places matter.
        most: How many may be measured again.
        margin: See ``MARGIN``.
    """
    able = [one for one in sorted(elites, key=_hope)[:top] if one.left > 0]
    widths = {one.id: one.estimate.half_width() for one in able}
    wide = sorted((one for one in able if widths[one.id] > margin), key=lambda one: -widths[one.id])
    return [one.id for one in wide[: max(0, most)]]


def ranked(elites: Sequence[Elite]) -> list[str]:
    """Ids, best first, by the posterior mean: a figure of few tasks counts less than the same of many."""
    worth = shrunken([one.estimate.value for one in elites], [one.estimate.stderr for one in elites])
    places = sorted(range(len(elites)), key=lambda at: (-worth[at], -elites[at].estimate.n, elites[at].id))
    return [elites[at].id for at in places]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who is champion, if anybody may be called that yet.

    Attributes:
        champion: Its id; empty while nobody is.
        again: Whom to measure first.
        worth: The champion's figure without the winner's curse; ``None`` without one.
        reason: In words.
    """

    champion: str
    again: tuple[str, ...]
    worth: float | None
    reason: str


def declare(elites: Sequence[Elite], *, rivals: int = 3, recounts: int = 2) -> Verdict:
    """The champion by posterior mean, once it and its nearest rivals were measured again as often as it takes.

    Args:
        elites: Candidates, any order; the more, the better the curse is known.
        rivals: How many of the next best must have been measured again, too.
        recounts: How often, unless no task is left.
    """
    if not elites:
        return Verdict("", (), None, "nobody has a figure")
    places = ranked(elites)
    known = {one.id: one for one in elites}
    again = tuple(id_ for id_ in places[: 1 + rivals] if known[id_].recounts < recounts and known[id_].left > 0)
    if again:
        return Verdict("", again, None, f"{len(again)} of the best were not measured {recounts} times again yet")
    best = known[places[0]]
    worth = shrunken([one.estimate.value for one in elites], [one.estimate.stderr for one in elites])[
        elites.index(best)
    ]
    return Verdict(best.id, (), worth, f"best of {len(elites)} after {best.estimate.n} tasks")


def promotes(champion: Estimate, incumbent: Estimate, confidence: float = CONFIDENCE) -> bool:
    """Whether the champion beats the incumbent for sure, each side wrong with half of what is left.

    For means that is right at every look. The gate decides about live traffic; this spares it hopeless candidates.
    """
    each = 1.0 - (1.0 - confidence) / 2.0
    return champion.lower_bound(each) > incumbent.upper_bound(each)


def _hope(elite: Elite) -> tuple[float, str]:
    bound = elite.estimate.upper_bound()
    return (math.inf if math.isnan(bound) else -bound, elite.id)
