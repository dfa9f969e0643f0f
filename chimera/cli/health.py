"""``chimera health``: the runbook's health_check.sh: a line per service, a measured time, an exit code."""

from __future__ import annotations

import argparse
from typing import Any

from .command import Command, Exit
from .output import emit_json, table
from .ports import LAYERS, Answered, base_urls, fetch
from .settings import load_settings


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="per service (default 5)")


def _run(options: argparse.Namespace) -> int:
    settings = load_settings(options).settings
    urls = base_urls(settings)
    answers = {role: fetch(url, "/health", timeout_s=options.timeout) for role, url in urls.items()}
    rows = [_row(role, urls.get(role, ""), answers.get(role)) for role in LAYERS]
    rows += _shared(next((answer for answer in answers.values() if answer.status), None))
    if options.json:
        emit_json(rows)
    else:
        table(("service", "state", "time_ms", "detail"), [tuple(row.values()) for row in rows])
    return _exit(rows)


def _row(role: str, url: str, answer: Answered | None) -> dict[str, Any]:
    if answer is None:
        return {"service": role, "state": "not served", "time_ms": None, "detail": "this node does not host it"}
    if not answer.status:
        return {"service": role, "state": "unreachable", "time_ms": None, "detail": f"{url}: {answer.body}"}
    state = "healthy" if answer.status == 200 else "unhealthy"  # noqa: PLR2004 - HTTP's OK
    return {"service": role, "state": state, "time_ms": round(answer.seconds * 1000, 2), "detail": url}


def _shared(answer: Answered | None) -> list[dict[str, Any]]:
    """Agents, bus and store, as the first service that answered sees them."""
    checks: dict[str, Any] = answer.member("checks", {}) if answer else {}
    return [
        {"service": name, "state": _state(str(state)), "time_ms": None, "detail": str(state)}
        for name, state in checks.items()
    ]


def _state(check: str) -> str:
    """A check says ``ok``, ``warn: …`` while the service still answers, else what is wrong."""
    if check == "ok":
        return "healthy"
    return "degraded" if check.startswith("warn") else "unhealthy"


def _exit(rows: list[dict[str, Any]]) -> int:
    states = {row["state"] for row in rows}
    if "healthy" not in states:
        return Exit.UNREACHABLE
    return Exit.NOT_READY if states & {"unhealthy", "unreachable"} else Exit.DONE


COMMAND = Command("health", "a line per service: does it answer, how fast", "chimera health", _arguments, _run)
