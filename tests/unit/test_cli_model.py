"""``chimera model``: a backup is whole or none, what comes back is what went out."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from chimera.cli.command import Exit
from chimera.cli.main import main
from chimera.errors import CorruptError
from subjects import Operation

DATA = {("echo-load", 1): b"first", ("echo-load", 2): b"second", ("echo-latency", 7): b"third"}
LIVE = {("echo-load", 2), ("echo-latency", 7)}


class FakeShelf:
    """A system that keeps three versions."""

    def __init__(self) -> None:
        self.spoiled: set[tuple[str, int]] = set()
        self.stored: list[tuple[bytes, bool]] = []
        self.restored: list[Any] = []

    async def ask(self, operation: Operation[Any, Any], body: Any) -> Any:
        """Plain data, as over the wire."""
        if operation.verb == "models":
            rows = [{"name": name, "version": version, "live": (name, version) in LIVE} for name, version in DATA]
            return {"status": "pass", "models": rows, "corrupt": []}
        if operation.verb == "back_up_model":
            key = (body["name"], body["version"])
            if key in self.spoiled:
                raise CorruptError("spoiled")
            data = base64.b64encode(DATA[key]).decode()
            return {**body, "live": key in LIVE, "digest": "d", "note": "", "data": data}
        if operation.verb == "store_model":
            self.stored.append((base64.b64decode(body["data"]), body["live"]))
        else:
            self.restored.append(body)
        return {"status": "pass", "models": [], "corrupt": []}


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> FakeShelf:
    """Instead of a running system."""
    fake = FakeShelf()

    def with_client(_settings: Any, work: Callable[[FakeShelf], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            return await work(fake)

        return anyio.run(run)

    monkeypatch.setattr("chimera.cli.client.with_client", with_client)
    return fake


def test_what_went_out_comes_back(shelf: FakeShelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Every version is a file; restoring the folder sends each, with whether it was live; one file goes alone."""
    assert main(["model", "backup", str(tmp_path / "b")]) == Exit.DONE
    assert main(["model", "restore", str(tmp_path / "b")]) == Exit.DONE
    assert shelf.stored == [(data, key in LIVE) for key, data in DATA.items()]
    assert main(["model", "restore", str(tmp_path / "b" / "echo-load.1.model"), "--live"]) == Exit.DONE
    assert shelf.stored[-1] == (b"first", True)
    assert "3 versions" in capsys.readouterr().err


def test_a_backup_that_is_not_whole_sends_nothing(shelf: FakeShelf, tmp_path: Path):
    """A changed or missing file, or no index, is refused before anything is sent."""
    folder = tmp_path / "b"
    assert main(["model", "backup", str(folder)]) == Exit.DONE
    (folder / "echo-latency.7.model").write_bytes(b"other")
    assert main(["model", "restore", str(folder)]) != Exit.DONE
    (folder / "echo-latency.7.model").unlink()
    assert main(["model", "restore", str(folder)]) != Exit.DONE
    (folder / "models.json").unlink()
    assert main(["model", "restore", str(folder)]) != Exit.DONE
    assert shelf.stored == []


def test_a_corrupt_version_is_left_out_and_told(shelf: FakeShelf, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The others are backed up, and the exit code says that something is missing."""
    shelf.spoiled = {("echo-load", 1)}
    assert main(["model", "backup", str(tmp_path)]) == Exit.FAILED
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "echo-latency.7.model", "echo-load.2.model", "models.json",
    ]  # fmt: skip
    assert "corrupt: echo-load/1" in capsys.readouterr().err


def test_a_name_goes_back_to_a_stored_version(shelf: FakeShelf):
    """What is no path is a model's name; without one, all that are corrupt are mended."""
    assert main(["model", "restore", "echo-load", "--version", "1"]) == Exit.DONE
    assert main(["model", "restore"]) == Exit.DONE
    assert shelf.restored == [{"name": "echo-load", "version": 1}, {"name": ""}]
    assert main(["model", "backup"]) != Exit.DONE
