"""Cases in portions that one request may carry, and jobs on the same cases together in one. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import groupby

from subjects.trial import MOST_INPUTS

from .caseload import Caseload
from .heat import Heat, Job

INPUT_BYTES = GENOME_BYTES = 256 << 10
"""Inputs and genomes that one request carries at most: its body may have 1 MiB."""


def cut(caseload: Caseload, places: Sequence[int], most: int = MOST_INPUTS) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The cases in portions, in order: each of one task, at most so many, and at most ``INPUT_BYTES`` of them."""
    for task, group in groupby(places, key=lambda place: caseload.cases[place].task):
        portion: list[int] = []
        size = 0
        for place in group:
            more = caseload.cases[place].size
            if portion and (len(portion) >= most or size + more > INPUT_BYTES):
                yield task, tuple(portion)
                portion, size = [], 0
            portion.append(place)
            size += more
        yield task, tuple(portion)


class JobQueue:
    """Jobs in order, those that may share a request together."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Hashable, deque[Job]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, jobs: Iterable[Job], *, first: bool = False) -> None:
        """Queue up; ``first``: they were taken before and could not be done."""
        for job in jobs:
            key = _key(job)
            row = self._rows.get(key)
            if row is None:
                row = self._rows[key] = deque()
            (row.appendleft if first else row.append)(job)
            if first:
                self._rows.move_to_end(key, last=False)
            self._count += 1

    def take(self, fits: Callable[[Job], bool], share: Callable[[Job, int], int]) -> list[Job]:
        """Jobs for one request; empty if there is nothing to do.

        Args:
            fits: Whether the asker may do a job: the first one decides for all that are like it.
            share: How many jobs like this one may go, of so many that wait.
        """
        for key, row in self._rows.items():
            if fits(row[0]):
                found = self._some(row, share(row[0], len(row)))
                if not row:
                    del self._rows[key]
                return found
        return []

    def drop(self, heat: Heat) -> None:
        """Forget an evaluation's jobs."""
        for key, row in list(self._rows.items()):
            kept = deque(job for job in row if job.heat is not heat)
            self._count -= len(row) - len(kept)
            if kept:
                self._rows[key] = kept
            else:
                del self._rows[key]

    def _some(self, row: deque[Job], most: int) -> list[Job]:
        found: list[Job] = []
        size = 0
        while row and len(found) < max(1, most):
            size += row[0].heat.size(row[0].index)
            if found and size > GENOME_BYTES:
                break
            found.append(row.popleft())
        self._count -= len(found)
        return found


def _key(job: Job) -> Hashable:
    alone = id(job) if job.solo else 0
    return job.heat.examination.key, job.task, job.places, alone
