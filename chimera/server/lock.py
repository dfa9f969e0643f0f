"""One server per data folder: a lock that the server itself holds, and what happens to one that was left over.

nats-server does not lock its store; two on one store destroy it. So the lock's descriptor is handed down to the server:
it stays locked as long as *either* of us lives, whatever killed the other.

A server whose owner died is ended, not adopted: an adopted process can't be waited for, and its configuration may be
an old one. Ending it loses nothing that was acknowledged.
"""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import anyio
import msgspec

from chimera.clock import Clock
from chimera.errors import StartError

from .identity import Identity, command_line, identify

_TERM_S = 5.0
_GIVE_UP_S = 8.0
_POLL_S = 0.02
_MOST_BYTES = 4096
_Signalled = tuple[Identity, signal.Signals]


class Holder(msgspec.Struct, frozen=True):
    """Who holds the lock: the node, and its server once it was started."""

    owner: Identity | None
    server: Identity | None = None


class StoreLock:
    """The lock of one data folder."""

    def __init__(self, path: Path, config: Path, clock: Clock) -> None:
        self._path = path
        self._config = config
        self._clock = clock
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """The open lock file, to be handed down to the server."""
        if self._descriptor is None:
            raise StartError(f"{self._path} is not locked")
        return self._descriptor

    async def acquire(self) -> None:
        """Take the lock, ending a server whose owner is gone. Keeps it if we have it.

        Raises:
            StartError: If a live node holds it, or it can't be had within a few seconds.
        """
        if self._descriptor is not None:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await self._take(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def note_server(self, pid: int) -> None:
        """Write down which process is the server."""
        _write(self.descriptor, Holder(identify(os.getpid()), identify(pid)))

    def release(self) -> None:
        """Let it go. A server that still lives keeps it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def _take(self, descriptor: int) -> None:
        begun = self._clock.monotonic()
        told: set[_Signalled] = set()
        while not await anyio.to_thread.run_sync(self._try, descriptor, self._clock.monotonic() - begun, told):
            await self._clock.sleep(_POLL_S)

    def _try(self, descriptor: int, waited: float, told: set[_Signalled]) -> bool:
        """One attempt: ours now, or whoever holds it is refused, signalled (once each way) or waited for."""
        if _lock(descriptor):
            _write(descriptor, Holder(identify(os.getpid())))
            return True
        holder = _read(descriptor)
        self._refuse_if_owned(holder)
        if waited >= _GIVE_UP_S:
            raise self._in_use("a process that can't be told")
        server = holder.server
        act = signal.SIGTERM if waited < _TERM_S else signal.SIGKILL
        if server is not None and (server, act) not in told and self._is_ours(server):
            os.kill(server.pid, act)
            told.add((server, act))
        return False

    def _refuse_if_owned(self, holder: Holder) -> None:
        owner = holder.owner
        if owner is not None and identify(owner.pid) == owner:
            raise self._in_use(f"process {owner.pid}")

    def _is_ours(self, server: Identity) -> bool:
        return identify(server.pid) == server and str(self._config) in command_line(server.pid)

    def _in_use(self, who: str) -> StartError:
        folder = self._path.parent.parent
        return StartError(
            f"node.data_dir: {folder} is in use by {who}", hint="stop that node, or give this one its own node.data_dir"
        )


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> Holder:
    try:
        return msgspec.json.decode(os.pread(descriptor, _MOST_BYTES, 0), type=Holder)
    except msgspec.DecodeError:
        return Holder(None)


def _write(descriptor: int, holder: Holder) -> None:
    data = msgspec.json.encode(holder)
    os.pwrite(descriptor, data, 0)
    os.ftruncate(descriptor, len(data))
