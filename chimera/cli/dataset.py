"""The labelled texts of the demonstration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chimera.errors import ChimeraError

FILES = {"tweets": "tweets", "reviews": "amazonReviewSnippets"}
NEUTRAL = 0.1
"""Human ratings this near to zero have no sign to agree with."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One text and the mean of its human ratings, -4 to +4."""

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
    from chimera.reference import FetchError, fetch_archive, parse_ratings, read_ratings

    try:
        if folder is not None:
            rows = parse_ratings((folder / f"{FILES[name]}_GroundTruth.txt").read_bytes())
        else:
            rows = read_ratings(fetch_archive(), FILES[name])
    except (FetchError, OSError) as error:
        raise ChimeraError(str(error), hint="or give a folder that has the texts with --data FOLDER") from error
    return [Labelled(rating, text) for rating, text in rows]
