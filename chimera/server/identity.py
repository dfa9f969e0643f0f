"""Which process a number means: numbers are used again, a number with its start time is not."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec

_STATE = 0
_START_TIME = 19
"""Index of ``starttime`` (field 22 of proc_pid_stat(5)) behind the command's closing bracket. The state is first."""
_MOST_BYTES = 65_536
_PS_DEADLINE_S = 5.0


class Identity(msgspec.Struct, frozen=True):
    """A process. ``started`` is only ever compared."""

    pid: int
    started: str


def identify(pid: int) -> Identity | None:
    """The live process of that number; ``None`` if there is none or it is a zombie."""
    if sys.platform == "linux":
        fields = _procfs(pid, "stat").rpartition(")")[2].split()
        return Identity(pid, fields[_START_TIME]) if fields and fields[_STATE] not in "ZX" else None
    started = _ps(pid, "lstart=")
    return Identity(pid, started) if started and not _ps(pid, "stat=").startswith("Z") else None


def command_line(pid: int) -> list[str]:
    """What the process was started with; empty if it is gone."""
    if sys.platform == "linux":
        return [argument for argument in _procfs(pid, "cmdline").split("\0") if argument]
    return _ps(pid, "command=").split()


def resident_bytes(pid: int) -> int | None:
    """Memory of the process that is in RAM; ``None`` where the system does not say."""
    fields = _procfs(pid, "statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else None


def _procfs(pid: int, name: str) -> str:
    """A file of the process's folder, empty if there is none. It is no disk: reading it blocks no event loop."""
    try:
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.pread(descriptor, _MOST_BYTES, 0).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _ps(pid: int, column: str) -> str:
    done = subprocess.run(
        ["ps", "-o", column, "-p", str(pid)], capture_output=True, timeout=_PS_DEADLINE_S, check=False, text=True
    )
    return done.stdout.strip()
