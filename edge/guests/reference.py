"""The distribution whose word lists the sentiment agent embeds: fetched once, pinned by its checksum, kept in the cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

DISTRIBUTION = "vaderSentiment"
VERSION = "3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
FETCH_TIMEOUT_S = 300


class FetchError(Exception):
    """The distribution could not be had. The message says what to do."""


def cached_path() -> Path:
    """Where the archive is kept: below ``XDG_CACHE_HOME``, by default ``~/.cache``."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "chimera" / f"{DISTRIBUTION}-{VERSION}.tar.gz"


def cached_archive() -> Path | None:
    """The archive if it is in the cache and whole."""
    path = cached_path()
    return path if path.is_file() and _digest(path) == SHA256 else None


def fetch_archive() -> Path:
    """The archive, from the cache or else downloaded by pip.

    Raises:
        FetchError: If pip is missing or fails, or what came is not the pinned file.
    """
    return cached_archive() or _download()


def read_member(archive: Path, member: str) -> str:
    """The text of one file of the archive, named without the folder that holds everything."""
    with tarfile.open(archive) as tar:
        file = tar.extractfile(f"{DISTRIBUTION}-{VERSION}/{member}")
        if file is None:
            raise FetchError(f"{archive} holds no file {member}")
        return file.read().decode("utf-8")


def _download() -> Path:
    target = cached_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        _run_pip(Path(folder))
        found = next(Path(folder).glob("*.tar.gz"), None)
        if found is None or _digest(found) != SHA256:
            raise FetchError(f"{DISTRIBUTION} {VERSION} came with another checksum than {SHA256}: do not use it")
        found.replace(target)
    return target


def _run_pip(folder: Path) -> None:
    # Only this package from source: with :all: pip would also build the build tools from source.
    options = ["--no-deps", "--no-binary", DISTRIBUTION, "--dest", str(folder), f"{DISTRIBUTION}=={VERSION}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"pip did not finish within {FETCH_TIMEOUT_S} s") from error
    if done.returncode:
        hint = f"put the file there yourself: {cached_path()}"
        raise FetchError(f"pip could not download {DISTRIBUTION} {VERSION}; {hint}\n{done.stderr.strip()}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
