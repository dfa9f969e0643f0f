"""What the gate needs of a statistical comparison, whatever test is behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from subjects.experiment import Evidence, Metric, Mode

from .records import Row


class Comparison(Protocol):
    """One metric of one candidate in one stage, folded over its messages in order.

    The same messages in the same order give the same figures, to the last digit. Both e-values are valid at every look.
    """

    def add(self, rows: Sequence[Row], index: int) -> None:
        """Fold messages; ``index`` is the metric's place in their lists."""
        ...

    def evidence(self) -> Evidence:
        """The present figures."""
        ...


class Ratio(Protocol):
    """Whether messages are split between live and candidate as intended, folded over counts."""

    def __init__(self, share: float) -> None:
        """``share`` is the candidate's intended one."""
        ...

    @property
    def e_value(self) -> float:
        """Evidence against the intended split."""
        ...

    def add(self, live: int, tried: int) -> None:
        """Fold so many messages of either."""
        ...


Compare = Callable[[Metric, float, float, Mode, str], Comparison]
"""Makes a comparison of a metric: the bound it may get worse by, its interval's level, the stage, and the covariate."""
