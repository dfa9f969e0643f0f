"""``chimera config show``: every setting in force, and where it comes from."""

from __future__ import annotations

import argparse

from .command import Command, Exit
from .output import emit_json, table
from .settings import load_settings


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["show"], default="show", help="show: what is in force, and why")
    parser.add_argument("prefix", nargs="?", default="", help="only settings that begin so, such as http.")


def _run(options: argparse.Namespace) -> int:
    from chimera.config import in_force

    rows = [row for row in in_force(load_settings(options)) if row.name.startswith(options.prefix)]
    if options.json:
        emit_json([{"name": row.name, "value": row.value, "source": row.source} for row in rows])
    else:
        table(("setting", "value", "from"), [(row.name, row.value, row.source) for row in rows])
    return Exit.DONE


COMMAND = Command("config", "settings in force and their sources", "chimera config show http.", _arguments, _run)
