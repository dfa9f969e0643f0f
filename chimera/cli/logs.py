"""``chimera logs``: read the event log back, as the runbook's ``kubectl logs … | grep WORD`` did."""

from __future__ import annotations

import argparse
import sys

from .command import Command, Exit
from .output import plain
from .settings import load_settings


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layer", default="", help="such as execution, refinement, evolution, bus, http")
    parser.add_argument("--event", default="", metavar="WORD", help="the event's name or a part of it, such as wasm")
    parser.add_argument("--level", default="debug", help="least level: debug, info, warning, error")
    parser.add_argument("--since", default="", metavar="TIME", help="such as 1h, 30m or 2026-01-31T12:00")
    parser.add_argument("--follow", "-f", action="store_true", help="go on as new lines come")
    parser.add_argument("--limit", "-n", type=int, default=0, metavar="N", help="only the last N lines")


def _run(options: argparse.Namespace) -> int:
    import time

    from chimera.logs import console_line, encode_line, parse_since, read_events

    settings = load_settings(options).settings
    since = parse_since(options.since, now=time.time()) if options.since else None
    lines = read_events(
        settings.node.data, layer=options.layer, event=options.event, since=since, follow=options.follow,
        level=options.level, limit=options.limit or None,
    )  # fmt: skip
    for line in lines:
        if options.json:
            sys.stdout.buffer.write(encode_line(line))
            sys.stdout.flush()
        else:
            print(console_line(line, colour=not plain(sys.stdout)), flush=options.follow)
    return Exit.DONE


COMMAND = Command("logs", "read the event log", "chimera logs --event circuit-breaker --since 1h", _arguments, _run)
