"""``chimera``: data on standard output, everything else on standard error, ``--json`` everywhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

from chimera._version import __version__
from chimera.errors import ChimeraError

from .command import Command, Exit, common
from .output import complain

COMMANDS = (
    "run", "status", "health", "performance", "call", "submit", "tasks", "queue", "tail", "logs", "agents",
    "experiment", "model", "evolve", "genome", "autonomous", "gpu", "report", "audit", "demo", "rebuild", "config",
    "doctor", "docs",
)  # fmt: skip
"""In the order in which the help lists them. One module each, of the same name."""

_EPILOG = """exit codes: 0 done, 1 failed, 2 wrong usage, 3 not reachable, 4 not ready, 130 interrupted

settings come from options, then CHIMERA_* variables, then --config FILE, then the profile;
see: chimera config show"""


class _Parser(argparse.ArgumentParser):
    """Says what was meant, and exits with the documented code."""

    def error(self, message: str) -> NoReturn:
        words = message.split("'")
        near = get_close_matches(words[1], COMMANDS, n=1) if "invalid choice" in message and len(words) > 1 else []
        complain(message, hint=f"did you mean {near[0]}?" if near else f"see: {self.prog} --help")
        raise SystemExit(Exit.USAGE)


def load(name: str) -> Command:
    """The command of that name."""
    return import_module(f"chimera.cli.{name}").COMMAND


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(
        prog="chimera", description="Supervised actors on NATS that run WASM agents.", epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    top.add_argument("--version", action="version", version=f"chimera {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for name in COMMANDS:
        command = load(name)
        child = commands.add_parser(
            name, help=command.summary, description=f"{command.summary}\n\nexample: {command.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        common(child)
        command.arguments(child)
        child.set_defaults(run=command.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    top = parser()
    options = top.parse_args(arguments)
    if options.command is None:
        top.print_help(sys.stderr)
        return Exit.USAGE
    try:
        return options.run(options)
    except ChimeraError as error:
        complain(error.detail, hint=error.hint, code=error.code)
        return error.exit_code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return Exit.DONE
