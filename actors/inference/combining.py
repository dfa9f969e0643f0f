"""Several e-values at once: of disjoint messages, of dependent figures, and of several hypotheses.

The gate multiplies what an experiment's stages found, takes the mean over candidates that answered the same messages,
and names the metrics that changed by e-BH. Nothing is combined over edge boxes: the outcomes of all of them are in one
stream, and the one leader folds them as one sequence of messages, which loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def of_disjoint(e_values: Sequence[float]) -> float:
    """One e-value from independent evidence (other messages) on the same null: the product."""
    return math.prod(e_values)


def of_dependent(e_values: Sequence[float]) -> float:
    """One e-value from evidence with any dependence on the same null: the mean (Vovk and Wang, Ann. Statist. 2021)."""
    return math.fsum(e_values) / len(e_values) if e_values else 1.0


def e_bh(e_values: Sequence[float], rate: float) -> list[int]:
    """Which hypotheses to reject so that at most ``rate`` of them are false in expectation, under any dependence.

    Wang and Ramdas, "False discovery rate control with e-values", J. R. Statist. Soc. B 84 (2022): the k largest, for
    the greatest k whose k-th largest e-value is at least m / (k rate).

    Returns:
        Their indices, in order.
    """
    order = sorted(range(len(e_values)), key=lambda index: -e_values[index])
    most = 0
    for k, index in enumerate(order, 1):
        if k * e_values[index] >= len(e_values) / rate:
            most = k
    return sorted(order[:most])
