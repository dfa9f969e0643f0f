"""The anchor: the newest hash of the audit log, kept in a file that is no part of the log."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from chimera.errors import CorruptError


@dataclass(frozen=True, slots=True)
class Anchor:
    """The hash that entry ``number`` had when it was stored, at Unix time ``at``."""

    number: int
    hash: str
    at: float


class AnchorFile:
    """One line of JSON, replaced as a whole and synced: it is never half written.

    Copy it elsewhere from time to time: whoever may change the log's folder may change this file too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Anchor | None:
        """The anchor, or ``None`` if there is none yet.

        Raises:
            CorruptError: If the file is there but holds no anchor.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Anchor)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, OSError) as error:
            raise CorruptError(f"the audit anchor {self.path} can't be read: {error}") from error

    def write(self, anchor: Anchor) -> None:
        """Replace it. Blocks for one fsync: call it in a thread."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(anchor) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
