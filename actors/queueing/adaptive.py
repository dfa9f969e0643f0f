"""How many attempts of an agent run at once: additive increase, multiplicative decrease on the processing time.

The signal is the time inside the agent, never the total latency: waiting in a queue grows with load and would shrink
the limit until nothing runs (measured: control on end-to-end latency collapses to 1 at 94 % load).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AimdPolicy:
    """How the limit moves.

    Attributes:
        least: Never below.
        start: Where it begins.
        window: Samples per decision.
        tolerance: The window's median may be this many times the baseline.
        decrease: What the limit is multiplied with when it is more, or when the agent says that it is full.
        drift: Share by which the baseline follows a slower window: an agent may become slower for good.
    """

    least: int = 1
    start: int = 16
    window: int = 32
    tolerance: float = 2.0
    decrease: float = 0.75
    drift: float = 0.05


class Aimd:
    """One agent's limit.

    Args:
        most: Never above.
        policy: How it moves.
    """

    def __init__(self, most: int, policy: AimdPolicy | None = None) -> None:
        self._policy = policy or AimdPolicy()
        self._most = most
        self._limit = float(min(self._policy.start, most))
        self._samples: list[float] = []
        self._full = False
        self.baseline_s: float | None = None
        self.reason = ""

    @property
    def limit(self) -> int:
        """Attempts that may run at once."""
        return max(self._policy.least, int(self._limit))

    @property
    def most(self) -> int:
        """The ceiling."""
        return self._most

    @most.setter
    def most(self, value: int) -> None:
        """Set the ceiling; the limit follows at once."""
        self._most = value
        if self._limit > value:
            self._limit, self.reason = float(value), f"at most {value} are allowed"

    def sample(self, run_s: float, in_flight: int) -> None:
        """One attempt took ``run_s`` inside the agent while ``in_flight`` ran in all."""
        self._full = self._full or in_flight >= self.limit
        self._samples.append(run_s)
        if len(self._samples) < self._policy.window:
            return
        ordered = sorted(self._samples)
        self._decide(ordered[len(ordered) // 2], full=self._full)
        self._samples.clear()
        self._full = False

    def refused(self) -> None:
        """The agent said that it is full."""
        self._shrink("the agent is full")

    def _decide(self, median: float, *, full: bool) -> None:
        if self.baseline_s is None or median < self.baseline_s:
            self.baseline_s = median
        if median > self._policy.tolerance * self.baseline_s:
            self._shrink(f"runs take {median * 1e3:.1f} ms, {median / self.baseline_s:.1f} times the usual")
        elif full:
            self._limit = min(float(self._most), self._limit + 1.0)
            self.reason = f"all are busy and runs take their usual {median * 1e3:.1f} ms"
        self.baseline_s += self._policy.drift * (median - self.baseline_s)

    def _shrink(self, reason: str) -> None:
        self.reason = reason
        self._limit = max(float(self._policy.least), self._limit * self._policy.decrease)
