"""The table for people and the JSON for machines."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import msgspec

from chimera import __version__
from tests.bench.figures import Figure

_HEADER = ("measured", "target", "", "spread", "other load")
_DIGITS = (100.0, 10.0, 0.05)


def heading(name: str) -> str:
    """The line above one benchmark's part of the table."""
    return f"{name:<66}{_HEADER[0]:>12}{_HEADER[1]:>14}{_HEADER[2]:>8}{_HEADER[3]:>8}{_HEADER[4]:>12}"


def write(path: Path, results: dict[str, list[Figure]], *, quick: bool) -> None:
    """Everything measured, with what it was measured on."""
    document: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "version": __version__,
        "quick": quick,
        "machine": {
            "cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform(),
            "load_average": os.getloadavg(),
        },
        "figures": [
            {
                "benchmark": name, "name": figure.name.strip(), "value": figure.value, "unit": figure.unit,
                "target": figure.target, "holds": figure.holds, "met": figure.met, "spread": figure.spread,
                "other_load_cores": figure.load, "samples": figure.samples, "missing": figure.missing,
            }
            for name, figures in results.items()
            for figure in figures
        ],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")


def line(figure: Figure) -> str:
    """One figure's line of the table."""
    if figure.missing:
        return f"  {figure.name:<64} NOT MEASURED: {figure.missing}"
    target = f"{figure.holds} {_number(figure.target)} {figure.unit}" if figure.target is not None else ""
    verdict = "" if figure.target is None else "pass" if figure.met else "MISSED"
    measured = f"{_number(figure.value)} {figure.unit}"
    return f"  {figure.name:<64}{measured:>12}{target:>14}{verdict:>8}{figure.spread:>8.0%}{figure.load:>12.2f}"


def _number(value: float) -> str:
    size = abs(value)
    if 0.0 < size < _DIGITS[2]:
        return f"{value:.2g}"
    return f"{value:,.0f}" if size >= _DIGITS[0] else f"{value:.1f}" if size >= _DIGITS[1] else f"{value:.2f}"
