"""What processes use, read from /proc: CPU time, memory, and what the rest of the machine does meanwhile."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from pathlib import Path

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, all threads, so far (in ticks of 10 ms)."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM now."""
    return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE


def descendants(root: int) -> list[int]:
    """A process and everything that it started, and they, as far as it still runs."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                children[int(_stat(int(entry.name))[1])].append(int(entry.name))
            except OSError:
                continue
    found, waiting = [root], [root]
    while waiting:
        born = children[waiting.pop()]
        found += born
        waiting += born
    return found


class OtherLoad:
    """Cores used by processes that are not ours, since construction."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy_s = _busy_s()
        self._own_s = _own_s()

    def cores(self) -> float:
        """The mean so far."""
        others = (_busy_s() - self._busy_s) - (_own_s() - self._own_s)
        return max(0.0, others / max(1e-3, time.perf_counter() - self._began))


def _stat(pid: int) -> list[str]:
    # proc(5): what follows the command's name, from field 3 on
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _busy_s() -> float:
    user, nice, system, _, _, irq, soft = (_PROC / "stat").read_text().split(maxsplit=8)[1:8]
    return sum(map(int, (user, nice, system, irq, soft))) * _TICK_S


def _own_s() -> float:
    """CPU of our whole tree, and of those of it that have ended (their parents have it from them)."""
    total = 0.0
    for pid in descendants(os.getpid()):
        try:
            total += sum(map(int, _stat(pid)[11:15])) * _TICK_S
        except OSError:
            continue
    return total
