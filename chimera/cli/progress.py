"""A progress bar on a terminal; a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from .output import note, plain


@contextmanager
def progress(total: int, what: str) -> Generator[Callable[[], None]]:
    """Gives a function to call once per thing done."""
    if plain(sys.stderr):
        yield _quiet(total, what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def metered(what: str) -> Generator[Callable[[int, int], None]]:
    """Gives a function to call with how much is done, and of how much."""
    if plain(sys.stderr):
        yield _quarters(what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _quarters(what: str) -> Callable[[int, int], None]:
    told = 0

    def advance(done: int, total: int) -> None:
        nonlocal told
        quarter = 4 * done // max(1, total)
        if quarter > told:
            told = quarter
            note(f"{done} of {total} {what}")

    return advance


def _quiet(total: int, what: str) -> Callable[[], None]:
    done = 0
    step = max(1, total // 4)

    def advance() -> None:
        nonlocal done
        done += 1
        if done % step == 0 or done == total:
            note(f"{done} of {total} {what}")

    return advance
