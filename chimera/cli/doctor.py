"""``chimera doctor``: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chimera.errors import ChimeraError

from .command import Command, Exit
from .output import emit_json, table
from .settings import load_settings

if TYPE_CHECKING:
    from chimera.config import Settings

ROOMS = ("chimera", "actors", "subjects", "edge")
DISTRIBUTION = "chimera-nats"
_FREE_SHARE = 0.05


def _arguments(parser: argparse.ArgumentParser) -> None:
    del parser


def _run(options: argparse.Namespace) -> int:
    settings = load_settings(options).settings
    checks: dict[str, Callable[[], str]] = {
        "python": _python,
        "rooms": _rooms,
        "nats-server": lambda: _server(settings),
        "sandbox": _sandbox,
        "data folder": lambda: _folder(settings),
        "node": lambda: _node(settings),
        "bus": lambda: _bus(settings),
    }
    rows: list[dict[str, Any]] = []
    for name, check in checks.items():
        try:
            rows.append({"check": name, "ok": True, "detail": check(), "hint": ""})
        except ChimeraError as error:
            rows.append({"check": name, "ok": False, "detail": error.detail, "hint": error.hint})
    if options.json:
        emit_json(rows)
    else:
        table(("check", "", "detail"), [(row["check"], "ok" if row["ok"] else "--", _detail(row)) for row in rows])
    return Exit.DONE if all(row["ok"] for row in rows) else Exit.FAILED


def _detail(row: dict[str, Any]) -> str:
    return f"{row['detail']}; {row['hint']}" if row["hint"] else row["detail"]


def _python() -> str:
    return f"{sys.version.split()[0]} at {sys.executable}"


def _rooms() -> str:
    """Every room must lie beside this package and belong to our distribution alone."""
    home = Path(__file__).resolve().parents[2]
    owners = metadata.packages_distributions()
    for room in ROOMS:
        others = sorted(set(owners.get(room, ())) - {DISTRIBUTION})
        if others or not (home / room).is_dir():
            raise ChimeraError(
                f"the package {room!r} is also claimed by {', '.join(others) or 'nobody: it is missing'}",
                hint="install Chimera in an environment of its own, as with: uv tool install chimera-nats",
            )
    return f"{', '.join(ROOMS)} in {home}"


def _server(settings: Settings) -> str:
    if settings.nats.url:
        return f"not needed: nats.url is {settings.nats.url}"
    from chimera.server import find_server

    found = find_server(settings.nats.server)
    return f"{'.'.join(map(str, found.version))} at {found.path}"


def _sandbox() -> str:
    version = metadata.version("wasmtime")
    return f"wasmtime {version}"


def _folder(settings: Settings) -> str:
    folder = settings.node.data
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    usage = shutil.disk_usage(place)
    if usage.free < _FREE_SHARE * usage.total:
        raise ChimeraError(f"{folder}: only {usage.free / usage.total:.1%} of the disk is free", hint="make room")
    return f"{folder} ({usage.free >> 30} GiB free)"


def _node(settings: Settings) -> str:
    from chimera.node.runfile import read_run_file

    found = read_run_file(settings.node.data)
    if found is None:
        raise ChimeraError("no node runs in this data folder", hint="start it with: chimera run")
    return f"{found.node}, process {found.pid}, {', '.join(found.http.values())}"


def _bus(settings: Settings) -> str:
    from .client import Client, with_client

    async def ping(client: Client) -> str:
        await client.bus.flush(3.0)
        answer = client.bus.statistics()
        return f"{answer.url} answers"

    return with_client(settings, ping)


COMMAND = Command("doctor", "check this machine and say what to do", "chimera doctor", _arguments, _run)
