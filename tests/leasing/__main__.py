"""``python -m tests.leasing [--seeds N] [--seed N --trace]`` or ``--raid SECONDS [--servers 3] [--seed N]``.

Without ``--raid`` seeds play the simulated world of ``model``; with it, real brokers, nodes and holders on real servers
are killed and paused for so long. The exit code is 1 if an invariant broke.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import anyio

from tests.leasing.mutations import MUTATIONS
from tests.leasing.play import STEPS, play
from tests.leasing.raid import Raid, Result


def main() -> int:
    """Simulate or raid; say what was found."""
    options = _options()
    if options.raid:
        return _raid(options)
    with MUTATIONS[options.mutation].apply() if options.mutation else nullcontext():
        return _simulate(options)


def _simulate(options: argparse.Namespace) -> int:
    if options.seed is not None:
        outcome = play(options.seed, options.steps)
        print("\n".join([*(outcome.steps if options.trace else ()), *outcome.broken]))
        return bool(outcome.broken)
    began, failed, granted, admitted = time.perf_counter(), 0, 0, 0
    for seed in range(options.seeds):
        outcome = play(seed, options.steps)
        granted, admitted, failed = (
            granted + outcome.granted,
            admitted + outcome.admitted,
            failed + bool(outcome.broken),
        )
        if outcome.broken:
            print(f"seed {seed}: {outcome.broken[0]}; again: python -m tests.leasing --seed {seed} --trace", flush=True)
    seconds = time.perf_counter() - began
    print(f"{options.seeds} seeds, {granted} grants, {admitted} uses in {seconds:.1f} s: {failed} failed")
    return bool(failed)


def _raid(options: argparse.Namespace) -> int:
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="chimera-raid-"))
    raid = Raid(
        seed, folder, options.raid, options.servers, lambda line: print(line, flush=True), mutation=options.mutation
    )
    result = anyio.run(raid.run)
    print("\n".join(_lines(result)))
    if result.seen.broken:
        print(f"evidence: {folder}; again: --raid {options.raid:g} --servers {options.servers} --seed {seed}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


def _lines(result: Result) -> list[str]:
    seen = result.seen
    told, stored = seen.hours
    blows = ", ".join(f"{name} {count}" for name, count in sorted(result.blows.items()))
    leases = {lease for lease, _, _ in seen.grants.keys() | seen.booked.keys()}
    return [
        "", f"blows: {blows}",
        f"{len(leases)} leases, {len(seen.booked)} intervals, {seen.workers} workers, {seen.uses} uses",
        f"device hours: {told:.4f} in records, {stored:.4f} in the ledger",
        *(f"BROKEN {one}" for one in seen.broken[:20]),
        f"seed {result.seed}: {sum(result.blows.values())} blows, "
        + (f"{len(seen.broken)} invariants broke" if seen.broken else "every invariant held"),
    ]  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="leasing", description="Lends devices under faults, and judges.")
    parser.add_argument("--seeds", type=int, default=500, metavar="N", help="simulated histories (500)")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"steps of each ({STEPS})")
    parser.add_argument("--seed", type=int, metavar="N", help="only this one")
    parser.add_argument("--trace", action="store_true", help="with --seed: show every step")
    parser.add_argument("--raid", type=float, default=0.0, metavar="SECONDS", help="real processes on real servers")
    parser.add_argument("--servers", type=int, choices=(1, 3), default=1, help="with --raid: one server, or a cluster")
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), default="", help="break the lending on purpose")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
