"""What the store recorded of a window: exact sums, and figures of as many tasks as can be looked at."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace

import anyio.to_thread
import msgspec
import numpy as np

from actors.insight.baseline import Sample, Summary, summarize
from chimera.store.contract import Measured, MeasureFilter, Store, Tally

MOST_ROWS = 200_000
"""Tasks whose figures are looked at; of a window with more every nth is taken."""

_PAGE = 20_000


@dataclass(frozen=True, slots=True)
class Window:
    """A window of recorded tasks, by agent. Counts are exact; ``samples`` may hold every nth task only.

    ``parts`` are the tallies of equal parts of it, in order; ``tallies`` those of the whole.
    """

    since: float
    until: float
    parts: list[list[Tally]]
    tallies: dict[str, Tally]
    samples: dict[str, Sample]

    def summaries(self) -> dict[str, Summary]:
        """Figures with their errors; what was counted exactly replaces what the sample would say. CPU-bound."""
        return {
            agent: _exact(summarize(self.samples[agent]), tally)
            for agent, tally in self.tallies.items()
            if agent in self.samples
        }


class Windows:
    """Reads windows from the store, in pages, so that others get their turn.

    Args:
        store: Where outcomes and judgements are projected to.
        most: See ``MOST_ROWS``.
    """

    def __init__(self, store: Store, most: int = MOST_ROWS) -> None:
        self._store, self._most = store, most

    async def read(self, since: float, until: float, parts: int = 1) -> Window:
        """The tasks that ended at or after ``since`` and before ``until``, also counted by so many equal parts."""
        counted = [await self._store.tally(begin, end) for begin, end in _pairs(since, until, parts)]
        tallies = _merge(counted)
        total = sum(tally.tasks for tally in tallies.values())
        stride = max(1, math.ceil(total / self._most))
        pages = max(1, math.ceil(total / stride / _PAGE))
        found: list[Measured] = []
        for begin, end in _pairs(since, until, pages):
            where = MeasureFilter(since=begin, until=end, stride=stride, limit=self._most)
            found += await self._store.measured(where)
        samples = await anyio.to_thread.run_sync(_samples, found, since, until)
        weighed = {agent: _weighed(each, tallies) for agent, each in samples.items()}
        return Window(since, until, counted, tallies, weighed)

    async def summaries(self, since: float, until: float) -> dict[str, Summary]:
        """Figures by agent, with their errors."""
        return await anyio.to_thread.run_sync((await self.read(since, until)).summaries)


def _pairs(since: float, until: float, count: int) -> Iterator[tuple[float, float]]:
    """Begin and end of each of ``count`` equal parts."""
    return itertools.pairwise([*(since + (until - since) * part / count for part in range(count)), until])


def _merge(parts: list[list[Tally]]) -> dict[str, Tally]:
    """The tallies of all parts together, by agent's name."""
    rows: defaultdict[str, list[tuple[float, ...]]] = defaultdict(list)
    for tally in itertools.chain.from_iterable(parts):
        rows[tally.agent].append(astuple(tally)[1:])
    return {agent: Tally(agent, *map(sum, zip(*rows[agent], strict=True))) for agent in sorted(rows)}


def _samples(found: list[Measured], since: float, until: float) -> dict[str, Sample]:
    by_agent: defaultdict[str, list[tuple[float, ...]]] = defaultdict(list)
    for one in found:
        correct = np.nan if one.correct is None else float(one.correct)
        by_agent[one.agent].append((one.at, one.queue_ms + one.run_ms, one.cpu_ms, float(not one.ok), correct))
    samples: dict[str, Sample] = {}
    for agent, rows in sorted(by_agent.items()):
        table = np.array(rows, np.float64).T
        samples[agent] = Sample(agent, since, until, table[0], table[1], table[2], table[3], table[4])
    return samples


def _weighed(sample: Sample, tallies: dict[str, Tally]) -> Sample:
    """A task that ended between the two questions counts in one of them only: hence at most a hair off 1."""
    tally = tallies.get(sample.agent)
    return sample if tally is None else replace(sample, weight=tally.tasks / sample.at.size)


def _exact(summary: Summary, tally: Tally) -> Summary:
    rate = tally.errors / tally.tasks
    figures = msgspec.structs.replace(
        summary.figures, tasks=tally.tasks, error_rate=rate, availability=1 - rate,
        accuracy=tally.correct / tally.judged if tally.judged else None,
    )  # fmt: skip
    return msgspec.structs.replace(summary, figures=figures)
