"""``chimera gpu simulate``: replay a trace of nodes and tasks through the placement that the broker uses."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from chimera.errors import BadSettingError, ChimeraError

from .command import Command, Exit
from .output import emit_json, note, table
from .progress import metered

_RUNNER = "actors.placement.study"
_FORMAT = """TRACE is a folder with a file of nodes and one of tasks in the openb format (CSV, as in Alibaba's
cluster-trace-gpu-v2023), or the file of tasks with the nodes beside it. Columns of nodes: sn, cpu_milli, memory_mib,
gpu, model; of tasks: cpu_milli, memory_mib, num_gpu, gpu_milli and, where a task is choosy, gpu_spec (models separated
by |)."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _FORMAT
    parser.add_argument("trace", type=Path, metavar="TRACE", help="a folder, or the file of tasks")
    parser.add_argument("--nodes", type=Path, metavar="FILE", help="the file of nodes, if there are several")
    parser.add_argument(
        "--policy", action="append", metavar="NAME",
        help="default, fgd, best-fit or spread; may be repeated (default: default)",
    )  # fmt: skip
    parser.add_argument("--load", type=float, default=130.0, metavar="PERCENT", help="offered load (130)")
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="replays of each policy (10)")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="write allocation over load as a picture")


def run(options: argparse.Namespace) -> int:
    """Replay, and print what came of it."""
    runner = _runner()
    with metered("placements") as progress:
        result = runner.study(
            options.trace, options.nodes, options.policy or ["default"], load=options.load, seeds=options.seeds,
            progress=progress,
        )  # fmt: skip
    if options.plot:
        _write(options.plot, runner.picture(result))
    if options.json:
        emit_json(result)
        return Exit.DONE
    title = f"{result.nodes} nodes, {result.devices} devices, {result.tasks} tasks, load {result.load:g} %"
    columns = ("policy", "seeds", "allocated %", "sd", "fragmented %", "refused %", "p50 ms", "p99 ms")
    table(columns, [_row(figures) for figures in result.policies], title=title)
    return Exit.DONE


def _row(row: Any) -> tuple[Any, ...]:
    shares = (f"{value:.2f}" for value in (row.allocated, row.allocated_sd, row.fragmented, row.refused))
    return row.policy, row.seeds, *shares, f"{row.decision_ms_p50:.3f}", f"{row.decision_ms_p99:.3f}"


def _runner() -> Any:
    """The placement is an actor's brain: it is reached by name, as a node reaches its actors."""
    try:
        return import_module(_RUNNER)
    except ImportError as error:
        raise BadSettingError(f"the placement can't be loaded: {error}", hint="install chimera-nats[brain]") from error


def _write(path: Path, picture: str) -> None:
    try:
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise ChimeraError(f"{path} can't be written: {error}") from error
    note(f"wrote {path}")


SIMULATE = Command(
    "simulate",
    "replay a trace of nodes and tasks through the placement that the broker uses",
    "chimera gpu simulate traces/openb --policy default --policy best-fit --plot allocation.svg",
    arguments,
    run,
)
