"""What a process looks like from outside (Linux): its children, its memory, its open files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def is_alive(pid: int) -> bool:
    """Whether the process exists and has not ended: a zombie has."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> dict[int, str]:
    """The children of all of a process's threads, with their command lines."""
    found: dict[int, str] = {}
    for path in (_PROC / str(pid) / "task").glob("*/children"):
        with suppress(OSError):
            for child in path.read_text().split():
                found[int(child)] = (_PROC / child / "cmdline").read_text().replace("\0", " ")
    return found


def children_like(pid: int, word: str) -> list[int]:
    """The children whose command line has ``word`` in it."""
    return sorted(child for child, command in children(pid).items() if word in command and is_alive(child))


def resident_bytes(pid: int) -> int:
    """Memory of the process that is in RAM."""
    return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    """File descriptors it holds."""
    return sum(1 for _ in (_PROC / str(pid) / "fd").iterdir())


def cpu_seconds(pid: int) -> float:
    """CPU time it has used."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
