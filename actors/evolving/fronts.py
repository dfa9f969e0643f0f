"""Order among genomes with several losses: fronts, and the room each has on its front (NSGA-II, Deb et al. 2002)."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from .box import Array, Whole
from .engine import violation


def order(values: Array, objectives: int) -> Whole:
    """Rows from the best to the worst: by front, then by room; those that break constraints last, by how much."""
    broken = violation(values, objectives)
    losses = values[:, :objectives]
    ranks = np.zeros(len(values), dtype=np.intp)
    kept = broken <= 0.0
    ranks[kept] = front_ranks(losses[kept])
    return np.lexsort((-room(losses, ranks), ranks, broken))


def front_ranks(losses: Array) -> Whole:
    """For each row how many fronts lie before its own; 0 = no row beats it in everything."""
    ranks = np.zeros(len(losses), dtype=np.intp)
    rows = np.lexsort(losses.T[::-1])
    found = _two(losses[rows]) if losses.shape[1] <= 2 else _many(losses[rows])  # noqa: PLR2004 - two objectives
    ranks[rows] = found
    return ranks


def _two(losses: Array) -> list[int]:
    """Of rows in lexical order: a front's last row is the only one of it that can beat the next row."""
    second = losses[:, -1].tolist()
    first = losses[:, 0].tolist()
    lowest: list[float] = []
    ranks: list[int] = []
    for place, loss in enumerate(second):
        if place and loss == second[place - 1] and first[place] == first[place - 1]:
            ranks.append(ranks[-1])
            continue
        rank = bisect_right(lowest, loss)
        if rank == len(lowest):
            lowest.append(loss)
        else:
            lowest[rank] = loss
        ranks.append(rank)
    return ranks


def _many(losses: Array) -> list[int]:
    """Of rows in lexical order: each goes to the first front that does not beat it (Zhang et al., ENS-BS, 2015)."""
    members: list[Array] = []
    counts: list[int] = []
    ranks: list[int] = []
    for row in losses:
        low, high = 0, len(members)
        while low < high:
            middle = (low + high) // 2
            front = members[middle][: counts[middle]]
            beaten = (front <= row).all(axis=1) & (front < row).any(axis=1)
            low, high = (middle + 1, high) if beaten.any() else (low, middle)
        if low == len(members):
            members.append(np.empty((8, losses.shape[1])))
            counts.append(0)
        if counts[low] == len(members[low]):
            members[low] = np.concatenate([members[low], np.empty_like(members[low])])
        members[low][counts[low]] = row
        counts[low] += 1
        ranks.append(low)
    return ranks


def room(losses: Array, ranks: Whole) -> Array:
    """The crowding distance of each row on its front: greater is rarer, infinite at the ends."""
    total = np.zeros(len(losses))
    for column in losses.T:
        rows = np.lexsort((column, ranks))
        value, rank = column[rows], ranks[rows]
        starts = np.flatnonzero(np.r_[True, rank[1:] != rank[:-1]])
        ends = np.r_[starts[1:], len(rows)] - 1
        width = np.repeat(value[ends] - value[starts], ends - starts + 1)
        gap = np.zeros(len(rows))
        gap[1:-1] = value[2:] - value[:-2]
        share = np.divide(gap, width, out=np.zeros(len(rows)), where=width > 0.0)
        share[starts] = share[ends] = np.inf
        total[rows] += share
    return total
