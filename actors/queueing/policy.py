"""Which task is next: fair between agents, by priority with ageing within one.

Between agents: start-time fair queueing (Goyal, Vin, Cheng 1996). Each agent has a tag in virtual time; the least is
served, and moves on by the task's cost. An agent that comes back from idleness begins at the present virtual time, so
that its single task waits for at most one task of each other agent, however many those have queued.

Within an agent: the least of ``queued_at + rank * step_s``. That is ageing in closed form: a task of rank ``r`` is
overtaken only by tasks queued less than ``(r - rank of those) * step_s`` after it, so none starves.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

STEP_S = 60.0
"""Waiting this long makes up for one rank of priority."""

_COSTS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Virtual time that a task of each rank takes: an agent with urgent work gets a larger share, never all of it."""


@dataclass(slots=True)
class Waiting:
    """A task in the queue."""

    id: str
    agent: str
    level: int
    at: float
    gone: bool = False


@dataclass(slots=True)
class Lane:
    """One agent's queue."""

    heap: list[tuple[float, int, Waiting]] = field(default_factory=list[tuple[float, int, Waiting]])
    tag: float = 0.0
    served: int = 0
    count: int = 0
    levels: list[int] = field(default_factory=lambda: [0] * len(_COSTS))

    def head(self) -> Waiting | None:
        """The next task of the agent."""
        while self.heap and self.heap[0][2].gone:
            heapq.heappop(self.heap)
        return self.heap[0][2] if self.heap else None


class FairQueue:
    """Tasks that may run now.

    Args:
        step_s: See ``STEP_S``.
    """

    def __init__(self, step_s: float = STEP_S) -> None:
        self._step_s = step_s
        self._lanes: dict[str, Lane] = {}
        self._all: dict[str, Waiting] = {}
        self._now = 0.0
        self._order = itertools.count()
        self._served = itertools.count(1)
        self.levels = [0] * len(_COSTS)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, task: str) -> bool:
        return task in self._all

    def put(self, task: str, agent: str, level: int, at: float) -> None:
        """Add a task queued at ``at``; no effect if it is there already."""
        if task in self._all:
            return
        lane = self._lanes.get(agent)
        if lane is None:
            lane = self._lanes[agent] = Lane(tag=self._now)
        elif lane.count == 0:
            lane.tag = max(lane.tag, self._now)
        waiting = self._all[task] = Waiting(task, agent, level, at)
        heapq.heappush(lane.heap, (at + level * self._step_s, next(self._order), waiting))
        lane.count += 1
        lane.levels[level] += 1
        self.levels[level] += 1

    def discard(self, task: str) -> bool:
        """Take a task out; false if it was not in."""
        waiting = self._all.pop(task, None)
        if waiting is None:
            return False
        waiting.gone = True
        lane = self._lanes[waiting.agent]
        lane.count -= 1
        lane.levels[waiting.level] -= 1
        self.levels[waiting.level] -= 1
        return True

    def pop(self, may_run: Callable[[str], bool]) -> Waiting | None:
        """The next task of an agent that may run one now; ``None`` if there is none."""
        best: tuple[tuple[float, int], Lane, Waiting] | None = None
        for agent, lane in self._lanes.items():
            if not lane.count:
                continue
            rank = (max(lane.tag, self._now), lane.served)
            if (best is None or rank < best[0]) and may_run(agent) and (head := lane.head()) is not None:
                best = (rank, lane, head)
        if best is None:
            return None
        (start, _), lane, waiting = best
        self._now = start
        lane.tag = start + _COSTS[waiting.level]
        lane.served = next(self._served)
        heapq.heappop(lane.heap)
        self.discard(waiting.id)
        return waiting

    def depth(self, agent: str) -> int:
        """Tasks of one agent that wait."""
        lane = self._lanes.get(agent)
        return lane.count if lane is not None else 0

    def ahead(self, agent: str, level: int) -> int:
        """Tasks of one agent that wait with the same rank or a higher one."""
        lane = self._lanes.get(agent)
        return sum(lane.levels[: level + 1]) if lane is not None else 0

    def oldest_by_agent(self) -> dict[str, float]:
        """When the longest waiting task of each agent was queued; reads everything, for scrapes."""
        found: dict[str, float] = {}
        for waiting in self._all.values():
            if waiting.at < found.get(waiting.agent, waiting.at + 1.0):
                found[waiting.agent] = waiting.at
        return found

    def oldest(self, agent: str = "") -> float | None:
        """When the longest waiting task (of one agent) was queued; reads everything, for people's questions."""
        times = (waiting.at for waiting in self._all.values() if not agent or waiting.agent == agent)
        return min(times, default=None)
