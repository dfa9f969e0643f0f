"""The cache of modules after a power cut: what has lost its bytes is written again, and nothing is kept unsynced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chimera.sandbox.cache import ModuleCache

MODULE = b"\0asm\1\0\0\0"


def test_a_module_that_lost_its_bytes_is_written_again(tmp_path: Path):
    """A file of the right name without the right content is no module, and does not stand in the way of one."""
    cache = ModuleCache(tmp_path)
    digest = cache.keep_module(MODULE)
    (tmp_path / f"{digest}.wasm").write_bytes(b"")
    assert cache.module(digest) is None
    assert cache.keep_module(MODULE) == digest
    assert cache.module(digest) == MODULE


def test_files_are_on_the_disk_before_they_get_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every file is synced before it is renamed: a name without bytes would outlive a power cut."""
    told: list[str] = []
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        told.append("synced")
        sync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        told.append("named")
        return replace(path, target)

    cache = ModuleCache(tmp_path)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    cache.keep_module(MODULE)
    assert told == ["synced", "named"]
