"""Which process a number means: numbers are used again, a number with its start time is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

_PROC = Path("/proc")
_START_TIME = 19
"""Index of ``starttime`` (field 22 of proc_pid_stat(5)) behind the command's closing bracket."""
_STATE = 0
_PS_DEADLINE_S = 5.0


class Identity(msgspec.Struct, frozen=True):
    """A process. ``started`` is only ever compared."""

    pid: int
    started: str


def identify(pid: int) -> Identity | None:
    """The live process of that number; ``None`` if there is none or it is a zombie."""
    if sys.platform == "linux":
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[_STATE] in "ZX" else Identity(pid, fields[_START_TIME])
    started = _ps(pid, "lstart=")
    return Identity(pid, started) if started and not _ps(pid, "stat=").startswith("Z") else None


def command_line(pid: int) -> list[str]:
    """What the process was started with; empty if it is gone."""
    if sys.platform == "linux":
        try:
            return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return []
    return _ps(pid, "command=").split()


def resident_bytes(pid: int) -> int | None:
    """Memory of the process that is in RAM; ``None`` where the system does not say."""
    try:
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _ps(pid: int, column: str) -> str:
    done = subprocess.run(
        ["ps", "-o", column, "-p", str(pid)], capture_output=True, timeout=_PS_DEADLINE_S, check=False, text=True
    )
    return done.stdout.strip()
