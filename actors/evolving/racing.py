"""Races of genomes over rungs of tasks: whoever can't survive any more need not run the rest.

The cascade: a few tasks for everyone, four times as many for those still in question. All genomes of a generation meet
the tasks in the same order (common random numbers), so a genome is compared with the survival threshold on the very
same tasks. Hoeffding races (Maron and Moore 1997), with bounds that hold at every look (means) or divide the level by
the number of looks (correlations).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from .correlation import Correlating, Pair
from .estimates import Running

FIRST, FACTOR = 32, 4
STOP_ALPHA = 0.05
"""Chance that a genome as good as the threshold is stopped early."""


def rungs(tasks: int, first: int = FIRST, factor: int = FACTOR) -> tuple[int, ...]:
    """Tasks done at the end of each rung, the last one all of them: 32, 128, 512 ... A remainder joins the last rung.

    Raises:
        ValueError: If there are no tasks, or rungs do not grow.
    """
    if tasks < 1 or first < 1 or factor < 2:  # noqa: PLR2004 - a factor of 1 does not grow
        raise ValueError(f"{tasks} tasks in rungs from {first} times {factor} make no race")
    ends: list[int] = []
    while first * factor <= tasks:
        ends.append(first)
        first *= factor
    # the rung before the last is worth a look only if it spares something
    return (*ends, first, tasks) if first * 2 <= tasks else (*ends, tasks)


def order(tasks: int, run_seed: int, generation: int) -> list[int]:
    """The order of tasks for every genome of a generation: the same on every node, in every Python."""
    places = list(range(tasks))
    random.Random(f"{run_seed}:{generation}").shuffle(places)  # noqa: S311 - an order, not a secret
    return places


class Stop(msgspec.Struct, frozen=True):
    """Why a genome runs no further: its bound and what it would have had to reach, after so many tasks."""

    tasks: int
    bound: float
    threshold: float
    paired: bool

    @property
    def reason(self) -> str:
        """In words."""
        if self.paired:
            return f"after {self.tasks} tasks at most {self.bound:+.4g} to the threshold on the same tasks"
        return f"after {self.tasks} tasks at most {self.bound:.4g}, {self.threshold:.4g} is needed"


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a genome must reach to survive.

    Attributes:
        estimate: Of the genome that survives as the last one, with its chance.
        answers: Its figure per task number, where it met the tasks of this generation.
    """

    estimate: Running
    answers: Mapping[int, float]


class MeanRace:
    """One genome against the threshold, by the mean of a bounded figure. Higher is better.

    The false-stop chance is halved between the paired and the unpaired rule; a genome that is equal to the threshold or
    better is stopped with probability ``alpha`` at most, however many looks.

    Args:
        threshold: What must be reached; ``None`` stops nobody.
        low: Least figure of a task.
        high: Greatest figure of a task.
        alpha: Chance of a false stop.
    """

    def __init__(self, threshold: Threshold | None, low: float, high: float, alpha: float = STOP_ALPHA) -> None:
        self._threshold, self._alpha = threshold, alpha
        self.estimate = Running(low, high)
        self._ahead = Running(low - high, high - low)

    def add(self, figures: Iterable[tuple[int, float]]) -> None:
        """Take the figures of more tasks, by task number."""
        found = list(figures)
        self.estimate = self.estimate.add(figure for _, figure in found)
        if self._threshold is not None:
            answers = self._threshold.answers
            self._ahead = self._ahead.add(figure - answers[task] for task, figure in found if task in answers)

    def stop(self) -> Stop | None:
        """Why it runs no further, or ``None`` if it goes on."""
        if self._threshold is None or not self.estimate.n:
            return None
        ahead = self._ahead.upper_bound(1.0 - self._alpha / 2.0)
        if self._ahead.n and ahead < 0.0:
            return Stop(self.estimate.n, ahead, 0.0, paired=True)
        # both sides of the unpaired rule may be wrong, so each gets half of the other half
        each = 1.0 - self._alpha / 4.0
        bound, needed = self.estimate.upper_bound(each), self._threshold.estimate.lower_bound(each)
        return Stop(self.estimate.n, bound, needed, paired=False) if bound < needed else None


class CorrelationRace:
    """One genome against the threshold, by its correlation with people's judgement on the same tasks.

    Args:
        threshold: The threshold genome's pairs by task number; ``None`` stops nobody.
        looks: How often ``stop`` will be asked: rungs but the last.
        alpha: Chance of a false stop, approximately (see ``correlation``).
        centre: See ``Correlating``.
    """

    def __init__(
        self, threshold: Mapping[int, Pair] | None, looks: int, alpha: float = STOP_ALPHA,
        centre: tuple[float, float] = (0.0, 0.0),
    ) -> None:  # fmt: skip
        self._threshold, self._confidence = threshold, 1.0 - alpha / max(1, looks)
        self.estimate = self._mine = self._theirs = Correlating(*centre)

    def add(self, pairs: Iterable[Pair]) -> None:
        """Take more tasks."""
        found = list(pairs)
        self.estimate = self.estimate.add(found)
        if self._threshold is not None:
            shared = [pair for pair in found if pair.task in self._threshold]
            self._mine = self._mine.add(shared)
            self._theirs = self._theirs.add(self._threshold[pair.task] for pair in shared)

    def stop(self) -> Stop | None:
        """Why it runs no further, or ``None`` if it goes on."""
        if self._threshold is None:
            return None
        bound = self._mine.ahead(self._theirs, self._confidence)[1]
        return Stop(self.estimate.n, bound, 0.0, paired=True) if bound < 0.0 else None


class Spending(msgspec.Struct, frozen=True):
    """What races cost and spared: genomes, those stopped early, tasks run and tasks spared."""

    genomes: int = 0
    stopped: int = 0
    run: int = 0
    spared: int = 0

    def after(self, run: int, tasks: int) -> Spending:
        """One more genome, that ran so many of all tasks.

        Raises:
            ValueError: If it ran more tasks than there are.
        """
        if not 0 <= run <= tasks:
            raise ValueError(f"{run} of {tasks} tasks can't be")
        return Spending(self.genomes + 1, self.stopped + (run < tasks), self.run + run, self.spared + tasks - run)

    @property
    def share_spared(self) -> float:
        """Tasks spared of all that there would have been."""
        return self.spared / (self.run + self.spared) if self.spared else 0.0


def parts(places: Sequence[int], ends: Sequence[int]) -> list[Sequence[int]]:
    """The tasks of each rung."""
    return [places[begin:end] for begin, end in zip((0, *ends[:-1]), ends, strict=True)]
