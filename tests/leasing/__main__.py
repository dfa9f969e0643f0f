"""``python -m tests.leasing [--actors] [--seeds N] [--seed N --trace]`` or ``--raid SECONDS [--servers 3] [--seed N]``.

Seeds play the simulated world of ``model``, or with ``--actors`` that of ``drama``, where the actors run as deployed in
virtual time. A raid kills and pauses real brokers, nodes, holders and servers for so long. The exit code is 1 if an
invariant broke.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import anyio

from tests.leasing.drama import perform
from tests.leasing.mutations import MUTATIONS
from tests.leasing.play import STEPS, play
from tests.leasing.raid import Raid, Result


def main() -> int:
    """Simulate or raid; say what was found."""
    options = _options()
    if options.raid:
        return _raid(options)
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a history, too
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606 - ourselves
    with MUTATIONS[options.mutation].apply() if options.mutation else nullcontext():
        return _simulate(options)


def _simulate(options: argparse.Namespace) -> int:
    if options.seed is not None:
        story, broken = _one(options, options.seed)
        print("\n".join([*(story if options.trace else ()), *broken]))
        return bool(broken)
    began, failed, words = time.perf_counter(), 0, " --actors" if options.actors else ""
    for seed in range(options.seeds):
        _, broken = _one(options, seed)
        failed += bool(broken)
        if broken:
            print(f"seed {seed}: {broken[0]}; again: python -m tests.leasing{words} --seed {seed} --trace", flush=True)
    print(f"{options.seeds} seeds in {time.perf_counter() - began:.1f} s: {failed} failed")
    return bool(failed)


def _one(options: argparse.Namespace, seed: int) -> tuple[list[str], list[str]]:
    """A seed's story, and what broke in it."""
    if options.actors:
        drama = perform(seed, keep=options.trace)
        return drama.lines, drama.broken
    history = play(seed, options.steps)
    return history.steps, history.broken


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
    parser.add_argument("--actors", action="store_true", help="the actors as deployed, in virtual time")
    parser.add_argument("--seed", type=int, metavar="N", help="only this one")
    parser.add_argument("--trace", action="store_true", help="with --seed: show every step")
    parser.add_argument("--raid", type=float, default=0.0, metavar="SECONDS", help="real processes on real servers")
    parser.add_argument("--servers", type=int, choices=(1, 3), default=1, help="with --raid: one server, or a cluster")
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), default="", help="break the lending on purpose")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
