"""``python -m tests.simulation [--seeds N] [--from N] [--seed N [--trace]] [--mutation NAME]``.

Each seed is one history of two to three schedulers, agents and clients on the in-memory bus: the scheduler actor with
its journal, desk, attempts and clockwork as deployed, on the real actor core, under virtual time (``loop``). For twenty
virtual seconds messages are dropped, doubled, delayed and so reordered, acknowledgements of the log are lost, processes
are killed between any two steps, paused as zombies or cut off, the server goes away, and clocks jump (``plan``). Then
the faults stop. Meanwhile and afterwards ``judge`` checks every message of the log and every answer to a client:

* fencing: epochs only grow, and only the last leader's messages follow its first;
* acknowledged: what a client was told is stored is stored, and is there in the end (lost);
* twice, final, states, key: no task begins anew, leaves a final state or shares its key with an unfinished one;
* attempts, result: attempts are bounded and counted up, and a result is that of the attempt which was running;
* read: an end that is told is stored, and no answer is older than a bound;
* liveness: every task ends, and every client learns of it, within a bound after the last fault.

A seed that fails prints itself; ``--seed N --trace`` shows its history, the same every time.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import nullcontext

from tests.simulation.mutations import MUTATIONS
from tests.simulation.runs import run_many
from tests.simulation.world import simulate

_TOLD = 10


def main() -> int:
    """Simulate; say what was found. 1 if an invariant broke."""
    options = _options()
    began = time.perf_counter()
    with MUTATIONS[options.mutation].apply() if options.mutation else nullcontext():
        if options.seed is not None:
            outcome = simulate(options.seed, keep=options.trace)
            print("\n".join([*outcome.lines, *outcome.broken, f"seed {outcome.seed}: history {outcome.digest}"]))
            return bool(outcome.broken)
        if options.mutation:  # in this process: another would not be broken
            outcomes = map(simulate, range(options.first, options.first + options.seeds))
        else:
            outcomes = run_many(options.first, options.seeds, options.jobs)
        failed, steps, tasks = 0, 0, 0
        for outcome in outcomes:
            steps, tasks, failed = steps + outcome.steps, tasks + outcome.tasks, failed + bool(outcome.broken)
            if outcome.broken and failed <= _TOLD:
                again = f"python -m tests.simulation --seed {outcome.seed} --trace"
                print(f"seed {outcome.seed}: {outcome.broken[0]}; again: {again}", flush=True)
    seconds = time.perf_counter() - began
    print(f"{options.seeds} seeds, {tasks} tasks, {steps} steps in {seconds:.1f} s: {failed} failed")
    return bool(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulation", description="Simulates the life of tasks under faults.")
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="how many (1000)")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="N", help="the first (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
    parser.add_argument("--seed", type=int, metavar="N", help="only this one")
    parser.add_argument("--trace", action="store_true", help="with --seed: show what happened")
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), help="break the scheduler on purpose")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
