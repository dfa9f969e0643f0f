"""What evaluations did and cost since the start, and how fast they go."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from chimera.clock import Clock

RATE_S = 20.0
"""After so many seconds without an evaluation the rate has fallen to a third."""


@dataclass(slots=True)
class NodeTally:
    """What one node did."""

    evaluations: int = 0
    tasks: int = 0


class Rate:
    """Exponentially weighted count per second, right from the first event on.

    Args:
        clock: Time.
        span_s: Time constant.
    """

    def __init__(self, clock: Clock, span_s: float = RATE_S) -> None:
        self._clock, self._span_s = clock, span_s
        self._began = self._at = clock.monotonic()
        self._weight = 0.0

    def add(self, count: int = 1) -> None:
        """Something happened so many times now."""
        self._fade()
        self._weight += count

    @property
    def per_s(self) -> float:
        """Events per second of late."""
        self._fade()
        # the weight of a steady stream grows to this within the time since the start
        full = self._span_s * -math.expm1(-max(1.0, self._at - self._began) / self._span_s)
        return self._weight / full

    def _fade(self) -> None:
        now = self._clock.monotonic()
        self._weight *= math.exp((self._at - now) / self._span_s)
        self._at = now


@dataclass(slots=True)
class Tally:
    """Counters of the evaluator.

    Attributes:
        rate: Genomes per second.
        done: Genomes; of these ``failed`` have no figure and ``cached`` had nothing to be run.
        tasks: Tasks run, and ``spared`` because a race was over or the figure was known.
        cpu_s: Guests' CPU time.
    """

    rate: Rate
    done: int = 0
    failed: int = 0
    cached: int = 0
    tasks: int = 0
    spared: int = 0
    cpu_s: float = 0.0
    nodes: dict[str, NodeTally] = field(default_factory=dict[str, NodeTally])

    def ran(self, node: str, genomes: int, tasks: int, cpu_s: float) -> None:
        """A node answered."""
        mine = self.nodes.setdefault(node, NodeTally())
        mine.evaluations += genomes
        mine.tasks += tasks
        self.tasks += tasks
        self.cpu_s += cpu_s
