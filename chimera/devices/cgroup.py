"""How much of the machine is ours: processors and memory, with the limits of our control group (v2 and v1)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_MIB = 1 << 20
_UNLIMITED = 1 << 60
"""Version 1 writes "no limit" as a number about this large."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What this process and its children may use.

    Attributes:
        cpu_milli: Thousandths of a processor.
        memory_mib: Main memory in MiB; ``None`` where nothing tells it.
        memory_used_mib: Of that, in use by anybody and not to be had back.
    """

    cpu_milli: int
    memory_mib: int | None
    memory_used_mib: int | None


def allowance(root: Path = Path("/")) -> Allowance:
    """What we may use: the least of the machine and every control group we are in.

    Args:
        root: Where ``proc`` and ``sys`` are; another one in tests.
    """
    groups = _groups(root)
    total, used = _machine_memory(root)
    for group in groups:
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        if limit is not None and limit < _UNLIMITED and (total is None or limit < total):
            total, used = limit, _group_memory(group)
    quotas = [quota for group in groups if (quota := _quota(group)) is not None]
    return Allowance(min([_processors() * 1000, *quotas]), _mib(total), _mib(used))


def busy_seconds(root: Path = Path("/")) -> tuple[float, float] | None:
    """Processor seconds since boot over all processors: (busy, all). ``None`` where nothing tells it."""
    try:
        first = (root / "proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    ticks = [int(word) for word in first[1:9]]
    hertz = os.sysconf("SC_CLK_TCK")
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / hertz, sum(ticks) / hertz


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _groups(root: Path) -> list[Path]:
    """Folders of our control groups, ourselves first, their parents after."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / controller
            here = PurePosixPath(path.lstrip("/"))
            # a container sees its own group at the top, whatever the path says
            found += [top / part for part in (here, *here.parents)]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def _quota(group: Path) -> int | None:
    text = _text(group / "cpu.max")
    if text:
        quota, _, period = text.partition(" ")
        return None if quota == "max" else max(1, int(quota) * 1000 // int(period or 100_000))
    quota_us, period_us = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    return max(1, quota_us * 1000 // period_us) if quota_us and quota_us > 0 and period_us else None


def _group_memory(group: Path) -> int | None:
    used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes")
    if used is None:
        return None
    fields = dict(line.split(" ", 1) for line in _text(group / "memory.stat").splitlines() if " " in line)
    cache = int(fields.get("inactive_file") or fields.get("total_inactive_file") or 0)
    return max(0, used - cache)


def _machine_memory(root: Path) -> tuple[int | None, int | None]:
    rows = [line.split() for line in _text(root / "proc/meminfo").splitlines()]
    fields = {row[0]: row[1] for row in rows if len(row) > 1}
    total, free = fields.get("MemTotal:"), fields.get("MemAvailable:")
    if total is None:
        return None, None
    return int(total) * 1024, (int(total) - int(free)) * 1024 if free is not None else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.lstrip("-").isdigit() else None


def _mib(size: int | None) -> int | None:
    return None if size is None else size // _MIB
