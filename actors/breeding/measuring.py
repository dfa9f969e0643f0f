"""Genomes as engines see them, measured on the tasks of one evolution: vectors in, scores out."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from actors.evolving.box import Array
from actors.evolving.codec import Codec
from actors.evolving.correlation import Correlating
from actors.evolving.estimates import Estimate, Running
from actors.evolving.racing import STOP_ALPHA, order, parts, rungs
from actors.evolving.record import GenomeRecord
from subjects.evolution import Descriptor, Objective

from .caseload import Caseload, CaseSplit, Side
from .evaluator import Evaluator
from .examination import Candidate, Examination
from .log import Began
from .nursery import limits_of
from .pace import Pace
from .score import Score, rises
from .sheet import Result
from .yardstick import Yardstick

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Verdict:
    """The best of some genomes on the validation tasks, beside the live one on the same.

    ``low`` bounds the gain from below at 95 %; it is a difference in z (Fisher) where the figure is a correlation.
    """

    genome: str
    value: float
    incumbent: float
    gain: float
    low: float
    better: bool
    tasks: int


class Measuring:
    """Measures genomes of one evolution.

    Every genome meets the same tasks in the same order, so figures are compared task by task. A genome is stopped after
    a rung once its upper bound lies below what the last generation's middle genome reached: that bar stands in the log,
    so a run that is taken up again stops the same ones.

    Args:
        began: The evolution.
        codec: Genomes and vectors.
        evaluator: Runs genomes.
        cases: The tasks.
        tasks: Of the training tasks, how many a genome is measured on.
        forget: Drops the tasks when the evolution has ended.
    """

    def __init__(
        self, *, began: Began, codec: Codec, evaluator: Evaluator, cases: CaseSplit, tasks: int,
        forget: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._began, self.codec, self._evaluator, self._cases = began, codec, evaluator, cases
        self._objectives = began.request.objectives
        self.columns = columns_of(self._objectives, began.descriptors)
        self._yardstick = Yardstick(self._objectives, began.descriptors, began.release.manifest)
        places = order(len(cases.train), began.seed, 0)
        chosen = places[: min(tasks, len(places))]
        self._rungs = parts(chosen, rungs(len(chosen)))
        self._whole = [*self._rungs, [place for place in places if place not in set(chosen)]]
        self._forget = forget

    @property
    def rate(self) -> float:
        """Genomes measured per second of late."""
        return self._evaluator.tally.rate.per_s

    async def close(self) -> None:
        """The evolution has ended: its tasks are not needed any more."""
        await self._forget()

    def lanes(self, island: int) -> int:
        """How many genomes of an island should be under way at once."""
        return self._evaluator.lanes(self._began.islands[island])

    # -- scores --------------------------------------------------------------------------------------------------------

    async def batch(self, island: int, vectors: Array, bar: float | None) -> list[Score]:
        """Scores of vectors, in order; whoever can't reach the bar is stopped early."""
        pace, candidates, scores = Pace(), list[Candidate](), list[Score]()
        for vector in vectors:
            candidates.append(self._candidate(vector))
            await pace.turn()
        for result in await self._evaluator.evaluate(
            self._examination("train", island), candidates, self._rungs, self._rule(bar)
        ):
            scores.append(self._score(result, self._cases.train))
            await pace.turn()
        return scores

    async def one(self, island: int, vector: Array, bar: float | None) -> Score:
        """The score of a single vector."""
        return (await self.batch(island, vector[None], bar))[0]

    async def whole(self, vector: Array) -> Score:
        """The score on all training tasks."""
        [result] = await self._evaluator.evaluate(
            self._examination("train", 0), [self._candidate(vector)], [rung for rung in self._whole if rung]
        )
        return self._score(result, self._cases.train)

    async def live(self, side: Side) -> Score:
        """The score of the live genome on the tasks that the others are measured on."""
        caseload = self._cases.train if side == "train" else self._cases.validation
        places = self._rungs if side == "train" else [list(range(len(caseload)))]
        [result] = await self._evaluator.evaluate(self._examination(side, 0), [Candidate({})], places)
        return self._score(result, caseload)

    async def verdict(self, finalists: Sequence[GenomeRecord]) -> Verdict | None:
        """The best of genomes on all validation tasks; ``None`` if all of them failed."""
        caseload = self._cases.validation
        candidates = [Candidate({}), *(Candidate(one.genes, one.limits) for one in finalists)]
        live, *found = await self._evaluator.evaluate(
            self._examination("validation", 0), candidates, [list(range(len(caseload)))]
        )
        scored = [(self._score(result, caseload), place) for place, result in enumerate(found)]
        sound = [(score.fitness, -place) for score, place in scored if score.fitness is not None]
        incumbent = self._score(live, caseload)
        if not sound:
            return None
        best, place = max(sound)[0], -max(sound)[1]
        sign = 1.0 if rises(self._objectives[0]) else -1.0
        was = incumbent.fitness if incumbent.fitness is not None else -math.inf
        return Verdict(
            genome=finalists[place].id, value=sign * best, incumbent=sign * was, gain=best - was,
            low=self._ahead(found[place], live, caseload), better=best > was, tasks=len(caseload),
        )  # fmt: skip

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _examination(self, side: Side, island: int) -> Examination:
        caseload = self._cases.train if side == "train" else self._cases.validation
        return Examination(self._began.release, caseload, self._yardstick, node=self._began.islands[island])

    def _candidate(self, vector: Array) -> Candidate:
        decoded = self.codec.decode(vector)
        return Candidate(decoded.searched, limits_of(self._began.release.limits, decoded.settings))

    def _rule(self, bar: float | None) -> Callable[[int, Result], str] | None:
        if bar is None or len(self._objectives) > 1 or self._began.descriptors:
            return None
        looks, train = max(1, len(self._rungs) - 1), self._cases.train
        confidence = 1.0 - STOP_ALPHA / looks

        def stop(_index: int, result: Result) -> str:
            known = self._yardstick.estimate(0, result, train)
            best = known.upper_bound(confidence) if rises(self._objectives[0]) else -known.lower_bound(confidence)
            return f"after {known.n} tasks at most {best:.4g}, {bar:.4g} is needed" if best < bar else ""

        return stop

    def _score(self, result: Result, caseload: Caseload) -> Score:
        if result.failure or not result.places:
            failed = tuple(math.nan for _ in range(sum(self.columns)))
            return Score(
                None, None, (), failed, result.tasks, result.cpu_s, failure=result.failure or "nothing was run"
            )
        known = [self._yardstick.estimate(gauge, result, caseload) for gauge in range(len(self._objectives))]
        values = tuple(one.value for one in known)
        fitness = values[0] if rises(self._objectives[0]) else -values[0]
        losses = (*map(_loss, self._objectives, values), *self._limits(values), *self._descriptors(result))
        return Score(
            fitness, known[0].half_width(), values, losses, result.tasks, result.cpu_s, cached=result.cached,
            lost=bool(result.stopped),
        )  # fmt: skip

    def _limits(self, values: Sequence[float]) -> list[float]:
        """Above zero where an objective's limit is broken."""
        return [
            objective.least - value if rises(objective) else value - objective.least
            for objective, value in zip(self._objectives, values, strict=True)
            if objective.least is not None
        ]

    def _descriptors(self, result: Result) -> list[float]:
        """Means over the tasks."""
        found: list[float] = []
        for gauge in range(len(self._objectives), len(self._yardstick.gauges)):
            figures = [figure for _, figure in result.figures(gauge)]
            found.append(math.fsum(figures) / len(figures) if figures else math.nan)
        return found

    def _ahead(self, one: Result, live: Result, caseload: Caseload) -> float:
        """Lower bound of the gain over the live genome, task by task."""
        if self._objectives[0].statistic == "correlation":
            mine, theirs = (Correlating().add(self._yardstick.pairs(0, both, caseload)) for both in (one, live))
            try:
                return mine.ahead(theirs, CONFIDENCE)[0]
            except ValueError:  # one of them did not answer all tasks
                return -math.inf
        metric = self._objectives[0].metric
        sign, width = (1.0 if metric.better == "higher" else -1.0), metric.high - metric.low
        before = dict(live.figures(0))
        ahead: Estimate = Running(-width, width).add(
            sign * (figure - before[place]) for place, figure in one.figures(0) if place in before
        )
        return ahead.lower_bound(CONFIDENCE)


def columns_of(objectives: Sequence[Objective], descriptors: Sequence[Descriptor]) -> tuple[int, int, int]:
    """Objectives, constraints and descriptors of each loss."""
    return len(objectives), sum(one.least is not None for one in objectives), len(descriptors)


def _loss(objective: Objective, value: float) -> float:
    return -value if rises(objective) else value
