"""``<data>/run/node.json``: how tools on the same machine find the running node."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """Where a running node is found.

    Attributes:
        pid: Its process.
        started: The process's start time from ``/proc``: a later process with the same number is not taken for it.
        http: Base URL by role.
    """

    pid: int
    started: str
    node: str
    nats_url: str
    http: dict[str, str]

    def alive(self) -> bool:
        """True if that very process still runs."""
        return _start_time(self.pid) == self.started


def write_run_file(data: Path, *, node: str, nats_url: str, http: dict[str, str]) -> None:
    """Say where this process is found."""
    pid = os.getpid()
    entry = RunFile(pid=pid, started=_start_time(pid), node=node, nats_url=nats_url, http=http)
    path = _path(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(entry))
    fresh.replace(path)


def read_run_file(data: Path) -> RunFile | None:
    """The node that runs in this data folder, or ``None``."""
    try:
        entry = msgspec.json.decode(_path(data).read_bytes(), type=RunFile)
    except (OSError, msgspec.DecodeError):
        return None
    return entry if entry.alive() else None


def remove_run_file(data: Path) -> None:
    """This process is about to end."""
    with suppress(OSError):
        _path(data).unlink()


def _path(data: Path) -> Path:
    return data / "run" / "node.json"


def _start_time(pid: int) -> str:
    """Field 22 of ``/proc/PID/stat`` (proc(5)); elsewhere whether the process exists."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"
