"""Sample ratio: whether traffic is split as intended. Exact, valid at every look.

Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022, arXiv 2011.03567, equation 4.
"""

from __future__ import annotations

import math

from scipy.special import betaln

CONCENTRATION = 100.0
"""How near the intended split the alternative is looked for: as in 100 messages seen before."""


class SampleRatio:
    """E-value against "a message goes to the candidate with probability ``share``", independently.

    Args:
        share: The candidate's intended share, strictly between 0 and 1.
    """

    __slots__ = ("_live", "_prior", "_tried", "share")

    def __init__(self, share: float) -> None:
        if not 0.0 < share < 1.0:
            raise ValueError(f"a share strictly between 0 and 1 is needed, not {share}")
        self.share = share
        self._prior = (CONCENTRATION * share, CONCENTRATION * (1.0 - share))
        self._live = self._tried = 0

    def add(self, live: int, tried: int) -> None:
        """Fold counts of messages."""
        self._live += live
        self._tried += tried

    @property
    def e_value(self) -> float:
        """Dirichlet-multinomial marginal likelihood over the intended one."""
        a, b = self._prior
        log_e = float(betaln(a + self._tried, b + self._live)) - float(betaln(a, b))
        log_e -= self._tried * math.log(self.share) + self._live * math.log1p(-self.share)
        return math.exp(min(700.0, log_e))
