"""Joules of a device: from its counter, else from its power over time, else from the watts an operator declared."""

from __future__ import annotations

from dataclasses import dataclass

from subjects.device import EnergySource

_RANK: dict[EnergySource, int] = {"counter": 0, "integrated": 1, "declared": 2, "none": 3}
LONGEST_GAP_S = 60.0
"""Power is not integrated over more than this: what happened in a longer silence is not known."""


@dataclass(slots=True)
class Meter:
    """Adds up what one device used since the meter was made.

    Attributes:
        declared_w: Watts to count with where the device tells nothing; ``None`` = then nothing is counted.
        joules: Used so far.
        source: The worst of the sources that the sum is made of.
        unknown_s: Seconds that are not in the sum, because nothing told what was used.
    """

    declared_w: float | None = None
    joules: float = 0.0
    source: EnergySource = "none"
    unknown_s: float = 0.0
    _at: float | None = None
    _counter_j: float | None = None
    _power_w: float | None = None

    def take(self, at: float, *, counter_j: float | None, power_w: float | None) -> None:
        """Count what was used since the last reading.

        Args:
            at: When it was read, in seconds that never go back.
            counter_j: The device's own sum since its driver was loaded.
            power_w: Its power at that moment.
        """
        if self._at is not None and at > self._at:
            seconds = at - self._at
            joules, source = self._used(seconds, counter_j, power_w)
            self.joules += joules
            self.unknown_s += seconds if source == "none" else 0.0
            if source != "none" and (self.source == "none" or _RANK[source] > _RANK[self.source]):
                self.source = source
        self._at, self._counter_j, self._power_w = at, counter_j, power_w

    def _used(self, seconds: float, counter_j: float | None, power_w: float | None) -> tuple[float, EnergySource]:
        if counter_j is not None and self._counter_j is not None and counter_j >= self._counter_j:
            return counter_j - self._counter_j, "counter"
        if power_w is not None and self._power_w is not None and seconds <= LONGEST_GAP_S:
            return (power_w + self._power_w) / 2 * seconds, "integrated"
        if self.declared_w is not None:
            return self.declared_w * seconds, "declared"
        return 0.0, "none"
