"""One evaluation under way: genomes that climb rungs of cases, each by itself, until stopped or through. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import anyio

from chimera.errors import BadGenomeError, ChimeraError
from subjects.trial import Failed, GenomeRun

from .caseload import Caseload
from .examination import Candidate, Examination
from .fitness_cache import FitnessCache, SheetKey
from .sheet import Result, Sheet

CRASHES = 0.5
"""A genome that fails on more than this share of a rung is a failure, not a bad genome."""

GoOn = Callable[[int, Result], str]
"""Asked after each rung but the last, with the genome's index and what is known: why it is stopped, or nothing."""

Cut = Callable[[Caseload, Sequence[int]], Iterator[tuple[str, tuple[int, ...]]]]
"""Cases in portions that one request may carry: the agent's task, and the cases."""


@dataclass(slots=True, eq=False)
class Job:
    """A genome and some cases that it is to be run on. ``solo``: alone in its request; ``tries`` failed so far."""

    heat: Heat
    index: int
    task: str
    places: tuple[int, ...]
    solo: bool = False
    tries: int = 0


@dataclass(slots=True)
class _Climb:
    """Where a genome is: its rung, jobs of that rung that are not done, and what the last failed task said."""

    candidate: Candidate
    key: SheetKey | None
    result: Result
    size: int
    rung: int = 0
    waiting: int = 0
    fault: str = ""
    foreign: bool = False
    twins: list[int] = field(default_factory=list[int])


class Heat:
    """An evaluation of some genomes: all ``enter``, then it begins.

    Args:
        examination: The same for all.
        rungs: Cases of each rung, the same order for all of them (common random numbers).
        go_on: Says after a rung who is stopped.
        cut: Cuts a rung into portions.
        cache: Remembers figures of repeatable agents.

    Attributes:
        results: One per genome; of those that are through, final.
        left: Genomes that are not through.
        over: Set when none is left, or ``error`` ended it.
    """

    def __init__(
        self, examination: Examination, rungs: Sequence[Sequence[int]], *, go_on: GoOn | None, cut: Cut,
        cache: FitnessCache,
    ) -> None:  # fmt: skip
        self.examination, self.rungs = examination, rungs
        self._go_on, self._cut, self._cache = go_on, cut, cache
        self._climbs: list[_Climb] = []
        self.results: list[Result] = []
        self.left = 0
        self.over = anyio.Event()
        self.error: ChimeraError | None = None
        self._through: list[int] = []

    def enter(self, candidate: Candidate) -> None:
        """One more genome."""
        climb = self._climb(candidate)
        self._climbs.append(climb)
        self.results.append(climb.result)
        self.left += 1

    def begin(self) -> Iterator[list[Job]]:
        """The first jobs, genome by genome; genomes that are there twice climb once."""
        climbing: list[int] = []
        leaders: dict[SheetKey, _Climb] = {}
        for index, climb in enumerate(self._climbs):
            if climb.result.failure:
                self._end(index)
            elif climb.key is not None and climb.key in leaders:
                leaders[climb.key].twins.append(index)
            else:
                if climb.key is not None:
                    leaders[climb.key] = climb
                climbing.append(index)
        if not self._climbs:
            self.over.set()
        # only now are all twins known: a leader of which everything is known already is through in its first step
        for index in climbing:
            yield self._step(index)

    def take(self, job: Job, run: GenomeRun) -> list[Job]:
        """What a node made of a job, and the jobs that follow from it."""
        if self.over.is_set():
            return []
        climb, places = self._climbs[job.index], job.places[: run.tasks]
        result = climb.result
        rows = self.examination.yardstick.read(run, self.examination.caseload, places)
        result.sheet.fill(places, rows, [failed.place for failed in run.failures])
        result.ran += run.tasks
        result.cpu_s += run.cpu_s
        climb.foreign |= bool(run.checksum) and run.checksum != result.checksum
        climb.waiting -= 1
        climb.fault = _words(run.failures) or climb.fault
        if run.refused:
            return self._fail(job.index, f"it can't be started: {run.refused}")
        if run.tasks < len(job.places):
            return self._fail(job.index, f"given up after {run.tasks} tasks: {climb.fault}")
        return self._step(job.index) if climb.waiting == 0 else []

    def give_up(self, job: Job, why: str) -> list[Job]:
        """A case that no node could run in time: the genome's fault."""
        return [] if self.over.is_set() else self._fail(job.index, why)

    def split(self, job: Job) -> list[Job]:
        """The same work in smaller pieces: alone, and then in halves."""
        if self.over.is_set():
            return []
        if not job.solo:
            return [Job(self, job.index, job.task, job.places, solo=True)]
        half = len(job.places) // 2
        self._climbs[job.index].waiting += 1
        return [Job(self, job.index, job.task, part, solo=True) for part in (job.places[:half], job.places[half:])]

    def fail(self, error: ChimeraError) -> None:
        """End it with an error."""
        if not self.over.is_set():
            self.error = error
            self.over.set()

    def candidate(self, index: int) -> Candidate:
        """A genome."""
        return self._climbs[index].candidate

    def size(self, index: int) -> int:
        """Bytes of a genome in a request."""
        return self._climbs[index].size

    def through(self) -> list[Result]:
        """Results that became final since this was asked last."""
        found, self._through = [self.results[index] for index in self._through], []
        return found

    def _climb(self, candidate: Candidate) -> _Climb:
        examination = self.examination
        fresh = Sheet(len(examination.caseload), len(examination.yardstick.gauges))
        try:
            key = examination.sheet_key(candidate)
        except BadGenomeError as error:
            return _Climb(candidate, None, Result("", fresh, failure=error.detail), 0)
        if not examination.repeatable:
            return _Climb(candidate, None, Result(key.checksum, fresh), candidate.size())
        known = self._cache.find(key)
        result = Result(key.checksum, known or fresh, failure=known.failure if known else "")
        return _Climb(candidate, key, result, candidate.size())

    def _step(self, index: int) -> list[Job]:
        """Close rungs for as long as nothing must be run for them."""
        climb = self._climbs[index]
        while climb.rung < len(self.rungs):
            rung = self.rungs[climb.rung]
            missing = climb.result.sheet.missing(rung)
            if missing:
                jobs = [
                    Job(self, index, task, places) for task, places in self._cut(self.examination.caseload, missing)
                ]
                climb.waiting = len(jobs)
                return jobs
            climb.rung += 1
            self._close(index, climb, rung)
            if climb.result.failure or climb.result.stopped:
                break
        self._end(index)
        return []

    def _close(self, index: int, climb: _Climb, rung: Sequence[int]) -> None:
        result = climb.result
        result.places.extend(rung)
        failed = result.sheet.failed(rung)
        if failed > CRASHES * len(rung):
            why = f"{failed} of {len(rung)} tasks failed{climb.fault and ': ' + climb.fault}"
            result.failure = result.sheet.failure = why
        elif self._go_on is not None and climb.rung < len(self.rungs):
            result.stopped = self._go_on(index, result)

    def _fail(self, index: int, why: str) -> list[Job]:
        result = self._climbs[index].result
        if not result.failure:
            result.failure = result.sheet.failure = why[:500]
            self._end(index)
        return []

    def _end(self, index: int) -> None:
        """A genome is through, and so are its twins."""
        climb = self._climbs[index]
        result = climb.result
        if climb.key is not None and not climb.foreign:
            self._cache.keep(climb.key, result.sheet)
        for twin in climb.twins:
            self.results[twin] = Result(
                result.checksum, result.sheet, list(result.places), failure=result.failure, stopped=result.stopped
            )
        self._through += [index, *climb.twins]
        self.left -= 1 + len(climb.twins)
        if self.left == 0:
            self.over.set()


def _words(failures: Sequence[Failed]) -> str:
    return f"{failures[-1].outcome}: {failures[-1].detail}"[:300] if failures else ""
