"""``python -m tests.bench [NAME ...] [--quick] [--json FILE]``: measure against peers, say pass or missed.

The exit code is 1 if a target is missed, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.bench import (
    actors,
    breeding,
    bridge,
    diversity,
    evolve,
    gate,
    insight,
    kpi,
    leases,
    local_ask,
    nats_ask,
    optimize,
    placement,
    power,
    predict,
    sandbox,
    stalls,
    start,
    submit_ack,
    supervision,
    task_memory,
    task_restart,
    tasks,
    tell,
)
from tests.bench.figures import Benchmark, Figure
from tests.bench.report import heading, line, write

MODULES = (
    nats_ask,
    local_ask,
    tell,
    actors,
    sandbox,
    predict,
    bridge,
    start,
    supervision,
    tasks,
    submit_ack,
    power,
    task_memory,
    task_restart,
    insight,
    kpi,
    optimize,
    gate,
    diversity,
    breeding,
    evolve,
    placement,
    leases,
    stalls,
)
BENCHMARKS: dict[str, Benchmark] = {module.BENCHMARK.name: module.BENCHMARK for module in MODULES}


def main() -> int:
    """Run what was asked for, or all."""
    options = _options()
    results: dict[str, list[Figure]] = {}
    for name in options.names or BENCHMARKS:
        results[name] = _shown(name, quick=options.quick)
    write(options.json, results, quick=options.quick)
    figures = [figure for figures in results.values() for figure in figures]
    missed = [figure for figure in figures if not figure.met]
    held = sum(figure.target is not None and not figure.missing for figure in figures)
    absent = sum(bool(figure.missing) for figure in figures)
    rest = f", {absent} not measured" if absent else ""
    print(f"{held - len(missed)} of {held} targets met{rest}; written to {options.json}")
    return 1 if missed else 0


def _shown(name: str, *, quick: bool) -> list[Figure]:
    began = time.monotonic()
    figures: list[Figure] = []
    print(heading(name), flush=True)
    for figure in BENCHMARKS[name].run(quick):
        print(line(figure), flush=True)
        figures.append(figure)
    print(f"  ({time.monotonic() - began:.0f} s)\n", flush=True)
    return figures


def _options() -> argparse.Namespace:
    about = "\n".join(f"  {name:<12} {benchmark.about}" for name, benchmark in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measures against peers, interleaved in one run.",
        epilog=f"benchmarks:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure; all if none is named")
    parser.add_argument("--quick", action="store_true", help="shorter trials, fewer rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go (bench-results/TIME.json)")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    options.json = options.json or Path("bench-results") / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    return options


if __name__ == "__main__":
    sys.exit(main())
