"""What a command is: a name, a line of help, an example, its arguments, and a function."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum


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
