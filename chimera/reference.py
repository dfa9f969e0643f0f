"""The distribution with the sentiment agent's word lists and the demonstration's rated texts.

It is fetched once by the ordinary package client, pinned by checksum, and kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

DISTRIBUTION = "vaderSentiment"
VERSION = "3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
RATINGS = "hutto_ICWSM_2014"
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
    return _read_bytes(archive, member).decode("utf-8")


def read_ratings(archive: Path, name: str) -> list[tuple[float, str]]:
    """Human ratings (-4 to 4, mean of twenty people) and their texts, from the archive inside the archive.

    Args:
        archive: The distribution.
        name: ``tweets``, ``amazonReviewSnippets``, ``movieReviewSnippets`` or ``nytEditorialSnippets``.
    """
    inner = _read_bytes(archive, f"additional_resources/{RATINGS}.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(inner)) as tar:
        file = tar.extractfile(f"{RATINGS}/{name}_GroundTruth.txt")
        if file is None:
            raise FetchError(f"{archive} holds no ratings of {name}")
        return parse_ratings(file.read())


def parse_ratings(content: bytes) -> list[tuple[float, str]]:
    """Rating and text of each ``id TAB rating TAB text`` line; the few invalid bytes become U+FFFD."""
    rows = (line.rstrip("\r").split("\t", 2) for line in content.decode("utf-8", "replace").split("\n") if line)
    return [(float(rating), text) for _, rating, text in rows]


def _read_bytes(archive: Path, member: str) -> bytes:
    with tarfile.open(archive) as tar:
        file = tar.extractfile(f"{DISTRIBUTION}-{VERSION}/{member}")
        if file is None:
            raise FetchError(f"{archive} holds no file {member}")
        return file.read()


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
    # Given as a requirement with its hash, the file is checked before any of its code runs. Only this package is asked
    # for as source: with :all: pip would also build the build tools from source.
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{DISTRIBUTION}=={VERSION} --hash=sha256:{SHA256}\n")
    options = ["--no-deps", "--no-binary", DISTRIBUTION, "--dest", str(folder), "--requirement", str(wanted)]
    command = [*_pip(), "download", "--quiet", "--disable-pip-version-check", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"pip did not finish within {FETCH_TIMEOUT_S} s") from error
    if done.returncode:
        hint = f"or put the file there yourself: {cached_path()}"
        raise FetchError(f"pip could not download {DISTRIBUTION} {VERSION}; try again, {hint}\n{done.stderr.strip()}")


def _pip() -> list[str]:
    """The command for pip; environments made by uv hold none, then uv or the machine's own Python runs one."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "--python", sys.executable, "pip"]
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv", "tool", "run", "--python", sys.executable, "pip"]
    if (python := shutil.which("python3", path=_path_outside())) and _has_pip(python):
        return [python, "-m", "pip"]
    raise FetchError(f"{DISTRIBUTION} {VERSION} must be downloaded, and there is neither pip nor uv: install one")


def _path_outside() -> str:
    """The search path without this environment's own folder, whose ``python3`` has no pip either."""
    own = str(Path(sys.executable).parent)
    return os.pathsep.join(part for part in os.environ.get("PATH", "").split(os.pathsep) if part != own)


def _has_pip(python: str) -> bool:
    done = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
