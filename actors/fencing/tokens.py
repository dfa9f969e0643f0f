"""The highest fencing token of every device, on disk: what was refused once is refused after any restart."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from chimera.errors import CorruptError, UnavailableError

Tokens = dict[str, int]


class TokenFile:
    """Keeps the highest token per device. Raising one returns when it is safe from a power cut.

    Args:
        path: The file; made when the first token is kept.

    Raises:
        CorruptError: If the file is there and can't be read: what it forgot could be granted twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)
        self._stored = dict(self._known)
        self._writing = anyio.Lock()

    def highest(self, device: str) -> int:
        """The highest token that was ever kept for the device; 0 = none."""
        return self._known.get(device, 0)

    async def raise_to(self, device: str, token: int) -> None:
        """Keep ``token`` if it is the highest. Those who wait together are written together.

        Raises:
            UnavailableError: If it can't be written; then the token must not be honoured.
        """
        self._known[device] = max(self.highest(device), token)
        async with self._writing:
            if self._stored.get(device, 0) >= token:
                return
            now = dict(self._known)
            try:
                await anyio.to_thread.run_sync(partial(_write, self._path, now))
            except OSError as error:
                raise UnavailableError(
                    f"the token of {device} can't be kept: {error.strerror}", hint=f"make room at {self._path.parent}"
                ) from error
            self._stored = now


def _read(path: Path) -> Tokens:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Tokens)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise CorruptError(
            f"{path} can't be read: {error}",
            hint="restore it; delete it only when no process of an earlier lease lives on this machine",
        ) from error


def _write(path: Path, tokens: Tokens) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(tokens))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name itself
    finally:
        os.close(folder)
