"""Traces of nodes and tasks in the openb CSV format.

Format: Alibaba cluster-trace-gpu-v2023; nodes ``sn,cpu_milli,memory_mib,gpu,model``, tasks ``name,cpu_milli,memory_mib,
num_gpu,gpu_milli,gpu_spec`` (further columns are ignored; ``gpu_spec`` lists models, separated by ``|``).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from chimera.errors import BadMessageError

from .cluster import Node
from .shape import WHOLE, Shape


def read_nodes(path: Path) -> list[Node]:
    """The machines of a trace.

    Raises:
        BadMessageError: Naming file and line.
    """
    return [
        Node(row["sn"], int(row["cpu_milli"]), int(row["memory_mib"]), int(row["gpu"]), row["model"])
        for row in _rows(
            path, ("sn", "cpu_milli", "memory_mib", "gpu", "model"), numbers=("cpu_milli", "memory_mib", "gpu")
        )
    ]


def read_tasks(path: Path) -> list[Shape]:
    """The tasks of a trace, in its order.

    Raises:
        BadMessageError: Naming file and line.
    """
    columns = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
    return [_shape(row) for row in _rows(path, columns, numbers=columns)]


def find_files(trace: Path, nodes: Path | None = None) -> tuple[Path, Path]:
    """The file of nodes and the file of tasks, told apart by their columns.

    Args:
        trace: A folder, or the file of tasks.
        nodes: The file of nodes, if it is not the only one there.

    Raises:
        BadMessageError: If one is missing, or there are several to choose from.
    """
    files = sorted(trace.glob("*.csv")) if trace.is_dir() else sorted(trace.parent.glob("*.csv"))
    heads = {file: _head(file) for file in files}
    tasks = trace if trace.is_file() else _only(trace, "tasks", [at for at in files if "num_gpu" in heads[at]])
    return nodes or _only(trace, "nodes", [at for at in files if {"sn", "gpu"} <= heads[at]]), tasks


def _head(path: Path) -> set[str]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return set(next(csv.reader(file), list[str]()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadMessageError(f"{path} can't be read: {error}") from error


def _only(folder: Path, what: str, found: list[Path]) -> Path:
    """The one file, or the one whose name says that it is the usual one."""
    usual = [path for path in found if path.stem.endswith(("default", "gpu_node"))]
    if len(found) == 1 or len(usual) == 1:
        return found[0] if len(found) == 1 else usual[0]
    if not found:
        raise BadMessageError(f"{folder}: there is no file of {what}", hint="the openb format: see --help")
    names = ", ".join(path.name for path in found)
    raise BadMessageError(f"{folder}: which file of {what}? There are {names}", hint="name one")


def _shape(row: Mapping[str, str]) -> Shape:
    devices, models = int(row["num_gpu"]), row.get("gpu_spec") or ""
    milli = min(WHOLE, int(row["gpu_milli"])) if devices else 0
    allowed = frozenset(models.split("|")) if models and models != "nan" else frozenset[str]()
    return Shape(int(row["cpu_milli"]), int(row["memory_mib"]), devices, milli, 0, allowed)


def _rows(path: Path, columns: Sequence[str], *, numbers: Sequence[str]) -> Iterator[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise BadMessageError(f"{path}: the column {missing[0]!r} is missing")
            for row in reader:
                _check(path, reader.line_num, row, numbers)
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadMessageError(f"{path} can't be read: {error}") from error


def _check(path: Path, line: int, row: Mapping[str, str | None], numbers: Sequence[str]) -> None:
    for name in numbers:
        if not (row[name] or "").isdecimal():
            raise BadMessageError(f"{path}, line {line}: {name} is {row[name]!r}, not a whole number")
    if int(row.get("num_gpu") or 0) and not int(row.get("gpu_milli") or 0):
        raise BadMessageError(f"{path}, line {line}: num_gpu is {row['num_gpu']}, and gpu_milli is 0")
