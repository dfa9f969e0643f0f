"""Where numbers that others keep come from: the process, the bus, the sandbox, the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .registry import Metrics

if TYPE_CHECKING:
    from chimera.bus.contract import BusStatistics
    from chimera.sandbox.contract import SandboxStatistics
    from chimera.store.contract import PoolStatistics, StoreStatistics

_ALONE = ()
"""Label values of a metric without labels."""


def observe_process(metrics: Metrics, *, proc: Path = Path("/proc/self")) -> None:
    """Read memory, CPU time and file descriptors of this process before every scrape; nothing without a /proc."""
    if not (proc / "statm").exists():
        return
    page, ticks = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    memory = metrics.gauge("chimera_process_resident_memory_bytes")
    cpu = metrics.counter("chimera_process_cpu_seconds_total")
    files = metrics.gauge("chimera_process_open_fds")

    def fill() -> None:
        memory.set(int((proc / "statm").read_text().split()[1]) * page)
        # proc(5): after the command in brackets, utime and stime are the 12th and 13th field
        fields = (proc / "stat").read_text().rpartition(")")[2].split()
        cpu.value = (int(fields[11]) + int(fields[12])) / ticks
        files.set(sum(1 for _ in (proc / "fd").iterdir()))

    metrics.before_scrape(fill)


def observe_bus(metrics: Metrics, statistics: Callable[[], BusStatistics]) -> None:
    """Read the bus's counters at every scrape."""

    def single(name: str, pick: Callable[[BusStatistics], float | None]) -> None:
        def reading() -> Mapping[tuple[str, ...], float]:
            value = pick(statistics())
            return {} if value is None else {_ALONE: value}

        metrics.at_scrape(name, reading)

    def messages() -> Mapping[tuple[str, ...], float]:
        now = statistics()
        return {("sent",): now.sent, ("received",): now.received}

    def reconnects() -> Mapping[tuple[str, ...], float]:
        now = statistics()
        return {("client",): now.reconnects, ("rebuilt",): now.rebuilt}

    metrics.at_scrape("chimera_bus_messages_total", messages)
    metrics.at_scrape("chimera_bus_reconnects_total", reconnects)
    single("chimera_bus_connected", lambda now: now.state == "connected")
    single("chimera_bus_messages_dropped_total", lambda now: now.dropped)
    single("chimera_bus_errors_total", lambda now: now.errors)
    single("chimera_bus_pending_messages", lambda now: now.pending)
    single("chimera_bus_subscriptions", lambda now: now.subscriptions)
    single("chimera_bus_round_trip_seconds", lambda now: now.rtt_s)


def observe_sandbox(metrics: Metrics, statistics: Callable[[], SandboxStatistics]) -> None:
    """Read the sandbox's counters at every scrape."""

    def workers() -> Mapping[tuple[str, ...], float]:
        now = statistics()
        return {("idle",): now.idle, ("busy",): now.workers - now.idle}

    def calls() -> Mapping[tuple[str, ...], float]:
        now = statistics()
        return {("ok",): now.calls - now.failures, ("failed",): now.failures}

    metrics.at_scrape("chimera_sandbox_workers", workers)
    metrics.at_scrape("chimera_sandbox_calls_total", calls)
    metrics.at_scrape("chimera_sandbox_waiting_tasks", lambda: {_ALONE: statistics().waiting})
    metrics.at_scrape("chimera_sandbox_guests", lambda: {_ALONE: statistics().loaded})
    metrics.at_scrape("chimera_sandbox_instances", lambda: {_ALONE: statistics().instances})
    metrics.at_scrape("chimera_sandbox_worker_deaths_total", lambda: {_ALONE: statistics().worker_deaths})


def observe_store(metrics: Metrics, statistics: Callable[[], StoreStatistics]) -> None:
    """Read the store's counters at every scrape."""

    def operations() -> Mapping[tuple[str, ...], float]:
        now = statistics()
        return {("read",): now.reads, ("write",): now.writes}

    metrics.at_scrape("chimera_store_operations_total", operations)
    metrics.at_scrape("chimera_store_errors_total", lambda: {_ALONE: statistics().errors})
    metrics.at_scrape("chimera_store_queued_operations", lambda: {_ALONE: statistics().queued})
    metrics.at_scrape("chimera_store_size_bytes", lambda: {_ALONE: statistics().size_bytes})
    _observe_pool(metrics, lambda: statistics().pool)


def _observe_pool(metrics: Metrics, statistics: Callable[[], PoolStatistics | None]) -> None:
    """Nothing is shown for a store without a pool."""

    def single(name: str, pick: Callable[[PoolStatistics], float]) -> None:
        def reading() -> Mapping[tuple[str, ...], float]:
            pool = statistics()
            return {} if pool is None else {_ALONE: pick(pool)}

        metrics.at_scrape(name, reading)

    def connections() -> Mapping[tuple[str, ...], float]:
        pool = statistics()
        return {} if pool is None else {("busy",): pool.busy, ("idle",): pool.idle}

    metrics.at_scrape("chimera_store_pool_connections", connections)
    single("chimera_store_connected", lambda pool: pool.connected)
    single("chimera_store_pool_max_connections", lambda pool: pool.limit)
    single("chimera_store_pool_waits_total", lambda pool: pool.waits)
    single("chimera_store_losses_total", lambda pool: pool.losses)
