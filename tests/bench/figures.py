"""What a benchmark gives: figures with their targets, made of interleaved rounds."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.bench.machine import OtherLoad

Trial = Mapping[str, float]
"""What one trial of one way measured, by name."""

Round = Mapping[str, Trial]
"""One trial of each way, one right after the other, by the way's name."""

QUIET_CORES = 0.25
"""Work of others below which a moment counts as quiet."""

_PATIENCE_S = 1.0
_LEAST = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that was measured, and what it is held against.

    Attributes:
        name: What it is, for people.
        value: Median of the samples.
        unit: ``x`` for a ratio.
        target: The bound, or ``None`` for a figure that is only shown.
        holds: Whether the value must be at least or at most the target.
        samples: One value per round.
        load: Cores that processes outside the benchmark used meanwhile, median of the rounds.
        missing: Why it was not measured; then the value is not a number and the target neither met nor missed.
    """

    name: str
    value: float
    unit: str
    target: float | None
    holds: Literal[">=", "<="]
    samples: tuple[float, ...]
    load: float
    missing: str = ""

    @property
    def met(self) -> bool:
        """True if the target is met, or if there is none, or if nothing was measured that could meet it."""
        if self.target is None or self.missing:
            return True
        return self.value >= self.target if self.holds == ">=" else self.value <= self.target

    @property
    def spread(self) -> float:
        """Distance between the quartiles, as a share of the median."""
        if len(self.samples) < _LEAST or not self.value:
            return 0.0
        low, _, high = statistics.quantiles(self.samples, n=4)
        return (high - low) / abs(self.value)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark: its name, what it holds against what, and how it is run (True = quick).

    One that takes long yields its figures as they are known.
    """

    name: str
    about: str
    run: Callable[[bool], Iterable[Figure]]


class Rounds:
    """Trials of several ways taken in turn (A B C, B C A, ...), so that the machine's other work meets all alike.

    Half of the rounds, the less disturbed ones, count; which ones is decided by the load alone, never by the result.

    Args:
        ways: Way to what runs one trial of it.
        count: Rounds.
        warm: Rounds before those, not counted.
    """

    def __init__(self, ways: Mapping[str, Callable[[], Trial]], count: int, *, warm: int = 1) -> None:
        self._taken: list[tuple[float, Round]] = []
        names = list(ways)
        for index in range(-warm, count):
            turn = index % len(names)
            if index >= 0:
                _await_quiet()
            load = OtherLoad()
            trials = {name: ways[name]() for name in names[turn:] + names[:turn]}
            if index >= 0:
                self._taken.append((load.cores(), trials))

    @property
    def _counted(self) -> list[tuple[float, Round]]:
        keep = max(_LEAST, (len(self._taken) + 1) // 2)
        return sorted(self._taken, key=lambda taken: taken[0])[:keep]

    @property
    def load(self) -> float:
        """Cores used by others in the rounds that count."""
        return statistics.median(load for load, _ in self._counted)

    def figure(
        self,
        name: str,
        sample: Callable[[Round], float],
        target: float | None = None,
        *,
        unit: str = "x",
        holds: Literal[">=", "<="] = ">=",
    ) -> Figure:
        """The median over the rounds of what ``sample`` makes of one round."""
        samples = tuple(sample(trials) for _, trials in self._counted)
        return Figure(name, statistics.median(samples), unit, target, holds, samples, self.load)


def unmeasured(name: str, why: str, target: float, *, holds: Literal[">=", "<="] = ">=") -> Figure:
    """A figure that has no value because what it is held against is not on this machine."""
    return Figure(name, math.nan, "x", target, holds, (), 0.0, why)


def ratio(ours: str, base: str, key: str) -> Callable[[Round], float]:
    """Of one round: ``key`` of ``ours`` over ``key`` of ``base``."""
    return lambda trials: trials[ours][key] / trials[base][key]


def median(values: Sequence[float]) -> float:
    """The median of what a trial took."""
    return statistics.median(values)


def _await_quiet() -> None:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        load = OtherLoad()
        time.sleep(0.1)
        if load.cores() < QUIET_CORES:
            return
