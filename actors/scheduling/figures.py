"""What the leader measures, for Prometheus: counted where it happens, and shown once a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.queueing.records import LEVELS
from chimera.metrics import Count, Level, Metrics, Spread

if TYPE_CHECKING:
    from .core import Core


class Figures:
    """Cells by label, kept where they are used. Agents beyond the first thousand share the label ``other``.

    Args:
        metrics: The process's metrics; ``None`` = nobody scrapes.
    """

    def __init__(self, metrics: Metrics | None) -> None:
        self._metrics = Metrics() if metrics is None else metrics
        self._counts: dict[tuple[str, ...], Count] = {}
        self._runs: dict[str, Spread] = {}
        self._levels: dict[tuple[str, ...], Level] = {}
        self._cut_off = 0

    def submitted(self, agent: str) -> None:
        """A task was taken."""
        self._count("chimera_scheduler_submitted_tasks_total", agent)

    def refused(self, code: str) -> None:
        """A task was not taken; ``code`` is the error's."""
        self._count("chimera_scheduler_refused_tasks_total", code)

    def finished(self, agent: str, state: str) -> None:
        """A task has come to an end."""
        self._count("chimera_scheduler_finished_tasks_total", agent, state)

    def retried(self, agent: str, outcome: str) -> None:
        """An attempt failed or was lost, and there will be another."""
        self._count("chimera_scheduler_retries_total", agent, outcome)

    def ran(self, agent: str, run_s: float) -> None:
        """An attempt that succeeded took ``run_s`` inside the agent."""
        spread = self._runs.get(agent)
        if spread is None:
            spread = self._runs[agent] = self._metrics.histogram("chimera_scheduler_run_duration_seconds", agent)
        spread.observe(run_s)

    def show(self, core: Core, history_lag: int | None) -> None:
        """Set every gauge to what is now."""
        ledger, now, unix = core.ledger, core.clock.monotonic(), core.clock.time()
        self._set("chimera_scheduler_leader", 1)
        self._set("chimera_scheduler_epoch", ledger.epoch)
        for level, depth in zip(LEVELS, ledger.queue.levels, strict=True):
            self._set("chimera_scheduler_queued_tasks", depth, level)
        for lane in core.lanes:
            agent, depth = lane.agent, ledger.queue.depth(lane.agent)
            oldest = ledger.queue.oldest(agent)
            self._set("chimera_scheduler_agent_queued_tasks", depth, agent)
            age = 0.0 if oldest is None else max(0.0, unix - oldest)
            self._set("chimera_scheduler_oldest_task_age_seconds", age, agent)
            self._set("chimera_scheduler_in_flight_tasks", lane.in_flight, agent)
            self._set("chimera_scheduler_concurrency_limit", lane.aimd.limit, agent)
            self._set("chimera_scheduler_desired_workers", lane.desired(now, depth), agent)
        self._set("chimera_scheduler_delayed_tasks", len(ledger.scheduled))
        self._set("chimera_scheduler_dead_letters", len(core.letters))
        self._set("chimera_scheduler_log_messages", core.journal.messages)
        self._set("chimera_scheduler_watchers", len(core.audience))
        if history_lag is not None:
            self._set("chimera_scheduler_history_lag_messages", history_lag)
        if core.disk_free is not None:
            self._set("chimera_scheduler_disk_free_bytes", core.disk_free)
        self._count("chimera_scheduler_watchers_cut_off_total", by=core.audience.cut_off - self._cut_off)
        self._cut_off = core.audience.cut_off

    def stop(self) -> None:
        """This instance does not lead any more: what it showed is another's to show."""
        for level in self._levels.values():
            level.set(0)

    def _count(self, name: str, *labels: str, by: int = 1) -> None:
        count = self._counts.get((name, *labels))
        if count is None:
            count = self._counts[name, *labels] = self._metrics.counter(name, *labels)
        count.inc(by)

    def _set(self, name: str, value: float, *labels: str) -> None:
        level = self._levels.get((name, *labels))
        if level is None:
            level = self._levels[name, *labels] = self._metrics.gauge(name, *labels)
        level.set(value)
