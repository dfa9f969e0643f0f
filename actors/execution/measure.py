"""What the agent actor tells the metrics."""

from __future__ import annotations

from typing import Protocol

from chimera.metrics import Count, Level, Metrics, Spread


class AgentMeter(Protocol):
    """Takes measurements of tasks."""

    def task(self, agent: str, outcome: str, queue_s: float, run_s: float) -> None:
        """One task ended."""
        ...

    def in_flight(self, agent: str, count: int) -> None:
        """So many tasks of the agent are taken and not yet answered."""
        ...


class NoMeter:
    """Measures nothing: for an actor that nobody scrapes."""

    def task(self, agent: str, outcome: str, queue_s: float, run_s: float) -> None:
        """Ignore it."""

    def in_flight(self, agent: str, count: int) -> None:
        """Ignore it."""


class MetricsMeter:
    """Keeps the process's metrics, one cell per label set, so that a task costs three additions."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tasks: dict[tuple[str, str], Count] = {}
        self._times: dict[str, tuple[Spread, Spread]] = {}
        self._levels: dict[str, Level] = {}

    def task(self, agent: str, outcome: str, queue_s: float, run_s: float) -> None:
        """Count a task, and its times unless it was shed."""
        count = self._tasks.get((agent, outcome))
        if count is None:
            count = self._tasks[agent, outcome] = self._metrics.counter("chimera_agent_tasks_total", agent, outcome)
        count.inc()
        if outcome != "shed":
            queue, run = self._times.get(agent) or self._spreads(agent)
            queue.observe(queue_s)
            run.observe(run_s)

    def in_flight(self, agent: str, count: int) -> None:
        """Set the gauge."""
        level = self._levels.get(agent)
        if level is None:
            level = self._levels[agent] = self._metrics.gauge("chimera_agent_in_flight", agent)
        level.set(count)

    def _spreads(self, agent: str) -> tuple[Spread, Spread]:
        name = "chimera_agent_task_duration_seconds"
        made = self._metrics.histogram(name, agent, "queue"), self._metrics.histogram(name, agent, "run")
        self._times[agent] = made
        return made
