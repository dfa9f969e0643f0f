"""What a command is: a name, a line of help, an example, its arguments, and a function."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes, the same for every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_READY = 4
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the command line.

    Attributes:
        name: What is typed.
        summary: One line.
        example: A line that works, shown first in the help.
        arguments: Adds its arguments to a parser.
        run: Does it; gives the exit code.
    """

    name: str
    summary: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def common(child: argparse.ArgumentParser, *, inherit: bool = False) -> None:
    """Add the options that every command has. A verb of a command inherits what stands before it."""

    def preset(value: Any) -> Any:
        return argparse.SUPPRESS if inherit else value

    group = child.add_argument_group("settings")
    group.add_argument("--json", action="store_true", default=preset(value=False), help="machine-readable output")
    group.add_argument("--profile", default=preset("default"), help="settings to start from: default or edge")
    group.add_argument("--config", metavar="FILE", default=preset(None), help="a TOML file of settings")
    group.add_argument(
        "--data-dir", metavar="DIR", default=preset(None), help="the node's data folder (node.data_dir)"
    )  # fmt: skip
    group.add_argument(
        "--nats-url", metavar="URL", default=preset(None), help="use a NATS server that runs elsewhere (nats.url)"
    )
    group.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=preset([]), help="any setting: http.ports.agent=9000"
    )
