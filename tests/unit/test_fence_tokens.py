"""The highest token of each device, on disk."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from actors.fencing.tokens import TokenFile
from chimera.errors import CorruptError, UnavailableError

pytestmark = pytest.mark.anyio


async def test_the_highest_token_survives_a_restart(tmp_path: Path):
    """What was raised is there when the file is opened again; a lower token changes nothing."""
    path = tmp_path / "fence" / "tokens.json"
    kept = TokenFile(path)
    assert kept.highest("GPU-1") == 0
    await kept.raise_to("GPU-1", 7)
    await kept.raise_to("GPU-1", 5)
    assert TokenFile(path).highest("GPU-1") == 7


async def test_a_token_is_on_disk_before_anybody_is_told(tmp_path: Path):
    """When ``raise_to`` returns, the file has it."""
    path = tmp_path / "tokens.json"
    kept = TokenFile(path)
    for token in range(1, 20):
        await kept.raise_to("GPU-1", token)
        assert TokenFile(path).highest("GPU-1") == token


async def test_those_who_wait_together_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Fifty tokens at once cost a few writes, and all of them are kept."""
    writes: list[int] = []
    fsync = os.fsync

    def count(number: int) -> None:
        writes.append(number)
        fsync(number)

    monkeypatch.setattr(os, "fsync", count)
    kept = TokenFile(tmp_path / "tokens.json")
    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(kept.raise_to, f"GPU-{number}", number + 1)
    again = TokenFile(tmp_path / "tokens.json")
    assert [again.highest(f"GPU-{number}") for number in range(50)] == list(range(1, 51))
    assert len(writes) < 20  # two for each: the file and its folder


async def test_a_token_that_can_t_be_kept_is_refused(tmp_path: Path):
    """A full or read-only disk is an error, not a token that a restart forgets."""
    kept = TokenFile(tmp_path / "file" / "tokens.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="can't be kept"):
        await kept.raise_to("GPU-1", 3)


async def test_a_broken_file_is_no_empty_file(tmp_path: Path):
    """Forgetting all tokens would let an old holder in: it is refused instead."""
    path = tmp_path / "tokens.json"
    path.write_text("{")
    with pytest.raises(CorruptError):
        TokenFile(path)
