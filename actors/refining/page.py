"""A report as one HTML page that needs nothing else: no scripts, no fonts, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from chimera.pictures import Axis, Figure, Page, Plot, Section, Series, Table
from subjects.insight import Comparison
from subjects.report import ExperimentLine, Hour, Report

_TITLES = {"daily": "Daily report", "weekly": "Weekly report"}
_TIME = Axis(label="UTC", kind="time")
Part = str | Table | Figure


def render(report: Report) -> str:
    """The page of a report."""
    sections = [
        _agents(report), _load(report.hours), _latency(report.hours), _baseline(report.comparison),
        _experiments(report), _tunes(report), _layers(report), _capacity(report), _findings(report),
    ]  # fmt: skip
    lead = f"{_moment(report.since)} to {_moment(report.until)} UTC, node {report.node}, version {report.version}"
    return Page(_TITLES[report.period], lead, sections).html()


def _agents(report: Report) -> Section:
    head = ("agent", "tasks", "tasks/s", "available %", "errors %", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "right %")
    rows = [
        (one.agent, one.tasks, one.per_s, _percent(one.availability), _percent(one.error_rate), one.p50_ms, one.p95_ms,
         one.p99_ms, one.cpu_ms, _percent(one.accuracy))
        for one in report.agents
    ]  # fmt: skip
    return Section("Agents", [Table(head, rows) if rows else "No task was recorded."])


def _load(hours: Sequence[Hour]) -> Section:
    plot = Plot(
        "Tasks and errors per hour", x=_TIME, y=Axis(label="per hour", zero=True),
        series=[
            Series("tasks", [(hour.at, float(hour.tasks)) for hour in hours], kind="bars"),
            Series("errors", [(hour.at, float(hour.errors)) for hour in hours]),
        ],
    )  # fmt: skip
    tasks, errors = sum(hour.tasks for hour in hours), sum(hour.errors for hour in hours)
    return Section("Load", [f"{tasks:,} tasks, {errors:,} of them failed.", Figure(plot)])


def _latency(hours: Sequence[Hour]) -> Section:
    if not any(hour.p50_ms is not None for hour in hours):
        return Section("Latency", ["No answered task was recorded."])
    plot = Plot(
        "Latency of answered tasks", x=_TIME, y=Axis(label="ms", zero=True),
        series=[
            Series("p50", [(hour.at, hour.p50_ms) for hour in hours]),
            Series("p95", [(hour.at, hour.p95_ms) for hour in hours]),
        ],
    )  # fmt: skip
    return Section("Latency", [Figure(plot)])


def _baseline(comparison: Sequence[Comparison]) -> Section:
    if not comparison:
        return Section("Against the baseline", ["No baseline is stored that has an agent of this report."])
    head = ("agent", "figure", "baseline", "now", "change at least", "change at most", "verdict")
    rows = [(one.agent, one.figure, one.before, one.now, one.low, one.high, one.verdict) for one in comparison]
    return Section("Against the baseline", [Table(head, rows, caption="Bounds of the change at 95 %")])


def _experiments(report: Report) -> Section:
    budget = report.budget
    words = (
        f"{report.promotions} promotions and {report.rollbacks} rollbacks. Error budget {budget.rate:.0%} by "
        f"{budget.method}: {budget.tests} tests so far, the next one's level is {budget.next_level:.3g}."
    )
    parts: list[Part] = [words]
    if report.experiments:
        head = ("experiment", "agent", "state", "candidate", "effect", "messages", "reason")
        rows = [
            (one.id, one.agent, one.state, one.candidate, one.effect, one.messages, one.reason)
            for one in report.experiments
        ]
        parts.append(Table(head, rows))
    if any(one.effect is not None for one in report.experiments):
        parts.append(Figure(_effects(report.experiments)))
    return Section("Experiments", parts)


def _effects(experiments: Sequence[ExperimentLine]) -> Plot:
    points = [(float(number), one.effect) for number, one in enumerate(experiments, 1)]
    return Plot(
        "Effect of each candidate on its metric", x=Axis(label="experiment, in the table's order", zero=True),
        y=Axis(label="candidate minus live", zero=True), series=[Series("effect", points, kind="dots")],
    )  # fmt: skip


def _tunes(report: Report) -> Section:
    if not report.tunes:
        return Section("Auto-tunes", ["None ran."])
    head = ("tune", "agent", "state", "algorithm", "trials", "start", "best", "reason")
    names = ("id", "agent", "state", "algorithm", "trials", "start_value", "best", "reason")
    return Section("Auto-tunes", [Table(head, [tuple(one.get(name) for name in names) for one in report.tunes])])


def _layers(report: Report) -> Section:
    parts: list[Part] = []
    for title, found in (("Evolution", report.evolution), ("Cost", report.cost)):
        parts.append(f"{title}: no data." if found is None else Table((title, ""), _plain(found)))
    runs: list[dict[str, Any]] = (report.evolution or {}).get("runs", [])
    if runs:
        head = ("id", "agent", "state", "algorithm", "generation", "baseline", "best", "validated", "live", "reason")
        rows = [tuple(one.get(name) for name in head) for one in runs]
        parts.append(Table(("evolution", *head[1:]), rows, caption="Fitness; validated and live are on other tasks"))
    lines: list[dict[str, Any]] = (report.cost or {}).get("lines", [])
    if lines:
        head = ("layer", "tenant", "agent", "leases", "gpu_hours", "cpu_hours", "cost", "joules", "joules_from", "idle")
        rows = [tuple(one.get(name) for name in head) for one in lines]
        parts.append(Table(head, rows, caption="What was leased; idle is what was there and was not lent"))
    return Section("Evolution and cost", parts)


def _plain(found: dict[str, Any]) -> list[tuple[str, str | float | None]]:
    return [
        (name, ", ".join(map(str, cast("list[object]", value))) if isinstance(value, list) else value)
        for name, value in found.items()
        if name != "runs"
    ]


def _capacity(report: Report) -> Section:
    one = report.capacity
    used = "unknown" if one.utilization is None else f"{one.utilization:.2%}"
    parts: list[Part] = [
        f"{one.workers_now} workers now, {used} used on average; {one.workers_advised} advised.", f"{one.because}.",
    ]  # fmt: skip
    if one.forecast is not None:
        parts.append(
            f"Forecast to {_moment(one.forecast.until)} UTC by {', '.join(one.forecast.models)}: busiest at "
            f"{_moment(one.forecast.at)}, {one.forecast.confidence:.0%} interval {one.forecast.low_per_s:.3g} to "
            f"{one.forecast.high_per_s:.3g} tasks a second."
        )
    return Section("Capacity", parts)


def _findings(report: Report) -> Section:
    parts: list[Part] = []
    if report.patterns:
        rows = [(one.kind, one.series, _percent(one.confidence), one.words) for one in report.patterns]
        parts.append(Table(("pattern", "series", "sure %", "in words"), rows))
    if report.anomalies:
        rows = [(_moment(one.at), one.series, one.kind, one.value, one.expected, one.words) for one in report.anomalies]
        parts.append(Table(("at", "series", "kind", "value", "expected", "in words"), rows))
    if report.accuracy is not None:
        parts.append(
            f"Measured on {report.accuracy.injections} injected faults: precision {report.accuracy.precision:.0%}, "
            f"recall {report.accuracy.recall:.0%}, {report.accuracy.false_alarms_per_day:.2g} false alarms a day."
        )
    return Section("Patterns and anomalies", parts or ["Nothing was found."])


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
