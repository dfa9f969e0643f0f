"""Whole systems for tests that look at them as a user does.

``system`` is shared by the tests of one file and must be left as it was found; ``own_system`` belongs to one test,
which may break it; ``make_system`` makes any number, not yet started, with options of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.postgres import own_postgres
from tests.support.running import RunningSystem

__all__ = ["own_postgres"]

MakeSystem = Callable[..., RunningSystem]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """A running system for the tests of one file."""
    running = RunningSystem(tmp_path_factory.mktemp("system"))
    try:
        running.start()
        yield running
    finally:
        running.close()


@pytest.fixture
def make_system(tmp_path: Path) -> Iterator[MakeSystem]:
    """Makes systems of this test's own: ``make_system("--set", "http.token=always", env={...})``."""
    made: list[RunningSystem] = []

    def make(*options: str, env: dict[str, str] | None = None) -> RunningSystem:
        made.append(RunningSystem(tmp_path / f"system-{len(made)}", options, env))
        return made[-1]

    yield make
    for running in made:
        running.close()


@pytest.fixture
def own_system(make_system: MakeSystem) -> RunningSystem:
    """A running system of this test's own."""
    running = make_system()
    running.start()
    return running
