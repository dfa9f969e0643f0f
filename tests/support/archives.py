"""Archives, unpacked the same by every Python that is supported."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any


def unpack(archive: Path, folder: Path) -> None:
    """Everything in a tar archive into ``folder``; by the ``data`` filter, which Python before 3.11.4 does not have."""
    with tarfile.open(archive) as tar:
        data_filter: Any = getattr(tarfile, "data_filter", None)
        if data_filter is not None:
            tar.extraction_filter = data_filter
        tar.extractall(folder)  # noqa: S202 - archives that we made, or whose checksum is known
