"""Several objectives: the front of genomes no other one beats in everything, its size, and which of them to take.

All figures are losses: lower is better. Rows with a figure that is not finite are never on the front.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
# pygmo has no type stubs, and numpy leaves open what arithmetic gives

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .box import Array
from .fronts import front_ranks, room


def front(losses: Array) -> list[int]:
    """Rows that no other one beats, in order; of equal rows all are there."""
    sound = np.flatnonzero(np.isfinite(losses).all(axis=1)) if len(losses) else np.zeros(0, dtype=np.intp)
    return [int(row) for row in sound[front_ranks(losses[sound]) == 0]] if len(sound) else []


def crowding(losses: Array) -> list[float]:
    """How much room each row of a front has: greater is rarer, infinite at the ends (NSGA-II, section III.B)."""
    return [float(one) for one in room(losses, np.zeros(len(losses), dtype=np.intp))]


def hypervolume(losses: Array, reference: Sequence[float]) -> float:
    """Volume that the front dominates within ``reference``, the worst that counts (Zitzler and Thiele 1999).

    Raises:
        ValueError: If the reference has another number of objectives.
    """
    if losses.shape[1] != len(reference):
        raise ValueError(f"a reference of {losses.shape[1]} losses is needed, not {len(reference)}")
    inside = losses[(losses < np.asarray(reference)).all(axis=1) & np.isfinite(losses).all(axis=1)]
    if not len(inside):
        return 0.0
    if losses.shape[1] == 1:
        return float(reference[0] - inside.min())
    from pygmo import hypervolume as volume  # noqa: PLC0415 - who asks for no volume does not pay for pygmo

    return float(volume(inside[front(inside)]).compute(list(reference)))


def knee(losses: Array) -> int:
    """The row of the front that gives up least: farthest in front of the plane through the ends of the front.

    Das, "On characterizing the knee of the Pareto curve" (1999): with each objective scaled so that it is 0 at the
    front's best and 1 at its worst, the least sum. Of equals the first.

    Raises:
        ValueError: If nobody is on the front.
    """
    return choose(losses, [1.0] * losses.shape[1])


def choose(losses: Array, weights: Sequence[float] | None = None, limits: Sequence[float | None] | None = None) -> int:
    """The row of the front with the least weighted sum of scaled losses among those within the limits.

    Weights act on losses scaled to the front, as in ``knee``, so they say how much an objective matters and not what
    unit it has.

    Args:
        losses: A row per genome.
        weights: Of each objective, at least 0; all the same by default.
        limits: Most of each objective; ``None`` = no limit.

    Raises:
        ValueError: If nobody is within the limits, or weights or limits do not fit.
    """
    width = losses.shape[1]
    matter: Sequence[float] = [1.0] * width if weights is None else weights
    bounds: Sequence[float | None] = [None] * width if limits is None else limits
    if len(matter) != width or len(bounds) != width or not all(0.0 <= one < math.inf for one in matter):
        raise ValueError(f"{width} weights of at least 0 and as many limits are needed")
    rows = front(losses)
    if not rows:
        raise ValueError("nobody is on the front: no genome has all its figures")
    most = np.array([math.inf if one is None else one for one in bounds], dtype=float)
    within = [row for row in rows if bool((losses[row] <= most).all())]
    if not within:
        raise ValueError("no genome of the front keeps all the limits: loosen one of them")
    sums = _scaled(losses[rows])[[rows.index(row) for row in within]] @ np.asarray(matter, dtype=float)
    return within[int(np.argmin(sums))]


def _scaled(losses: Array) -> Array:
    """Each objective 0 at its best and 1 at its worst; one that does not vary is 0 throughout."""
    best = losses.min(axis=0)
    width = losses.max(axis=0) - best
    return np.divide(losses - best, width, out=np.zeros_like(losses), where=width > 0.0)
