"""Metrics: names by the rules, cells that count, readings at scrape time, an exposition that parses."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from chimera.bus.contract import BusStatistics
from chimera.metrics import (
    CATALOGUE,
    Metric,
    Metrics,
    metrics_table,
    observe_bus,
    observe_process,
    observe_sandbox,
    observe_store,
)
from chimera.metrics.registry import MAX_SERIES
from chimera.paths import configs_dir
from chimera.sandbox.contract import SandboxStatistics
from chimera.store.contract import PoolStatistics, StoreStatistics

UNITS = (
    "seconds", "bytes", "ratio", "messages", "info", "connections", "fds", "tasks", "workers", "guests", "instances",
    "operations", "subscriptions", "connected", "flight", "leader", "epoch", "limit", "letters", "watchers", "devices",
    "leases", "requests", "watts", "celsius")  # fmt: skip
SAMPLE = re.compile(r'(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (?P<value>\S+)')


def parse(text: str) -> dict[str, list[tuple[str, float]]]:
    """The exposition as name to labels and values; every line must be well formed and typed before its samples."""
    types: dict[str, str] = {}
    found: dict[str, list[tuple[str, float]]] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            name = match["name"]
            assert name in types or re.sub("_(bucket|sum|count)$", "", name) in types, line
            found.setdefault(name, []).append((match["labels"] or "", float(match["value"])))
    return found


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_names_follow_the_rules(metric: Metric) -> None:
    """Prefix, base unit last, _total on counters only, no ids in labels."""
    assert re.fullmatch(r"chimera_[a-z]+(_[a-z]+)*", metric.name)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert metric.kind == "counter" or metric.name.endswith(UNITS)
    assert not metric.name.endswith(("_ms", "_milliseconds", "_mb", "_percent"))
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert not {"job", "job_id", "id", "key", "le", "path", "instance", "trace"} & set(metric.labels)
    assert metric.help
    assert "\n" not in metric.help


def test_exposition_parses_with_every_metric_filled() -> None:
    """Every metric renders, and the histogram's buckets are cumulative up to its count."""
    metrics = Metrics(node="n")
    for metric in CATALOGUE:
        labels = [f"{name}-1" for name in metric.labels]
        if metric.kind == "histogram":
            for value in (0.0001, 0.05, 0.051, 99.0):
                metrics.histogram(metric.name, *labels).observe(value)
        elif metric.kind == "counter":
            metrics.counter(metric.name, *labels).inc(2)
        else:
            metrics.gauge(metric.name, *labels).set(-1.5)
    found = parse(metrics.exposition().decode())
    buckets = dict(found["chimera_ask_duration_seconds_bucket"])
    assert buckets['actor="actor-1",caller="caller-1",le="0.05"'] == 2
    assert buckets['actor="actor-1",caller="caller-1",le="+Inf"'] == 4
    assert found["chimera_ask_duration_seconds_count"] == [('actor="actor-1",caller="caller-1"', 4.0)]
    assert found["chimera_ask_duration_seconds_sum"][0][1] == pytest.approx(99.1011)
    assert found["chimera_mailbox_messages"] == [('actor="actor-1"', -1.5)]
    assert found["chimera_restarts_total"] == [('actor="actor-1"', 2.0)]


def test_labels_are_escaped() -> None:
    """Quotes, backslashes and newlines in a label can't break the text."""
    metrics = Metrics(node='a"b\\c\nd')
    assert parse(metrics.exposition().decode())["chimera_build_info"][0][0].startswith('node="a\\"b\\\\c\\nd"')


def test_readings_are_taken_at_scrape_and_added_up() -> None:
    """A reading is asked at each scrape; several readings and the cells of one name are summed."""
    metrics = Metrics()
    waiting = {("agent",): 3.0}
    metrics.at_scrape("chimera_mailbox_messages", lambda: waiting)
    metrics.at_scrape("chimera_mailbox_messages", lambda: {("agent",): 1.0, ("other",): 7.0})
    metrics.gauge("chimera_mailbox_messages", "agent").set(10)
    assert dict(parse(metrics.exposition().decode())["chimera_mailbox_messages"])['actor="agent"'] == 14
    waiting["agent",] = 0.0
    assert dict(parse(metrics.exposition().decode())["chimera_mailbox_messages"])['actor="agent"'] == 11


def test_a_broken_reading_costs_only_itself() -> None:
    """A reading that raises is left out and counted; the rest is shown."""
    metrics = Metrics()

    def broken() -> dict[tuple[str, ...], float]:
        raise RuntimeError

    metrics.at_scrape("chimera_mailbox_messages", broken)
    found = parse(metrics.exposition().decode())
    assert found["chimera_scrape_errors_total"] == [('metric="chimera_mailbox_messages"', 1.0)]
    assert "chimera_build_info" in found


def test_series_are_bounded() -> None:
    """A label that turns out to be unbounded ends in one shared series."""
    metrics = Metrics()
    for number in range(MAX_SERIES + 50):
        metrics.counter("chimera_restarts_total", f"a{number}").inc()
    found = dict(parse(metrics.exposition().decode())["chimera_restarts_total"])
    assert len(found) == MAX_SERIES + 1
    assert found['actor="other"'] == 50


MISUSES: list[tuple[Callable[[Metrics], object], str]] = [
    (lambda metrics: metrics.counter("chimera_nothing_total"), "not declared"),
    (lambda metrics: metrics.gauge("chimera_restarts_total", "a"), "counter"),
    (lambda metrics: metrics.counter("chimera_restarts_total"), "labels"),
    (lambda metrics: metrics.counter("chimera_restarts_total", "a").inc(-1), "down"),
    (lambda metrics: metrics.declare(CATALOGUE[0]), "already"),
    (lambda metrics: metrics.at_scrape("chimera_ask_duration_seconds", dict), "histogram"),
]


@pytest.mark.parametrize(("use", "word"), MISUSES)
def test_misuse_is_told_at_once(use: Callable[[Metrics], object], word: str) -> None:
    """Wrong name, kind, labels or direction raises instead of counting something else."""
    with pytest.raises(ValueError, match=word):
        use(Metrics())


def test_sources_fill_the_catalogue() -> None:
    """Bus, sandbox, store and process appear with the numbers that they report."""
    metrics = Metrics()
    bus = BusStatistics(
        state="connected", sent=5, received=4, dropped=3, errors=2, reconnects=1, rebuilt=6, pending=7, subscriptions=8,
        rtt_s=None, url="nats://x",
    )  # fmt: skip
    sandbox = SandboxStatistics(
        workers=4, idle=1, waiting=2, loaded=3, calls=10, failures=4, worker_deaths=1, instances=5
    )
    store = StoreStatistics(backend="sqlite", location="x", writes=3, reads=2, errors=1, queued=4, size_bytes=4096)
    observe_bus(metrics, lambda: bus)
    observe_sandbox(metrics, lambda: sandbox)
    observe_store(metrics, lambda: store)
    found = parse(metrics.exposition().decode())
    assert dict(found["chimera_bus_messages_total"]) == {'direction="sent"': 5, 'direction="received"': 4}
    assert found["chimera_bus_connected"] == [("", 1.0)]
    assert "chimera_bus_round_trip_seconds" not in found
    assert dict(found["chimera_sandbox_workers"]) == {'state="idle"': 1, 'state="busy"': 3}
    assert dict(found["chimera_sandbox_calls_total"]) == {'outcome="ok"': 6, 'outcome="failed"': 4}
    assert found["chimera_store_size_bytes"] == [("", 4096.0)]
    assert not any(name.startswith("chimera_store_pool") for name in found)


def test_the_pool_of_a_store_is_read_at_scrape_time() -> None:
    """A store with a pool shows whether it is connected, its connections, and what it has waited and lost."""
    pool = PoolStatistics(connected=False, limit=8, busy=3, idle=2, waits=11, losses=1)
    store = StoreStatistics("postgres", "x", writes=3, reads=2, errors=1, queued=4, size_bytes=4096, pool=pool)
    metrics = Metrics()
    observe_store(metrics, lambda: store)
    found = parse(metrics.exposition().decode())
    assert dict(found["chimera_store_pool_connections"]) == {'state="busy"': 3, 'state="idle"': 2}
    assert found["chimera_store_connected"] == [("", 0.0)]
    assert found["chimera_store_pool_max_connections"] == [("", 8.0)]
    assert found["chimera_store_pool_waits_total"] == [("", 11.0)]
    assert found["chimera_store_losses_total"] == [("", 1.0)]


def test_process_numbers_are_read_from_proc(tmp_path: Path) -> None:
    """Memory in bytes, CPU in seconds, descriptors counted; a command name with brackets does not confuse it."""
    (tmp_path / "statm").write_text("100 50 10 1 0 20 0")
    (tmp_path / "stat").write_text("7 (a) b) S " + " ".join(str(n) for n in range(1, 50)))
    (tmp_path / "fd").mkdir()
    (tmp_path / "fd" / "0").write_text("")
    metrics = Metrics()
    observe_process(metrics, proc=tmp_path)
    metrics.prepare()
    found = parse(metrics.exposition().decode())
    assert found["chimera_process_resident_memory_bytes"][0][1] % 50 == 0
    assert found["chimera_process_cpu_seconds_total"][0][1] == pytest.approx((11 + 12) / 100)
    assert found["chimera_process_open_fds"] == [("", 1.0)]


def test_files_that_can_not_be_read_are_counted(tmp_path: Path) -> None:
    """A /proc that goes away costs its numbers, not the scrape."""
    (tmp_path / "statm").write_text("1 1")
    metrics = Metrics()
    observe_process(metrics, proc=tmp_path)
    metrics.prepare()
    assert parse(metrics.exposition().decode())["chimera_scrape_errors_total"] == [('metric="files"', 1.0)]


def test_recording_rules_use_metrics_that_exist() -> None:
    """Every chimera_ name in the shipped rules is in the catalogue, and the runbook's names are all recorded."""
    groups = yaml.safe_load((configs_dir() / "prometheus" / "chimera.rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    names = {metric.name for metric in CATALOGUE}
    used = {
        re.sub("_(bucket|sum|count)$", "", name) for rule in rules for name in re.findall(r"chimera_\w+", rule["expr"])
    }
    assert used <= names
    assert {rule["record"] for rule in rules} == {
        "layer4_response_time_p95", "resource_usage", "resource_usage_patterns", "agent_requests_total",
        "layer_communication_latency", "auth_failures_total",
    }  # fmt: skip


def test_scrape_config_loads_the_rules() -> None:
    """The shipped scrape configuration names the shipped rules and the agent port."""
    folder = configs_dir() / "prometheus"
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    assert all((folder / name).is_file() for name in config["rule_files"])
    assert config["scrape_configs"][0]["static_configs"][0]["targets"] == ["127.0.0.1:8000"]


def test_table_has_a_row_per_metric() -> None:
    """The documentation's table is the catalogue."""
    assert metrics_table().count("| `chimera_") == len(CATALOGUE)
