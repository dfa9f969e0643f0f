"""The processes that use a lease: finding them, and ending them for certain. Linux; elsewhere groups only."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chimera.errors import BadMessageError, DeniedError

LEASE_VARIABLE = "CHIMERA_LEASE_ID"
"""Every process of a holder inherits this; it finds those that left their process group."""

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Group:
    """A process group, told apart from a later one of the same number.

    Attributes:
        id: Process number of its leader.
        started: When the leader began, in clock ticks since boot; 0 where that can't be told.
    """

    id: int
    started: int


def identify(pid: int) -> Group:
    """The group that ``pid`` leads, if we may end it.

    Raises:
        BadMessageError: If there is no such process here, or it does not lead its group.
        DeniedError: If it is another user's, or our own family.
    """
    try:
        leads, owner = os.getpgid(pid) == pid, _owner(pid)
    except (ProcessLookupError, FileNotFoundError) as error:
        raise BadMessageError(
            f"pid: no process {pid} on this node", hint="name a process that this node can see: same PID namespace"
        ) from error
    if not leads:
        raise BadMessageError(f"pid: {pid} does not lead its process group", hint="start it in a group of its own")
    if pid in {1, os.getpgrp(), *_ancestors(os.getpid())} or (os.geteuid() and owner not in {None, os.geteuid()}):
        raise DeniedError(f"pid: {pid} is not a holder's process, it will not be ended for a lease")
    return Group(pid, _started(pid))


def is_alive(group: Group) -> bool:
    """True while a process of the group lives. One that ended but was not yet collected by its parent does not."""
    found = _started(group.id)
    if found and group.started and found != group.started:
        return False  # the number was given to somebody else, which happens only after the whole group was gone
    try:
        os.killpg(group.id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return any(row.group == group.id and row.state not in "ZX" for row in _table()) if _PROC.is_dir() else True


def strays(lease: str) -> list[int]:
    """Living processes that carry the lease in their environment, wherever they went; never our own family."""
    mark, own = f"{LEASE_VARIABLE}={lease}".encode(), {os.getpid(), *_ancestors(os.getpid())}
    rows = (row for row in _table() if row.state not in "ZX" and row.pid not in own)
    return [row.pid for row in rows if mark in _environment(row.pid)]


def end(group: Group | None, lease: str, number: signal.Signals) -> list[int]:
    """Send a signal to all processes of a holder; gives the strays that were found outside of the group."""
    outside = strays(lease)
    if group is not None and is_alive(group):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group.id, number)
    for pid in outside:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    return outside


@dataclass(frozen=True, slots=True)
class _Row:
    pid: int
    state: str
    parent: int
    group: int
    started: int


def _table() -> list[_Row]:
    try:
        numbers = [int(entry) for entry in os.listdir(_PROC) if entry.isdigit()]  # noqa: PTH208 - one call, no objects
    except OSError:
        return []
    return [row for pid in numbers if (row := _row(pid)) is not None]


def _row(pid: int) -> _Row | None:
    """One process. Its name stands in brackets and may hold anything, so what is read begins after the last one."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
        words = text.rpartition(")")[2].split()
        return _Row(pid, words[0], int(words[1]), int(words[2]), int(words[19]))
    except (OSError, IndexError, ValueError):
        return None


def _started(pid: int) -> int:
    row = _row(pid)
    return row.started if row else 0


def _ancestors(pid: int) -> list[int]:
    found: list[int] = []
    while pid > 1 and (row := _row(pid)) is not None:
        pid = row.parent
        found.append(pid)
    return found


def _owner(pid: int) -> int | None:
    return (_PROC / str(pid)).stat().st_uid if _PROC.is_dir() else None


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
