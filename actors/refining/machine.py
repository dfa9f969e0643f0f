"""Which machine a figure was measured on: figures of different machines are not compared."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from chimera._version import __version__

_CPUINFO = Path("/proc/cpuinfo")
_NAMES = ("model name", "Model", "Hardware", "cpu model")


def describe_machine(node: str) -> dict[str, Any]:
    """Node, processor, processors that we may use, system, and the versions that decide. Reads a file."""
    return {
        "node": node,
        "cpu": _cpu_name(),
        "cores": _cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "wasmtime": _version("wasmtime"),
        "chimera": __version__,
    }


def same_machine(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """True if figures may be compared: the same box and workload; versions may differ, they are what is compared."""
    return all(one.get(name) == other.get(name) for name in ("node", "cpu", "cores", "system", "workload"))


def _cpu_name() -> str:
    try:
        rows = [line.partition(":") for line in _CPUINFO.read_text().splitlines()]
    except OSError:
        rows = []
    found = {key.strip(): value.strip() for key, _, value in rows}
    return next((found[name] for name in _NAMES if found.get(name)), platform.processor() or "unknown")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
