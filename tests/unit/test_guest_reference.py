import importlib.util
import shutil
from pathlib import Path

import pytest

from chimera import reference


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "chimera"


def test_cache_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """XDG_CACHE_HOME comes first, then ~/.cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert reference.cached_path() == tmp_path / "chimera" / "vaderSentiment-3.3.2.tar.gz"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert reference.cached_path().is_relative_to("/home/somebody/.cache/chimera")


def test_damaged_cache_is_not_used(cache: Path):
    """A file of the right name with other bytes does not count as cached."""
    cache.mkdir()
    reference.cached_path().write_bytes(b"something else")
    assert reference.cached_archive() is None


def test_other_bytes_than_the_pinned_ones_are_refused(cache: Path, monkeypatch: pytest.MonkeyPatch):
    """What pip brings is checked once more, and nothing wrong enters the cache."""

    def bring_something_else(folder: Path) -> None:
        (folder / "vaderSentiment-3.3.2.tar.gz").write_bytes(b"something else")

    monkeypatch.setattr(reference, "_run_pip", bring_something_else)
    with pytest.raises(reference.FetchError, match="came with another checksum"):
        reference.fetch_archive()
    assert list(cache.iterdir()) == []


def test_without_pip_and_uv_the_error_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch):
    """Somebody without either tool reads what to install."""

    def find_nothing(_name: str, path: str = "") -> None:  # noqa: ARG001 - as shutil.which takes it
        return None

    monkeypatch.setattr(importlib.util, "find_spec", find_nothing)
    monkeypatch.setattr(shutil, "which", find_nothing)
    with pytest.raises(reference.FetchError, match="neither pip nor uv: install one"):
        reference.fetch_archive()
    assert not list(cache.glob("*.tar.gz"))


def test_ratings_are_parsed_with_their_invalid_bytes():
    """Tabs separate, the text may contain anything but a line feed, bad bytes become U+FFFD."""
    content = b"1\t2.5\tgreat \xff day\r\n2\t-1\ta\tb\n"
    assert reference.parse_ratings(content) == [(2.5, "great \ufffd day"), (-1.0, "a\tb")]
