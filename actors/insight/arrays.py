"""The types of arrays that this room speaks of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
"""Real numbers; ``nan`` = no data."""

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def counting(count: int) -> Integers:
    """0, 1, 2 ... ``count`` - 1."""
    return np.arange(count, dtype=np.int64)
