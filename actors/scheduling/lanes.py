"""What one agent is granted and what it achieves: its limits, what runs, its rates and run times."""

from __future__ import annotations

from collections import deque

from actors.queueing.adaptive import Aimd
from actors.queueing.limits import TokenBucket
from actors.queueing.littles import Rate, desired_workers
from actors.queueing.records import Control

CONCURRENCY = 64
"""Attempts of one agent at once where nobody set a limit; adaptation stays below it."""

_SAMPLES = 256
_MOST_LANES = 1000


class Lane:
    """One agent. ``now`` is monotonic seconds throughout."""

    __slots__ = ("agent", "aimd", "arrived", "bucket", "ended", "held_until", "in_flight", "paused", "runs", "told")

    def __init__(self, agent: str, now: float) -> None:
        self.agent = agent
        self.aimd = Aimd(CONCURRENCY)
        self.told = self.aimd.limit
        self.bucket = TokenBucket(0.0, now)
        self.in_flight = 0
        self.paused = False
        self.held_until = 0.0
        self.arrived = Rate(now)
        self.ended = Rate(now)
        self.runs: deque[float] = deque(maxlen=_SAMPLES)

    def may_start(self, now: float) -> bool:
        """True if one more attempt may begin."""
        return (
            not self.paused and now >= self.held_until and self.in_flight < self.aimd.limit
            and self.bucket.wait_s(now) <= 0
        )  # fmt: skip

    def wait_s(self, now: float) -> float | None:
        """Seconds until time alone lets it start one; ``None`` if time is not what it waits for."""
        wait = max(self.held_until - now, self.bucket.wait_s(now))
        return wait if wait > 0 and not self.paused else None

    def ran(self, run_s: float) -> None:
        """An attempt ended that took ``run_s`` inside the agent."""
        self.runs.append(run_s)
        self.aimd.sample(run_s, self.in_flight + 1)  # itself has just left

    def throughput(self, now: float) -> float:
        """Attempts per second that it can end at best: what its limits allow with today's run times; 0 = not known.

        The rate of the last minute alone would be a lie about an agent that had little to do.
        """
        lately, allowed = self.ended.per_s(now), self.bucket.rate
        mean = sum(self.runs) / len(self.runs) if self.runs else 0.0
        best = max(lately, self.aimd.limit / mean) if mean > 0 else allowed if allowed > 0 else 0.0
        return min(best, max(allowed, lately)) if allowed > 0 else best

    def adapted(self) -> str:
        """How the limit changed since this was asked last, and why; empty if it did not."""
        limit, before = self.aimd.limit, self.told
        self.told = limit
        return "" if limit == before else f"{before} -> {limit} attempts at once: {self.aimd.reason}"

    def hold(self, now: float, seconds: float) -> None:
        """Start nothing for a while: the agent is away or full, and asking for each task would tell no more."""
        self.held_until = max(self.held_until, now + seconds)

    def quantile(self, share: float) -> float | None:
        """Run time by nearest rank over the last attempts, in seconds."""
        ordered = sorted(self.runs)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None

    def desired(self, now: float, backlog: int) -> int:
        """Workers that today's work asks for."""
        mean = sum(self.runs) / len(self.runs) if self.runs else 0.0
        return desired_workers(self.arrived.per_s(now), mean, backlog)


class Lanes:
    """All agents that ever had a task here, bounded by forgetting idle ones."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self._control = Control()

    def __getitem__(self, agent: str) -> Lane:
        return self._lanes[agent]

    def __iter__(self):  # noqa: ANN204 - an iterator of lanes
        return iter(self._lanes.values())

    def get(self, agent: str, now: float) -> Lane:
        """An agent's lane, made when first needed."""
        lane = self._lanes.get(agent)
        if lane is None:
            if len(self._lanes) >= _MOST_LANES:
                self._forget(now)
            lane = self._lanes[agent] = Lane(agent, now)
            self._govern(lane, now)
        return lane

    def _forget(self, now: float) -> None:
        """Drop who has had nothing for a minute; a lane is made again when it is needed."""
        idle = [lane.agent for lane in self if not lane.in_flight and not lane.arrived.per_s(now)]
        for agent in idle:
            del self._lanes[agent]

    def govern(self, control: Control, now: float) -> None:
        """Put limits and pauses in force."""
        self._control = control
        for lane in self._lanes.values():
            self._govern(lane, now)

    def _govern(self, lane: Lane, now: float) -> None:
        control = self._control
        lane.paused = control.paused or control.draining or lane.agent in control.agents
        concurrency, rate = control.limits.get(lane.agent, (CONCURRENCY, 0.0))
        lane.aimd.most = concurrency
        if lane.bucket.rate != rate:
            lane.bucket = TokenBucket(rate, now)
