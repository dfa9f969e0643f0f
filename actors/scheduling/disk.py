"""How much room there is for the log: on its disk, and in the server's own store."""

from __future__ import annotations

import os
from pathlib import Path

from chimera.bus.contract import Bus


class Disk:
    """Where the log is, if it is on this machine.

    Args:
        folder: A folder on that disk.
        most: Bytes that the server stores at most.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most

    def free(self) -> int:
        """Bytes that the disk has for us."""
        room = os.statvfs(self._folder)
        return room.f_bavail * room.f_frsize

    async def store_free(self, bus: Bus) -> int:
        """Bytes that the server may still store.

        Raises:
            ChimeraError: If it does not say.
        """
        return self._most - await bus.stored_bytes()
