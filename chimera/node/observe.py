"""A node's numbers at scrape time. Actors are summed by class: addresses and keys never become labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from chimera.cell import Cell
from chimera.metrics import Metrics, observe_bus, observe_sandbox, observe_store
from chimera.system import System

from .parts import Parts

Reading = Mapping[tuple[str, ...], float]


def observe_actors(metrics: Metrics, system: System) -> None:
    """Read mailboxes, restarts and messages of all actors at every scrape."""

    def by_actor(pick: Callable[[Cell], float]) -> Callable[[], Reading]:
        def reading() -> Reading:
            sums: Counter[tuple[str, ...]] = Counter()
            for cell in system.cells.values():
                sums[(cell.kind.actor_name,)] += pick(cell)  # pyright: ignore[reportArgumentType] - a Counter of floats
            return sums

        return reading

    def messages() -> Reading:
        sums: Counter[tuple[str, ...]] = Counter()
        for cell in system.cells.values():
            name = cell.kind.actor_name
            requests = sum(figures.requests for figures in cell.verbs.values())
            errors = sum(figures.errors for figures in cell.verbs.values())
            sums[(name, "ok")] += max(0, requests - errors)
            sums[(name, "error")] += errors
            sums[(name, "refused")] += cell.refused
        return sums

    metrics.at_scrape("chimera_mailbox_messages", by_actor(lambda cell: cell.statistics().waiting))
    metrics.at_scrape("chimera_restarts_total", by_actor(lambda cell: cell.restarts))
    metrics.at_scrape("chimera_messages_total", messages)
    metrics.at_scrape("chimera_handler_busy_seconds_total", by_actor(_busy_s))


def _busy_s(cell: Cell) -> float:
    return sum(figures.busy_s for figures in cell.verbs.values())


def observe_parts(metrics: Metrics, parts: Parts) -> None:
    """Read the bus, the store and the sandbox at every scrape: the present ones, for a restart replaces them."""
    if parts.bus is not None:
        observe_bus(metrics, lambda: parts.need("bus").statistics())
    if parts.store is not None:
        observe_store(metrics, lambda: parts.need("store").statistics())
    if parts.guard is not None:
        metrics.at_scrape("chimera_stream_lost_messages", lambda: _lost(parts))
    if parts.sandbox is not None:
        observe_sandbox(metrics, lambda: parts.need("sandbox").statistics())


def _lost(parts: Parts) -> Reading:
    alarms = parts.need("guard").marks.alarms
    return {(stream,): alarm.lost for stream, alarm in alarms.items()}
