"""What the leader measures, for Prometheus: counted where it happens, or read at the scrape."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.queueing.records import LEVELS
from chimera.metrics import Count, Metrics, Reading, Spread

if TYPE_CHECKING:
    from .core import Core
    from .lanes import Lane


class Figures:
    """Cells by label, kept where they are used. Agents beyond the first thousand share the label ``other``.

    Args:
        metrics: The process's metrics; ``None`` = nobody scrapes.
    """

    def __init__(self, metrics: Metrics | None) -> None:
        self._metrics = Metrics() if metrics is None else metrics
        self._counts: dict[tuple[str, ...], Count] = {}
        self._runs: dict[str, Spread] = {}
        self._shown: dict[str, Reading] = {}

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

    def lead(self, core: Core) -> None:
        """Show the levels of this leader at every scrape, until ``stop``."""
        self._shown = readings(core)
        for name, reading in self._shown.items():
            self._metrics.at_scrape(name, reading)

    def stop(self) -> None:
        """This instance does not lead any more: what it showed is another's to show."""
        for name, reading in self._shown.items():
            self._metrics.no_longer(name, reading)
        self._shown = {}

    def _count(self, name: str, *labels: str) -> None:
        count = self._counts.get((name, *labels))
        if count is None:
            count = self._counts[name, *labels] = self._metrics.counter(name, *labels)
        count.inc()


def readings(core: Core) -> dict[str, Reading]:
    """Every level, by the metric that shows it."""
    ledger, clock = core.ledger, core.clock

    def by_lane(pick: Callable[[Lane], float]) -> Reading:
        return lambda: {(lane.agent,): pick(lane) for lane in core.lanes}

    def single(pick: Callable[[], float | None]) -> Reading:
        def read() -> dict[tuple[str, ...], float]:
            value = pick()
            return {} if value is None else {(): value}

        return read

    def ages() -> dict[tuple[str, ...], float]:
        oldest, now = ledger.queue.oldest_by_agent(), clock.time()
        return {(lane.agent,): max(0.0, now - oldest.get(lane.agent, now)) for lane in core.lanes}

    def desired(lane: Lane) -> float:
        return lane.desired(clock.monotonic(), ledger.queue.depth(lane.agent))

    def queued() -> dict[tuple[str, ...], float]:
        return {(level,): depth for level, depth in zip(LEVELS, ledger.queue.levels, strict=True)}

    def room() -> float | None:
        return min((free for free in (core.disk_free, core.store_free) if free is not None), default=None)

    return {
        "chimera_scheduler_leader": single(lambda: 1),
        "chimera_scheduler_epoch": single(lambda: ledger.epoch),
        "chimera_scheduler_queued_tasks": queued,
        "chimera_scheduler_agent_queued_tasks": by_lane(lambda lane: ledger.queue.depth(lane.agent)),
        "chimera_scheduler_delayed_tasks": single(lambda: len(ledger.scheduled)),
        "chimera_scheduler_oldest_task_age_seconds": ages,
        "chimera_scheduler_in_flight_tasks": by_lane(lambda lane: lane.in_flight),
        "chimera_scheduler_concurrency_limit": by_lane(lambda lane: lane.aimd.limit),
        "chimera_scheduler_desired_workers": by_lane(desired),
        "chimera_scheduler_dead_letters": single(lambda: len(core.letters)),
        "chimera_scheduler_log_messages": single(lambda: core.journal.messages),
        "chimera_scheduler_history_lag_messages": single(lambda: core.history_lag),
        "chimera_scheduler_disk_free_bytes": single(room),
        "chimera_scheduler_watchers": single(lambda: len(core.audience)),
        "chimera_scheduler_watchers_cut_off_total": single(lambda: core.audience.cut_off),
    }
