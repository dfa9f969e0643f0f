"""The note that a release made from a genome carries: by it a release is led back to its genome. Pure."""

from __future__ import annotations

import re

_GENOME = re.compile(r"\bgenome ([A-Za-z0-9_-]{1,64})\b")


def note_for(genome: str, why: str = "") -> str:
    """The note of a release that is made from a genome."""
    return f"genome {genome}{why and ': ' + why}"[:2000]


def genome_in(note: str) -> str:
    """The genome that a release was made from; empty if none is noted."""
    found = _GENOME.search(note)
    return found.group(1) if found else ""
