"""``chimera gpu``: devices, leases, a command under a lease, a replayed trace, costs. Each verb in its kind's file."""

from __future__ import annotations

import argparse

from .command import Command, Exit, common
from .gpu_costs import COST_VERBS
from .gpu_devices import DEVICE_VERBS
from .gpu_leases import LEASE_VERBS
from .gpu_run import RUN
from .gpu_simulate import SIMULATE
from .output import complain

VERBS: tuple[Command, ...] = (*DEVICE_VERBS, *LEASE_VERBS, RUN, SIMULATE, *COST_VERBS)


def _arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for verb in VERBS:
        child = verbs.add_parser(
            verb.name, help=verb.summary, description=f"{verb.summary}\n\nexample: {verb.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        common(child, inherit=True)
        verb.arguments(child)
        child.set_defaults(run_verb=verb.run)


def _run(options: argparse.Namespace) -> int:
    if options.verb is None:
        complain("which verb?", hint=f"one of: {', '.join(verb.name for verb in VERBS)}")
        return Exit.USAGE
    return options.run_verb(options)


COMMAND = Command("gpu", "devices, leases, costs; run under a lease", "chimera gpu status", _arguments, _run)
