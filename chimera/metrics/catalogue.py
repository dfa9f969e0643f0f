"""Every metric there is: name, kind, labels, meaning. The exposition, the docs and the rule tests read this table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of latency buckets in seconds; they hold the targets 50, 100 and 500 ms exactly."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. Label values come from code, settings, or names of actors, agents and devices; else never from ids.

    Attributes:
        name: ``chimera_`` first, base unit last, ``_total`` on counters.
        kind: What Prometheus calls its type.
        help: One line for people.
        labels: Names of its labels, in the order in which code gives their values.
        buckets: Upper bounds, for histograms only.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "counter", text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "gauge", text, labels)


def _latency(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, "histogram", text, labels, LATENCY_S)


CATALOGUE: tuple[Metric, ...] = (
    _gauge("chimera_build_info", "Always 1; the labels say what runs", "version", "python", "node"),
    _counter("chimera_scrape_errors_total", "Readings at scrape time that failed and were left out", "metric"),
    # the HTTP bridge
    _counter("chimera_http_requests_total", "Answered requests", "port", "operation", "status"),
    _latency(
        "chimera_http_request_duration_seconds", "From headers to the last byte of the answer", "port", "operation"
    ),
    _gauge("chimera_http_connections", "Open connections"),
    _counter("chimera_http_connections_refused_total", "Connections closed before an answer", "reason"),
    _counter("chimera_auth_failures_total", "Refused attempts to change something", "reason"),
    # between layers
    _latency("chimera_ask_duration_seconds", "From ask to answer, as the caller sees it", "caller", "actor"),
    # actors
    _counter("chimera_messages_total", "Messages that ended their turn", "actor", "outcome"),
    _counter(
        "chimera_handler_busy_seconds_total", "Time that handlers spent in their turns, waiting included", "actor"
    ),
    _gauge("chimera_mailbox_messages", "Messages that wait in mailboxes", "actor"),
    _counter("chimera_restarts_total", "Restarts by a supervisor", "actor"),
    # agents
    _counter("chimera_agent_tasks_total", "Tasks that ended", "agent", "outcome"),
    _latency("chimera_agent_task_duration_seconds", "A task's time by part: queue or run", "agent", "part"),
    _gauge("chimera_agent_in_flight", "Tasks taken and not yet answered", "agent"),
    # the bus
    _gauge("chimera_bus_connected", "1 while there is a connection to the bus"),
    _counter("chimera_bus_messages_total", "Messages by direction: sent or received", "direction"),
    _counter("chimera_bus_messages_dropped_total", "Messages dropped because a reader was too slow"),
    _counter("chimera_bus_errors_total", "Errors that the bus reported"),
    _counter("chimera_bus_reconnects_total", "Connections made again: by the client or rebuilt", "by"),
    _gauge("chimera_bus_pending_messages", "Messages that arrived and wait for their reader"),
    _gauge("chimera_bus_subscriptions", "Subscriptions held"),
    _gauge("chimera_bus_round_trip_seconds", "Last measured round trip to the server"),
    # the sandbox
    _gauge("chimera_sandbox_workers", "Worker processes by state: busy or idle", "state"),
    _gauge("chimera_sandbox_waiting_tasks", "Tasks that wait for a worker"),
    _gauge("chimera_sandbox_guests", "Guests loaded"),
    _gauge("chimera_sandbox_instances", "Live instances of guests"),
    _counter("chimera_sandbox_calls_total", "Calls into guests", "outcome"),
    _counter("chimera_sandbox_worker_deaths_total", "Workers that died or were killed"),
    # the store
    _counter("chimera_store_operations_total", "Reads and writes", "kind"),
    _counter("chimera_store_errors_total", "Operations that failed"),
    _gauge("chimera_store_queued_operations", "Operations that wait for the store"),
    _gauge("chimera_store_size_bytes", "Size of the store on disk"),
    _gauge("chimera_store_connected", "1 while the store's database answers; only where it lives elsewhere"),
    _gauge("chimera_store_pool_connections", "Connections to the database by state: busy or idle", "state"),
    _gauge("chimera_store_pool_max_connections", "Most connections that work is given"),
    _counter("chimera_store_pool_waits_total", "Operations that had to wait for a connection"),
    _gauge("chimera_stream_lost_messages", "Acknowledged messages by which a stream has gone back", "stream"),
    _counter("chimera_store_losses_total", "Times the database was lost"),
    # the scheduler, on the node that leads
    _gauge("chimera_scheduler_leader", "1 on the node whose scheduler leads"),
    _gauge("chimera_scheduler_epoch", "How many leaders there have been"),
    _gauge("chimera_scheduler_queued_tasks", "Tasks that may start now", "priority"),
    _gauge("chimera_scheduler_agent_queued_tasks", "Tasks that may start now", "agent"),
    _gauge("chimera_scheduler_delayed_tasks", "Tasks that wait for their time or their next attempt"),
    _gauge("chimera_scheduler_oldest_task_age_seconds", "How long the oldest queued task waits", "agent"),
    _gauge("chimera_scheduler_in_flight_tasks", "Attempts under way", "agent"),
    _gauge("chimera_scheduler_concurrency_limit", "Attempts at once, as adapted to the processing time", "agent"),
    _gauge("chimera_scheduler_desired_workers", "Workers that today's work asks for, by Little's law", "agent"),
    _counter("chimera_scheduler_submitted_tasks_total", "Tasks taken", "agent"),
    _counter("chimera_scheduler_refused_tasks_total", "Tasks not taken, by the error's code", "code"),
    _counter("chimera_scheduler_finished_tasks_total", "Tasks that have ended, by their final state", "agent", "state"),
    _counter(
        "chimera_scheduler_retries_total", "Attempts that failed or were lost and had another", "agent", "outcome"
    ),
    _latency("chimera_scheduler_run_duration_seconds", "Time of successful attempts inside the agent", "agent"),
    _gauge("chimera_scheduler_dead_letters", "Dead letters that wait for somebody"),
    _gauge("chimera_scheduler_log_messages", "Messages of the log that compaction has left"),
    _gauge("chimera_scheduler_history_lag_messages", "Messages of the log that the store has not seen"),
    _gauge("chimera_scheduler_disk_free_bytes", "Room for the log: on its disk, or below the server's own limit"),
    _gauge("chimera_scheduler_watchers", "Listeners to what happens to tasks"),
    _counter("chimera_scheduler_watchers_cut_off_total", "Listeners that read too slowly"),
    # the broker of devices
    _gauge("chimera_broker_devices", "Devices that there are; of processors, processors", "kind"),
    _gauge("chimera_broker_lent_devices", "Of them, lent", "kind"),
    _gauge("chimera_broker_ill_devices", "Devices in trouble, or of a silent node"),
    _gauge("chimera_broker_leases", "Leases"),
    _gauge("chimera_broker_waiting_requests", "Requests that wait for devices"),
    _counter("chimera_broker_conflicts_total", "Writes that found another broker's before them"),
    _latency("chimera_broker_grant_duration_seconds", "From the request to the stored grant, waiting included"),
    _counter("chimera_broker_ended_leases_total", "Leases that ended: released, expired or revoked", "how"),
    _counter("chimera_broker_refused_requests_total", "Requests for a lease refused, by the error's code", "code"),
    _gauge("chimera_device_utilization_ratio", "Utilisation that a device tells", "node", "device"),
    _gauge("chimera_device_power_watts", "Power that a device tells", "node", "device"),
    _gauge("chimera_device_temperature_celsius", "Temperature that a device tells", "node", "device"),
    _gauge("chimera_device_memory_used_bytes", "Memory that a device tells is in use", "node", "device"),
    # the process
    _gauge("chimera_process_resident_memory_bytes", "Resident memory of this process"),
    _counter("chimera_process_cpu_seconds_total", "User and system CPU time of this process"),
    _gauge("chimera_process_open_fds", "Open file descriptors of this process"),
)


def metrics_table(metrics: Iterable[Metric] = CATALOGUE) -> str:
    """The catalogue as a Markdown table, for the documentation."""
    rows = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for metric in metrics:
        labels = ", ".join(f"`{name}`" for name in metric.labels) or "-"
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(rows) + "\n"
