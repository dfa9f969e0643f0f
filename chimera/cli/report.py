"""``chimera report``: the daily or weekly report as figures, as JSON, or as a page that stands alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from chimera.errors import BadSettingError

from .command import Command, Exit
from .output import emit_json, flatten_row, note, table
from .settings import load_settings

_COLUMNS = ("agent", "tasks", "per_s", "availability", "error_rate", "p50_ms", "p95_ms", "p99_ms", "cpu_ms", "accuracy")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weekly", action="store_true", help="the last seven days instead of 24 hours")
    parser.add_argument("--html", metavar="FILE", help="write the page with its plots there")


def _run(options: argparse.Namespace) -> int:
    from subjects.report import DAILY, WEEKLY

    from .client import with_client

    operation = WEEKLY if options.weekly else DAILY
    report = with_client(load_settings(options).settings, lambda client: client.ask(operation, {}))
    if options.html:
        _write_page(operation.name, report, Path(options.html))
    if options.json:
        emit_json(report)
    elif not options.html:
        _show(report)
    return Exit.DONE


def _write_page(name: str, report: dict[str, Any], path: Path) -> None:
    import msgspec

    from chimera.http.paged import load_renderer
    from chimera.pages import PAGES
    from subjects.report import Report

    page = load_renderer(PAGES[name])(msgspec.convert(report, Report))
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise BadSettingError(f"--html {path} can't be written: {error.strerror}") from error
    note(f"written: {path}")


def _show(report: dict[str, Any]) -> None:
    table(_COLUMNS, [flatten_row(one, _COLUMNS) for one in report["agents"]], title=f"{report['period']} report")
    print()
    capacity = report["capacity"]
    table(("measured", "value"), [
        ("experiments", len(report["experiments"])),
        ("promotions, rollbacks", f"{report['promotions']}, {report['rollbacks']}"),
        ("error budget", f"{report['budget']['rate']:.0%}, next level {report['budget']['next_level']:.3g}"),
        ("workers now, advised", f"{capacity['workers_now']}, {capacity['workers_advised']}: {capacity['because']}"),
        ("patterns, anomalies", f"{len(report['patterns'])}, {len(report['anomalies'])}"),
    ])  # fmt: skip


COMMAND = Command(
    "report", "the daily or weekly report", "chimera report --weekly --html report.html", _arguments, _run
)
