"""How different the genomes of a population are, and how differently they behave, without looking at pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .box import Array

Kind = Literal["real", "integer", "choice"]

BINS = 16
"""Cells of a gene with more values than that."""


class Columns:
    """What the columns of a population's matrix are.

    Args:
        low: Least value of each.
        high: Greatest value; the range of a choice is its indices, 0 to their number less 1.
        kinds: Real, integer or choice: of a choice only "the same or not" counts.

    Raises:
        ValueError: If they are of different lengths, a bound is not finite, or a low one is above the high one.
    """

    __slots__ = ("_cells", "_chosen", "_first", "_high", "_low", "_scale", "_sizes", "count")

    def __init__(self, low: Sequence[float], high: Sequence[float], kinds: Sequence[Kind]) -> None:
        if not len(low) == len(high) == len(kinds):
            raise ValueError(f"{len(low)} low bounds, {len(high)} high ones and {len(kinds)} kinds do not fit")
        if not all(-math.inf < least <= most < math.inf for least, most in zip(low, high, strict=True)):
            raise ValueError("each gene needs finite bounds, the low one not above the high one")
        self.count = len(kinds)
        self._low, self._high = np.array(low, dtype=float), np.array(high, dtype=float)
        width = self._high - self._low
        self._scale = np.divide(1.0, width, out=np.zeros_like(width), where=width > 0.0)
        self._chosen = np.array([kind == "choice" for kind in kinds], dtype=bool)
        self._sizes = np.array([_cells(*one) for one in zip(width.tolist(), kinds, strict=True)], dtype=np.intp)
        # equal cells over the range: of a gene with as many values as cells, one for each
        self._cells = self._sizes * self._scale
        self._first = np.concatenate([[0], np.cumsum(self._sizes)[:-1]]).astype(np.intp)

    def counts(self, genomes: Array) -> Array:
        """How many genomes are in each cell, all genes' cells in line."""
        cells = ((genomes - self._low) * self._cells).astype(np.intp)
        np.clip(cells, 0, self._sizes - 1, out=cells)
        cells += self._first
        return np.bincount(cells.ravel(), minlength=int(self._sizes.sum())).astype(float)

    def distances(self, genomes: Array, counts: Array) -> Array:
        """Mean squared distance between two genomes, per gene, exactly as over all pairs.

        Of numbers scaled to their range twice the unbiased variance; of choices the share of pairs that differ (the
        Gini impurity, times m / (m - 1)).
        """
        count = len(genomes)
        if count < 2:  # noqa: PLR2004 - one genome has no pair
            return np.zeros(self.count)
        scaled = (genomes - genomes.mean(axis=0)) * self._scale
        found = 2.0 / (count - 1) * np.einsum("ij,ij->j", scaled, scaled)
        if self._chosen.any():
            alike = self._summed((counts / count) ** 2)
            found = np.where(self._chosen, (1.0 - alike) * count / (count - 1), found)
        return np.maximum(0.0, found)

    def entropies(self, genomes: int, counts: Array) -> Array:
        """Shannon entropy of each gene's values over the greatest that so many genomes can have, 0 to 1."""
        shares = counts / max(1, genomes)
        logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0.0)
        most = np.log(np.minimum(self._sizes, max(1, genomes)))
        found = -self._summed(shares * logs)
        shared = np.divide(found, most, out=np.zeros_like(found), where=most > 0.0)
        return np.clip(shared, 0.0, 1.0) + 0.0  # -0.0 becomes 0.0: people read it

    def _summed(self, values: Array) -> Array:
        return np.add.reduceat(values, self._first) if self.count else np.zeros(0)


@dataclass(frozen=True, slots=True)
class Variety:
    """The figures of one population.

    Attributes:
        distance: Root mean square distance between two genomes, each gene scaled to its range.
        entropy: Mean over the genes of the normalised entropy of their values.
        genes: The same per column.
        unique: Share of different genomes.
        effective: Effective number of genomes: as many equally frequent ones have the same chance that two drawn at
            random are alike (inverse Simpson index, the Hill number of order 2; Jost, Oikos 113 (2006)).
        phenotypic: Standard deviation of fitness, or root mean square of those of several outputs.
    """

    distance: float
    entropy: float
    genes: tuple[float, ...]
    unique: float
    effective: float
    phenotypic: float | None


def variety(genomes: Array, columns: Columns, values: Array | None = None) -> Variety:
    """All figures of a population.

    Args:
        genomes: A row each, (m, n).
        columns: What the n columns are.
        values: Fitness (m,) or outputs (m, k); rows that are not finite are left out.

    Raises:
        ValueError: If the matrix does not have those columns.
    """
    if genomes.ndim != 2 or genomes.shape[1] != columns.count:  # noqa: PLR2004 - rows and columns
        raise ValueError(f"a matrix of {columns.count} columns is needed, not one of shape {genomes.shape}")
    if not len(genomes):
        return Variety(0.0, 0.0, (0.0,) * columns.count, 0.0, 0.0, None)
    counts = columns.counts(genomes)
    entropies = columns.entropies(len(genomes), counts)
    copies = copies_of(genomes) / len(genomes)
    return Variety(
        distance=math.sqrt(float(columns.distances(genomes, counts).sum())),
        entropy=float(entropies.mean()) if columns.count else 0.0, genes=tuple(entropies.tolist()),
        unique=len(copies) / len(genomes), effective=1.0 / float(copies @ copies),
        phenotypic=None if values is None else spread(values),
    )  # fmt: skip


def copies_of(genomes: Array) -> Array:
    """How often each different genome is there."""
    count, width = genomes.shape
    if not width:
        return np.full(min(1, count), float(count))
    rows = np.ascontiguousarray(genomes, dtype=float) + 0.0  # -0.0 becomes 0.0: equal numbers are equal bytes
    _, copies = np.unique(rows.view(np.dtype((np.void, 8 * width))).ravel(), return_counts=True)
    return copies.astype(float)


def spread(values: Array) -> float | None:
    """Standard deviation of fitness (m,), or root mean square of those of outputs (m, k); ``None`` below two rows."""
    rows = values.reshape(len(values), -1)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < 2 or not rows.shape[1]:  # noqa: PLR2004 - one row has no spread
        return None
    return math.sqrt(float(rows.var(axis=0, ddof=1).mean()))


def _cells(width: float, kind: Kind) -> int:
    if kind == "choice":
        return int(width) + 1
    return min(BINS, int(width) + 1) if kind == "integer" else BINS
