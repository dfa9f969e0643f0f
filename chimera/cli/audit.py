"""``chimera audit``: privileged acts, newest first, and whether the log's hash chain holds."""

from __future__ import annotations

import argparse
from typing import Any

from .command import Command, Exit
from .output import emit_json, flatten_row, table
from .settings import load_settings

_COLUMNS = ("number", "at", "actor", "verb", "by", "face", "outcome", "of", "note")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=["list", "verify"], default="list", help="list (default) or verify"
    )
    parser.add_argument("--verb", default="", help="only this verb, such as deploy")
    parser.add_argument("--by", default="", help="only acts of this name")
    parser.add_argument("--since", default="", metavar="TIME", help="such as 1h, 30m or 2026-01-31T12:00")
    parser.add_argument("--before", type=int, default=0, metavar="N", help="only entries before this number")
    parser.add_argument("--limit", "-n", type=int, default=50, metavar="N", help="most entries (default 50)")


def _run(options: argparse.Namespace) -> int:
    return _verify(options) if options.action == "verify" else _list(options)


def _verify(options: argparse.Namespace) -> int:
    from subjects.report import VERIFY_AUDIT

    from .client import with_client

    check = with_client(load_settings(options).settings, lambda client: client.ask(VERIFY_AUDIT, {}))
    if options.json:
        emit_json(check)
    else:
        words = "the chain holds" if check["intact"] else f"BROKEN at {check['broken_at']}: {check['reason']}"
        rows = [(name, check[name]) for name in ("entries", "head", "anchor", "anchor_number", "anchor_agrees")]
        table(("audit", words), rows)
    return Exit.DONE if check["intact"] else Exit.FAILED


def _list(options: argparse.Namespace) -> int:
    import time

    from chimera.logs import parse_since
    from subjects.report import AUDIT

    from .client import with_client

    since = parse_since(options.since, now=time.time()) if options.since else 0.0
    body = {"verb": options.verb, "by": options.by, "since": since, "before": options.before, "limit": options.limit}
    page = with_client(load_settings(options).settings, lambda client: client.ask(AUDIT, body))
    if options.json:
        emit_json(page)
    else:
        table(_COLUMNS, [flatten_row(_readable(entry), _COLUMNS) for entry in page["entries"]])
    return Exit.DONE


def _readable(entry: dict[str, Any]) -> dict[str, Any]:
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(entry["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    return {**entry, "number": str(entry["number"]), "of": str(entry["of"] or "-"), "at": at}


COMMAND = Command("audit", "who changed what, and is the log intact", "chimera audit verify", _arguments, _run)
